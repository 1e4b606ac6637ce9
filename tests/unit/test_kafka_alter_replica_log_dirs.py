import os

import pytest

from gstream.agenda import Agenda
from gstream.kafka import alter_replica_log_dirs
from gstream.kafka.codes import Code
from gstream.storage.disk import Disk
from tests.unit.admin_ground import ask, make_node

Dir = alter_replica_log_dirs.API.request.AlterReplicaLogDir
Topic = Dir.AlterReplicaLogDirTopic
VERSIONS = alter_replica_log_dirs.API.versions


@pytest.fixture
def node():
    node = make_node()
    node.broker.set_up("orders", 2)
    return node


def move(node, *places, version=None):
    """The code of each partition; a place: the path, and the partitions of each topic."""
    dirs = [
        Dir(path=path, topics=[Topic(name=name, partitions=numbers) for name, numbers in topics.items()])
        for path, topics in places
    ]
    reply = ask(node, alter_replica_log_dirs.API, version, dirs=dirs)
    rows = [(topic.topic_name, each.partition_index) for topic in reply.results for each in topic.partitions]
    assert len(set(rows)) == len(rows)
    return {
        (topic.topic_name, each.partition_index): each.error_code
        for topic in reply.results
        for each in topic.partitions
    }


@pytest.mark.parametrize("version", VERSIONS)
def test_they_are_there_already(node, version):
    found = move(node, ("memory", {"orders": [0, 1]}), version=version)
    assert found == {("orders", 0): Code.NONE, ("orders", 1): Code.NONE}


@pytest.mark.parametrize("version", VERSIONS)
def test_there_is_no_other_place(node, version):
    found = move(node, ("/elsewhere", {"orders": [0], "nothing": [0]}), version=version)
    assert found == {("orders", 0): Code.LOG_DIR_NOT_FOUND, ("nothing", 0): Code.LOG_DIR_NOT_FOUND}
    assert move(node, (os.path.abspath("memory"), {"orders": [0]})) == {("orders", 0): Code.LOG_DIR_NOT_FOUND}


def test_partitions_that_there_are_not(node):
    found = move(node, ("memory", {"orders": [2, -1], "nothing": [0]}))
    assert set(found) == {("orders", 2), ("orders", -1), ("nothing", 0)}
    assert set(found.values()) == {Code.UNKNOWN_TOPIC_OR_PARTITION}
    assert "nothing" not in node.broker.topics


def test_what_is_named_for_two_places_is_told_of_the_last_one(node):
    places = ("memory", {"orders": [0, 1]}), ("/elsewhere", {"orders": [1]})
    assert move(node, *places) == {("orders", 0): Code.NONE, ("orders", 1): Code.LOG_DIR_NOT_FOUND}
    assert move(node) == {}


def test_on_disk(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    disk = Disk("data", 1 << 20, Agenda())
    disk.start()
    try:
        node = make_node(disk)
        node.broker.topic("orders")
        for path in ("data", f"{tmp_path}/data", f"{tmp_path}/data/"):
            assert move(node, (path, {"orders": [0]})) == {("orders", 0): Code.NONE}
        for path in ("memory", str(tmp_path), ""):
            assert move(node, (path, {"orders": [0]})) == {("orders", 0): Code.LOG_DIR_NOT_FOUND}
    finally:
        disk.close()
