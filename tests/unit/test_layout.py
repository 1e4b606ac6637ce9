"""The house: which module may know which, and what none of them does."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import gstream

HOME = Path(gstream.__file__).parent
ORDER = (
    ("gstream", "gstream.errors", "gstream.batch", "gstream.counted", "gstream.murmur", "gstream.agenda"),
    ("gstream.header",),
    ("gstream.compression", "gstream.record", "gstream.records"),
    ("gstream.alarm", "gstream.commit", "gstream.pending"),
    ("gstream.settings", "gstream.config", "gstream.topic_options", "gstream.telnet", "gstream.storage"),
    ("gstream.protocol.ids", "gstream.protocol.commands", "gstream.protocol.arguments", "gstream.protocol.bodies"),
    ("gstream.protocol.table", "gstream.protocol.decoder", "gstream.protocol.messages", "gstream.protocol.replies"),
    ("gstream.protocol", "gstream.logs", "gstream.listeners", "gstream.accepting"),
    ("gstream.storage.budget", "gstream.storage.placed", "gstream.storage.producers", "gstream.storage.batches"),
    ("gstream.storage.recordbatch", "gstream.storage.piece", "gstream.storage.converted"),
    ("gstream.storage.chain", "gstream.storage.chain_records"),
    ("gstream.storage.changes", "gstream.storage.facts", "gstream.storage.terms", "gstream.storage.expiry"),
    ("gstream.storage.memory",),
    ("gstream.storage.files", "gstream.storage.finding", "gstream.storage.frame", "gstream.storage.index"),
    ("gstream.storage.frame_records", "gstream.storage.tail"),
    ("gstream.storage.tables", "gstream.storage.salvage", "gstream.storage.meta"),
    ("gstream.storage.scan", "gstream.storage.segment", "gstream.storage.segments", "gstream.storage.snapshot"),
    ("gstream.storage.log", "gstream.storage.directory"),
    ("gstream.storage.contents", "gstream.storage.check"),
    ("gstream.progress",),
    (
        "gstream.storage.failure",
        "gstream.storage.threads",
        "gstream.storage.reading",
        "gstream.storage.retention",
        "gstream.storage.stored",
        "gstream.storage.disklog",
        "gstream.storage.state",
    ),
    ("gstream.storage.restored",),
    ("gstream.storage.disk",),
    ("gstream.share", "gstream.consumer", "gstream.recent", "gstream.delays", "gstream.mailbox"),
    ("gstream.obituaries",),
    ("gstream.backlog", "gstream.group"),
    ("gstream.partitions", "gstream.topic", "gstream.seeking"),
    ("gstream.broker", "gstream.inflight", "gstream.info", "gstream.scope", "gstream.administration"),
    ("gstream.outbox", "gstream.kernel", "gstream.watch", "gstream.connection"),
    ("gstream.outgoing", "gstream.stream", "gstream.waiting", "gstream.publishing", "gstream.settling"),
    ("gstream.turn", "gstream.session"),
    ("gstream.server",),
    # Kafka's listener, an API a module.
    ("gstream.kafka", "gstream.kafka.api", "gstream.kafka.codes", "gstream.kafka.configs"),
    ("gstream.kafka.encoding", "gstream.kafka.operations", "gstream.kafka.producer_ids"),
    ("gstream.kafka.receiving", "gstream.kafka.room", "gstream.kafka.subscription"),
    ("gstream.kafka.api_versions", "gstream.kafka.assignments", "gstream.kafka.committed"),
    ("gstream.kafka.describe_cluster", "gstream.kafka.describe_log_dirs", "gstream.kafka.failing"),
    ("gstream.kafka.faults", "gstream.kafka.fetch_codec", "gstream.kafka.find_coordinator"),
    ("gstream.kafka.heartbeat", "gstream.kafka.list_partition_reassignments", "gstream.kafka.member"),
    ("gstream.kafka.metadata_reply", "gstream.kafka.produce_codec", "gstream.kafka.replies"),
    ("gstream.kafka.required", "gstream.kafka.rows", "gstream.kafka.topic_keys", "gstream.kafka.topics"),
    ("gstream.kafka.transaction", "gstream.kafka.validation"),
    ("gstream.kafka.alter_partition_reassignments", "gstream.kafka.alter_replica_log_dirs"),
    ("gstream.kafka.codec", "gstream.kafka.connection", "gstream.kafka.delete_records"),
    ("gstream.kafka.elect_leaders", "gstream.kafka.join_group", "gstream.kafka.metadata"),
    ("gstream.kafka.offset_commit", "gstream.kafka.pending_offsets", "gstream.kafka.produce"),
    ("gstream.kafka.reading", "gstream.kafka.resources", "gstream.kafka.roster", "gstream.kafka.sync_group"),
    ("gstream.kafka.topic_configs", "gstream.kafka.transaction_store"),
    ("gstream.kafka.altering", "gstream.kafka.broker_configs", "gstream.kafka.create_partitions"),
    ("gstream.kafka.create_topics", "gstream.kafka.delete_topics", "gstream.kafka.endings"),
    ("gstream.kafka.fetch", "gstream.kafka.group", "gstream.kafka.list_offsets"),
    ("gstream.kafka.offset_for_leader_epoch",),
    ("gstream.kafka.alter_configs", "gstream.kafka.describe_configs", "gstream.kafka.incremental_alter_configs"),
    ("gstream.kafka.kept_group", "gstream.kafka.leave_group", "gstream.kafka.line_groups"),
    ("gstream.kafka.offset_delete", "gstream.kafka.transactions"),
    ("gstream.kafka.add_offsets_to_txn", "gstream.kafka.add_partitions_to_txn", "gstream.kafka.delete_groups"),
    ("gstream.kafka.describe_groups", "gstream.kafka.end_txn", "gstream.kafka.groups"),
    ("gstream.kafka.init_producer_id", "gstream.kafka.list_groups", "gstream.kafka.offset_fetch"),
    ("gstream.kafka.txn_offset_commit",),
    ("gstream.kafka.node", "gstream.kafka.table"),
    ("gstream.kafka.dispatch",),
    ("gstream.kafka.session",),
    ("gstream.kafka.server",),
    ("gstream.service",),
    ("gstream.client.message", "gstream.client.wire", "gstream.client.window", "gstream.client.link"),
    ("gstream.client.arguments", "gstream.client.lease", "gstream.client.subscription"),
    ("gstream.client.client", "gstream.client"),
    ("gstream.testing", "gstream.traffic", "gstream.kafka_testing", "gstream.pytest_plugin"),
    ("gstream.cli", "gstream.__main__"),
)
"""From the ground up. A module knows those of the rows below it, and in its own row those before it."""

NOT_FOR_FILES = {
    "gevent",
    "socket",
    "logging",
    "time",
    "gstream.protocol",
    "gstream.topic",
    "gstream.group",
    "gstream.broker",
    "gstream.config",
    "gstream.storage.memory",
}
"""What no module of the file layer knows: it gets its times, and tells those who ask."""

NEVER_KNOWN = {
    "gstream": {"gevent", "socket", "logging"},
    "gstream.errors": {"gevent", "socket", "logging"},
    "gstream.batch": {"gevent", "socket", "logging", "gstream"},
    "gstream.counted": {"gevent", "socket", "logging", "gstream.group", "gstream.storage"},
    "gstream.murmur": {"gevent", "socket", "logging", "gstream"},
    "gstream.header": {"gevent", "socket", "logging", "os", "gstream"},
    "gstream.compression": {"gevent", "socket", "logging", "os", "gstream.batch", "gstream.storage"},
    "gstream.record": {"gevent", "socket", "logging", "os", "gstream.batch", "gstream.storage"},
    "gstream.records": {"gevent", "socket", "logging", "os", "gstream.storage"},
    "gstream.topic_options": {"gevent", "socket", "logging", "os", "gstream"},
    "gstream.agenda": {"gevent", "socket", "logging", "gstream"},
    "gstream.config": {"gevent", "socket", "logging", "os", "sys", "click"},
    "gstream.telnet": {"gevent", "socket", "logging", "gstream"},
    "gstream.protocol": {"gevent", "socket", "logging", "time", "gstream.group", "gstream.broker", "gstream.storage"},
    "gstream.storage.budget": {"gevent", "socket", "gstream"},
    "gstream.storage.placed": {"gevent", "socket", "gstream.storage"},
    "gstream.storage.producers": {"gevent", "socket", "logging", "time", "os", "gstream.storage"},
    "gstream.storage.facts": {"gevent", "socket", "logging", "time", "os", "sqlite3"},
    "gstream.storage.chain": {"gevent", "socket", "logging", "time", "gstream.protocol", "gstream.group"},
    "gstream.storage.memory": {"gevent", "socket", "gstream.protocol", "gstream.group"},
    "gstream.storage.files": {*NOT_FOR_FILES, "gstream.batch", "threading"},
    "gstream.storage.finding": {*NOT_FOR_FILES, "os", "gstream.batch"},
    "gstream.storage.frame": {*NOT_FOR_FILES, "os", "gstream.storage"},
    "gstream.storage.index": {*NOT_FOR_FILES, "os", "gstream.batch", "gstream.storage.files"},
    "gstream.storage.changes": {*NOT_FOR_FILES, "os", "gstream.batch", "gstream.storage"},
    "gstream.storage.tables": {*NOT_FOR_FILES, "os", "gstream.batch", "gstream.storage"},
    "gstream.storage.salvage": {*NOT_FOR_FILES, "gstream.batch", "threading", "gstream.storage.meta"},
    "gstream.storage.meta": {*NOT_FOR_FILES, "gstream.batch", "threading"},
    "gstream.storage.scan": {*NOT_FOR_FILES, "os", "gstream.batch", "gstream.storage.log"},
    "gstream.storage.segment": {*NOT_FOR_FILES, "gstream.batch", "gstream.storage.log"},
    "gstream.storage.log": {*NOT_FOR_FILES, "gstream.storage.directory"},
    "gstream.storage.directory": NOT_FOR_FILES,
    "gstream.storage.contents": {*NOT_FOR_FILES, "os", "gstream.batch", "gstream.counted", "gstream.storage.files"},
    "gstream.storage.check": {*NOT_FOR_FILES, "gstream.storage.log", "threading"},
    "gstream.listeners": {"gevent", "gstream.protocol"},
    "gstream.alarm": {"gevent", "socket", "logging"},
    "gstream.commit": {"socket", "gstream.storage"},
    "gstream.progress": {"gevent", "socket", "logging", "time", "threading", "gstream.consumer", "sqlite3"},
    "gstream.storage.failure": {"gevent", "socket", "time", "threading", "os", "gstream.storage"},
    "gstream.storage.threads": {"socket", "time", "gstream"},
    "gstream.storage.reading": {"socket", "time", "gstream.protocol", "gstream.group", "gstream.share"},
    "gstream.storage.retention": {"socket", "time", "gstream.protocol", "gstream.group", "gstream.share"},
    "gstream.storage.disklog": {"socket", "gstream.protocol", "gstream.group", "gstream.share"},
    "gstream.storage.restored": {"gevent", "socket", "logging", "time", "os", "sqlite3", "gstream.topic"},
    "gstream.storage.state": {"socket", "time", "gstream.topic", "gstream.group", "gstream.share"},
    "gstream.storage.disk": {"socket", "gstream.protocol", "gstream.topic", "gstream.group", "gstream.share"},
    "gstream.obituaries": {"gevent", "socket", "time", "gstream.topic", "gstream.group", "gstream.protocol"},
    "gstream.delays": {"gevent", "socket", "time", "gstream.topic", "gstream.group", "gstream.protocol"},
    "gstream.backlog": {"gevent", "socket", "time", "gstream.consumer", "gstream.protocol"},
    "gstream.share": {"gevent", "socket", "time", "gstream.consumer", "gstream.protocol"},
    "gstream.consumer": {"gevent", "socket", "time", "gstream.agenda", "gstream.protocol"},
    "gstream.mailbox": {"socket", "gstream.group", "gstream.protocol"},
    "gstream.recent": {"gevent", "socket", "time", "gstream.topic", "gstream.protocol"},
    "gstream.group": {"gevent", "socket", "time", "gstream.protocol"},
    "gstream.partitions": {"gevent", "socket", "time", "gstream.protocol"},
    "gstream.topic": {"gevent", "socket", "time", "gstream.protocol"},
    "gstream.seeking": {"gevent", "socket", "time", "gstream.protocol"},
    "gstream.broker": {"gevent", "socket", "time", "gstream.protocol"},
    "gstream.inflight": {"gevent", "socket", "gstream.protocol", "gstream.connection"},
    "gstream.info": {"gevent", "socket", "gstream.protocol"},
    "gstream.scope": {"gevent", "socket", "gstream.protocol", "gstream.connection"},
    "gstream.administration": {"gevent", "socket", "gstream.connection", "gstream.session"},
    "gstream.outbox": {"socket", "gstream"},
    "gstream.kernel": {"gevent", "logging", "gstream"},
    "gstream.pending": {"gevent", "socket", "gstream.protocol", "gstream.connection"},
    "gstream.connection": {"gstream.protocol", "gstream.broker", "gstream.group", "gstream.storage"},
    "gstream.outgoing": {"gevent", "socket", "gstream.broker", "gstream.topic", "gstream.session"},
    "gstream.stream": {"gevent", "socket", "gstream.broker", "gstream.topic", "gstream.session", "gstream.protocol"},
    "gstream.waiting": {"gevent", "socket", "gstream.broker", "gstream.topic", "gstream.session", "gstream.protocol"},
    "gstream.publishing": {"gevent", "socket", "gstream.connection", "gstream.group", "gstream.session"},
    "gstream.settling": {"gevent", "socket", "gstream.connection", "gstream.session"},
    "gstream.session": {"gevent", "socket", "gstream.server"},
    "gstream.client": {"gevent", "gstream.protocol", "gstream.server", "gstream.service"},
}
"""What the docstrings of these modules promise not to know."""


def module_of(path):
    parts = ["gstream", *path.relative_to(HOME).with_suffix("").parts]
    return ".".join(parts).removesuffix(".__init__")


def place_of(module):
    """Its name in ORDER, where the program's parts are one."""
    return "gstream.cli" if module.startswith("gstream.cli.") else module


PATHS = {module_of(path): path for path in sorted(HOME.rglob("*.py"))}
MODULES = sorted(PATHS)


def imports_of(module):
    """Every module that this one imports, wherever in it; not what is for the type checker only."""
    tree = ast.parse(PATHS[module].read_text(encoding="utf-8"))
    skipped = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            skipped.update(id(inner) for inner in ast.walk(node))
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in PATHS else node.module


SEE_SOCKETS = {"gstream.kafka.connection", "gstream.kafka.server", "gstream.kafka.session"}
"""Of the Kafka listener: everything else sees typed requests, and at the most bytes."""


def test_the_imports_are_seen():
    assert {"gevent", "gevent.server"} <= set(imports_of("gstream.accepting"))
    assert {"gstream.protocol", "gstream.session", "gstream.connection"} <= set(imports_of("gstream.server"))
    assert {"gstream.batch", "gstream.inflight"} <= set(imports_of("gstream.outgoing"))
    assert "gstream.service" in imports_of("gstream.cli.serve"), "those in functions too"


def test_every_module_has_its_place():
    assert sorted(module for row in ORDER for module in row) == sorted({place_of(module) for module in MODULES})


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_one_way(module):
    order = [each for row in ORDER for each in row]
    known = {place_of(name) for name in imports_of(module) if name.partition(".")[0] == "gstream"}
    own = {"gstream.cli"} if place_of(module) == "gstream.cli" else set()  # its parts know each other
    assert known <= {*order[: order.index(place_of(module))], *own}


def test_nobody_knows_the_program():
    others = [module for module in MODULES if place_of(module) not in ORDER[-1]]
    assert {place_of(name) for module in others for name in imports_of(module)}.isdisjoint(ORDER[-1])


@pytest.mark.parametrize(("module", "unknown"), NEVER_KNOWN.items(), ids=NEVER_KNOWN.keys())
def test_what_a_module_does_not_know(module, unknown):
    for name in imports_of(module):
        parts = name.split(".")
        prefixes = {".".join(parts[: at + 1]) for at in range(len(parts))}
        assert not prefixes & unknown


@pytest.mark.parametrize(
    "module", [each for each in MODULES if each.startswith("gstream.kafka.") and each not in SEE_SOCKETS]
)
def test_handlers_of_kafka_requests_see_no_socket(module):
    known = set(imports_of(module))
    assert known.isdisjoint(
        {"socket", "_socket", "gevent.socket", "gstream.connection", "gstream.protocol", *SEE_SOCKETS}
    )


@pytest.mark.parametrize("module", MODULES)
def test_nothing_is_monkey_patched(module):
    assert "gevent.monkey" not in imports_of(module)
    assert "patch_all" not in PATHS[module].read_text(encoding="utf-8").replace("``gevent.monkey.patch_all()``", "")


@pytest.mark.parametrize("module", MODULES)
def test_a_module_is_no_longer_than_400_lines(module):
    assert len(PATHS[module].read_text(encoding="utf-8").splitlines()) <= 400


@pytest.mark.parametrize("module", MODULES)
def test_a_module_says_what_it_is_and_what_it_offers(module):
    tree = ast.parse(PATHS[module].read_text(encoding="utf-8"))
    assert ast.get_docstring(tree)
    names = {
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    assert "__all__" in names or len(tree.body) == 1


ALONE = """
import importlib, socket, sys, threading, time

class NoSuch:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ImportError(name + " is not for this module")

sys.meta_path.insert(0, NoSuch())
importlib.import_module({module!r})
assert not any(each.__module__.startswith("gevent") for each in (socket.socket, time.sleep, threading.Event)), "patched"
"""


def import_alone(module, blocked=()):
    program = ALONE.format(module=module, blocked=sorted(blocked))
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("module", MODULES)
def test_a_module_can_be_imported_alone_and_says_nothing(module):
    done = import_alone(module)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("module", ["gstream.service", "gstream.client", "gstream.testing", "gstream.traffic"])
def test_the_core_needs_neither_click_nor_rich(module):
    done = import_alone(module, {"click", "rich"})
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("module", ["gstream.client", "gstream.config", "gstream.protocol", "gstream.cli"])
def test_programs_need_no_gevent_before_they_serve(module):
    done = import_alone(module, {"gevent", "greenlet", "rich"})
    assert (done.returncode, done.stderr) == (0, "")


def test_a_blocked_package_is_noticed():
    assert import_alone("gstream.cli", {"click"}).returncode == 1
