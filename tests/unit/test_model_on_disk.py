"""Everything a broker does on the disk engine, against a model (see broker_model.py), with restarts and crashes.

What the groups have done is written when the machine says so, and at no other time; what was published is stored before
it is answered. So it is known exactly what there is after a crash: the messages that were answered, and the groups as
they were when their state was written last. Whoever had leased something then has lost it: it comes again. What threads
add to that is tested elsewhere.
"""

from __future__ import annotations

import shutil
import tempfile
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path

import gevent
from gevent import get_hub
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from gstream.agenda import Agenda
from gstream.batch import PARTITION_SHIFT, pack
from gstream.delays import DELAYED_BYTES
from gstream.errors import StorageError
from gstream.progress import DONE
from gstream.recent import ID_BYTES
from gstream.storage.disk import Disk, DiskSettings
from gstream.storage.retention import Retention
from gstream.storage.threads import Work
from tests.unit.broker_model import GROUPS, OFFSETS, BrokerMachine, GroupModel, Stored
from tests.unit.disturbed_files import QuietFiles

MAX_BYTES = 1 << 24
UNLIMITED = 1 << 60
NO_SYNC = float("inf")
"""What a loss of power takes is another test; here every byte that was written is there."""


class AtOnce:
    """Threads that do everything at once, so that all happens in the same order every time."""

    def spawn(self, function, *arguments):
        work = DoneAtOnce()
        try:
            work.finish(function(*arguments), None)
        except StorageError as error:
            work.finish(None, error)
        return work

    def apply(self, function, *arguments):
        return self.spawn(function, *arguments).get()

    def map(self, function, items):
        return [self.spawn(function, item) for item in items]

    def close(self):
        pass


class DoneAtOnce(Work):
    def then(self, action):
        get_hub().loop.run_callback(action, self)


@dataclass
class DiskGroupModel(GroupModel):
    """ahead: what became of messages before a restart, by id: how often they were delivered, or DONE.

    low: in each partition, what lay before this offset was done when the state was written last.
    """

    ahead: dict[int, int] = field(default_factory=dict)
    low: list[int] = field(default_factory=list)


@dataclass
class SavedGroup:
    """What was written of a group. states: of all messages. kept: when those outside of the log are due, by id."""

    states: dict[int, int]
    kept: dict[int, float]


class DiskMachine(BrokerMachine):
    @initialize(
        retain_bytes=st.sampled_from([0, 500, 1 << 20]),
        segment_bytes=st.sampled_from([300, 3000, 1 << 20]),
        cache_bytes=st.sampled_from([0, 300, 5000, 1 << 20]),
    )
    def start(self, retain_bytes, segment_bytes, cache_bytes):
        self.now = 1000.5
        self.home = Path(tempfile.mkdtemp())
        self.path = self.home / "0"
        self.disk_settings = DiskSettings(NO_SYNC, retain_bytes, segment_bytes=segment_bytes)
        self.cache_bytes = cache_bytes
        self.agenda = Agenda(lambda: self.now)
        self.begin(self.open_engine(), self.agenda)
        self.save()

    def open_engine(self):
        clock, files = self.agenda.clock, QuietFiles()
        engine = Disk(str(self.path), MAX_BYTES, self.agenda, self.disk_settings, clock, files)
        engine.pool.close()
        engine.pool = engine.reading._pool = engine.state._pool = AtOnce()
        engine._cache_bytes = self.cache_bytes
        return engine

    def teardown(self):
        self.memory.close()
        shutil.rmtree(self.home)

    # --- how it differs from the memory engine

    def log_room(self):
        return UNLIMITED

    def line_sizes(self, partition, bodies):  # noqa: ARG002  # one way of two
        return [len(pack(body)) for body in bodies]

    def settle(self, *, saving=False):
        self.memory.flush()
        if saving:
            self.save()

    def take_from(self, group, most, max_bytes):
        batch = group.take(most, max_bytes)
        while batch is None and group.is_unready:
            group.load()
            batch = group.take(most, max_bytes)
        return batch

    def group(self, name):
        if name not in self.groups:
            self.topic.group(name)
            oldest = [log.oldest_offset for log in self.topic.partitions]
            self.groups[name] = DiskGroupModel(oldest, seeks=[0] * self.partitions, low=list(oldest))
        return self.groups[name]

    def following(self, model, base, offsets):
        states = [(base | offset, model.ahead.get(base | offset, 0)) for offset in offsets]
        return [(id, state + 1) for id, state in states if state != DONE]

    def is_done(self, model, id):
        model.kept.discard(id)

    def is_undone(self, model, id):
        if id & OFFSETS < model.low[id >> PARTITION_SHIFT]:
            model.kept.add(id)

    def is_moved(self, model, partition):
        super().is_moved(model, partition)
        model.low[partition] = model.next[partition]
        model.kept = {id for id in model.kept if id >> PARTITION_SHIFT != partition}
        model.ahead = {id: state for id, state in model.ahead.items() if id >> PARTITION_SHIFT != partition}

    # --- what is written of groups

    @rule()
    def save(self):
        """The groups' state is written."""
        commit = self.memory.state.commit()
        self.memory.state._write()
        commit.wait()
        assert commit.error is None
        for name, model in self.groups.items():
            states = self.states(name)
            model.low = [self.first_undone(states, model.kept, number) for number in range(self.partitions)]
        self.note_saved()

    def note_saved(self):
        self.saved_groups = {}
        for name, model in self.groups.items():
            times = {id: when for when, id, _ in model.later}
            kept = {id: times.get(id, self.now) for id in model.kept}
            self.saved_groups[name] = SavedGroup(self.states(name), kept)
        self.saved_delayed, self.saved_ids = deepcopy((self.delayed, self.ids))

    def states(self, name):
        """What has become of each message, by id: how often it was delivered to the group, or DONE."""
        model = self.groups[name]
        found = {}
        for partition, log in enumerate(self.logs):
            for offset in range(len(log)):
                id = partition << PARTITION_SHIFT | offset
                found[id] = DONE if offset < model.next[partition] else model.ahead.get(id, 0)
        found.update((id, attempt - 1) for id, attempt in model.again.items())
        found.update((id, attempt - 1) for _, id, attempt in model.later)
        for client in self.clients:
            if client.group_name == name:
                found.update((id, handed.attempts[id]) for handed in client.leases for id in handed.ids)
        return found

    def first_undone(self, states, kept, partition):
        base = partition << PARTITION_SHIFT
        offsets = range(len(self.logs[partition]))
        undone = (offset for offset in offsets if states.get(base | offset, 0) != DONE and base | offset not in kept)
        return next(undone, len(offsets))

    # --- restarts

    @rule(away=st.sampled_from([0, 5, 400]))
    def restart(self, away):
        """An orderly one: nothing that was done comes again."""
        self.memory.close()
        self.note_saved()
        self.begin_again(away)

    @rule(away=st.sampled_from([0, 5, 400]), torn=st.booleans(), data=st.data())
    def crash(self, away, torn, data):
        """At any moment, perhaps while something is written that was not answered yet."""
        self.numbers += 1
        path = self.home / str(self.numbers)
        shutil.copytree(self.path, path)
        if torn:
            self.tear(path, data)
        self.memory.close()
        shutil.rmtree(self.path)
        self.path = path
        self.begin_again(away)

    def tear(self, path, data):
        """Publish something, of which only a part gets into the files there."""
        partition = self.partition_of(None)
        bodies = [self.body(size) for size in (1, 30, 2000)]
        self.topic.publish(pack(*bodies), len(bodies))
        self.memory.flush()
        ours = self.path / "topics" / "default" / str(partition)
        theirs = path / "topics" / "default" / str(partition)
        theirs.mkdir(parents=True, exist_ok=True)
        newest = max(each.name for each in ours.glob("*.log"))
        whole = (ours / newest).read_bytes()
        before = (theirs / newest).stat().st_size if (theirs / newest).exists() else 0
        size = data.draw(st.integers(before, len(whole)) | st.just(len(whole)))
        (theirs / newest).write_bytes(whole[:size])
        if size == len(whole):
            self.logs[partition] += [Stored(body, len(pack(body)), self.now) for body in bodies]

    def begin_again(self, away):
        self.now += away
        self.agenda = Agenda(lambda: self.now)
        self.memory = self.open_engine()
        self.open_broker()
        self.delayed, self.ids = deepcopy((self.saved_delayed, self.saved_ids))
        self.groups = {name: self.restored(saved) for name, saved in self.saved_groups.items()}
        self.run_agenda()
        self.end_what_is_over()
        assert set(self.topic.groups) == set(self.groups)

    def restored(self, saved):
        places = [self.first_undone(saved.states, saved.kept, number) for number in range(self.partitions)]
        model = DiskGroupModel(places, seeks=[0] * self.partitions, low=list(places), kept=set(saved.kept))
        model.ahead = {id: DONE if id in saved.kept else state for id, state in saved.states.items()}
        for id, when in saved.kept.items():
            model.again_bytes += self.size_of(id)
            if when > self.now:
                model.later.append((when, id, saved.states[id] + 1))
            else:
                model.again[id] = saved.states[id] + 1
        return model

    FATES = ("acknowledge", "release", "bury", "give_back", "give_back_later", "extend")

    @rule(
        data=st.data(),
        most=st.sampled_from([1, 3, 12]),
        fates=st.lists(st.sampled_from(FATES), max_size=6),
        then=st.sampled_from(["save", "restart", "crash", "go on"]),
    )
    def work(self, data, most, fates, then):
        """What workers do all day, at once: alone, the steps seldom come in this order."""
        if not self.clients:
            self.connect(GROUPS[0])
        self.publish_lines([1, 10, 300])
        self.take(data, most, 1 << 20, leased=True)
        for fate in fates:
            if not self.some_lease:
                break
            match fate:
                case "give_back":
                    self.give_back(data, 0)
                case "give_back_later":
                    self.give_back(data, 30)
                case "extend":
                    self.extend(data, 60)
                case _:
                    getattr(self, fate)(data)
        match then:
            case "save":
                self.save()
            case "restart":
                self.restart(away=0)
            case "crash":
                self.crash(away=0, torn=False, data=data)

    # --- what goes from the disk

    @precondition(lambda self: self.groups)
    @rule()
    def drop_what_is_done(self):
        retention = Retention(self.memory)
        for log in self.topic.partitions:
            looking = gevent.spawn(retention.look_at, log)
            gevent.idle()
            for reader in log.readers:
                self.note_moved_out(log.partition, reader.progress)
            while not looking.ready():  # nothing goes before the groups' state is written
                oldest = log.oldest_offset
                gevent.idle()
                assert log.oldest_offset == oldest
                self.save()
                gevent.idle()
            looking.get()

    def note_moved_out(self, partition, progress):
        """What was leased for long lies outside of the log now."""
        name = progress._key[1]
        leased = {id for each in self.clients if each.group_name == name for handed in each.leases for id in handed.ids}
        kept = {partition << PARTITION_SHIFT | offset for offset in progress.kept}
        model = self.groups[name]
        known = {id for id in model.kept if id >> PARTITION_SHIFT == partition}
        assert known <= kept <= known | leased
        model.kept |= kept

    # --- what always holds

    @invariant()
    def the_budgets_are_what_is_there(self):
        for partition, log in enumerate(self.topic.partitions):
            assert log.end_offset == log.next_offset == len(self.logs[partition])
            for name, model in self.groups.items():
                states = self.states(name)
                assert log.oldest_offset <= self.first_undone(states, model.kept, partition), "nothing is lost"
        leased = sum(handed.batch_bytes for client in self.clients for handed in client.leases if handed.ids)
        again = sum(model.again_bytes for model in self.groups.values())
        delayed = sum(message.size + DELAYED_BYTES for _, _, _, message, _ in self.delayed)
        ids = sum(ID_BYTES + len(id) for id in self.ids)
        assert self.memory.held_bytes == leased + again + delayed + ids
        assert 0 <= self.memory.cached_bytes <= self.cache_bytes
        assert self.memory.lost_count == 0
        assert (self.topic.published_count, self.topic.delayed_count) == (self.published, len(self.delayed))


class PartitionedDiskMachine(DiskMachine):
    partitions = 3


WITHOUT_SHRINKING = [Phase.explicit, Phase.generate]
DiskMachine.TestCase.settings = settings(max_examples=45, stateful_step_count=50, phases=WITHOUT_SHRINKING)
PartitionedDiskMachine.TestCase.settings = settings(max_examples=35, stateful_step_count=50, phases=WITHOUT_SHRINKING)
TestBrokerOnDiskAgainstItsModel = DiskMachine.TestCase
TestPartitionedBrokerOnDiskAgainstItsModel = PartitionedDiskMachine.TestCase
