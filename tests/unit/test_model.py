"""Everything a broker does on the memory engine, against a model: see broker_model.py."""

from __future__ import annotations

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant

from gstream.agenda import Agenda
from gstream.batch import pack
from gstream.counted import CountedBatch, pack_counted
from gstream.delays import DELAYED_BYTES
from gstream.recent import ID_BYTES
from gstream.storage.chain import SMALL_BATCH_BYTES
from gstream.storage.memory import Memory
from tests.unit.broker_model import BrokerMachine


class MemoryMachine(BrokerMachine):
    @initialize(retain_bytes=st.sampled_from([0, 500, 1 << 20]), max_bytes=st.sampled_from([3000, 1 << 20]))
    def start(self, retain_bytes, max_bytes):
        self.now = 1000.5
        self.begin(Memory(max_bytes, retain_bytes, lambda: self.now), Agenda(lambda: self.now))

    def is_new(self):
        super().is_new()
        self.low = [0] * self.partitions

    def log_room(self):
        return self.memory.room_bytes

    def following(self, model, base, offsets):  # noqa: ARG002  # one way of two
        return [(base | offset, 1) for offset in offsets]

    def line_sizes(self, partition, bodies):
        """What lines take; a few of them are counted where counted messages came before them."""
        last = self.topic.partitions[partition]._last
        sizes = [len(pack(body)) for body in bodies]
        if last.kind is CountedBatch and last.grows and sum(sizes) < SMALL_BATCH_BYTES:
            sizes = [len(pack_counted(body)) for body in bodies]
        return sizes

    @invariant()
    def the_budgets_are_what_is_there(self):
        used = stored = 0
        for partition, log in enumerate(self.topic.partitions):
            messages = self.logs[partition]
            assert log.end_offset == len(messages)
            # What was taken when the last group was forgotten stays taken until a new one comes.
            low = min([model.next[partition] for model in self.groups.values()], default=self.low[partition])
            self.low[partition] = low
            assert log.oldest_offset <= low, "nothing is dropped that somebody has still to take"
            used += sum(message.size for message in messages[low:])
            stored += sum(message.size for message in messages[log.oldest_offset :])
        dead = self.broker.topics.get("default.dlq")
        dead_bytes = dead.kept_bytes if dead else 0
        assert self.memory.used_bytes == used + dead_bytes
        assert self.memory.stored_bytes == stored + dead_bytes
        leased = sum(handed.batch_bytes for client in self.clients for handed in client.leases if self.is_held(handed))
        again = sum(model.again_bytes for model in self.groups.values())
        delayed = sum(message.size + DELAYED_BYTES for _, _, _, message, _ in self.delayed)
        ids = sum(ID_BYTES + len(id) for id in self.ids)
        assert self.memory.held_bytes == leased + again + delayed + ids
        assert (self.topic.published_count, self.topic.delayed_count) == (self.published, len(self.delayed))

    def is_held(self, handed):
        """A batch's bytes are held until the last of its messages is settled; extended ones have bytes of their own."""
        return bool(handed.ids)


class PartitionedMemoryMachine(MemoryMachine):
    partitions = 3


WITHOUT_SHRINKING = [Phase.explicit, Phase.generate]  # it takes minutes; the steps of a failure are few enough to read
MemoryMachine.TestCase.settings = settings(max_examples=120, stateful_step_count=60, phases=WITHOUT_SHRINKING)
PartitionedMemoryMachine.TestCase.settings = settings(max_examples=80, stateful_step_count=60, phases=WITHOUT_SHRINKING)
TestBrokerAgainstItsModel = MemoryMachine.TestCase
TestPartitionedBrokerAgainstItsModel = PartitionedMemoryMachine.TestCase
