"""Everything a broker does, against a model that is a few lists and does the same.

A group's model holds, for each partition, the place up to which it has come, and what became of each message before
that: it is out (with whom, until when), comes back (when), or waits to be delivered again. What the group can still
get is so known exactly, in order, with the attempt; nothing else may ever be delivered.

Commands are executed half a second after a full one, and what they note for later lies a quarter of a second beside
that: so it is certain what has ended when time has passed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gstream.batch import PARTITION_SHIFT, pack
from gstream.broker import Broker
from gstream.consumer import Consumer
from gstream.counted import pack_counted
from gstream.delays import DELAYED_BYTES
from gstream.errors import BusyError, FullError
from gstream.inflight import Delivery, InFlight
from gstream.mailbox import Mailbox
from gstream.murmur import murmur2
from gstream.recent import RECENT_SECONDS
from gstream.topic import TopicSettings

LEASE_SECONDS = 10.25
MAX_ATTEMPTS = 2
GROUPS = ["a", "b", "c"]
OFFSETS = (1 << PARTITION_SHIFT) - 1


@dataclass
class Stored:
    """A message in a log. size: what it takes there."""

    body: bytes
    size: int
    time: float
    key: bytes | None = None
    headers: tuple[tuple[str, bytes], ...] = ()


@dataclass
class Handed:
    """A batch that a client has leased.

    ids: those of its messages that still are. attempts, sizes: of all of them, by id. until: when the lease ends.
    """

    batch_bytes: int
    ids: set[int]
    attempts: dict[int, int]
    sizes: dict[int, int]
    until: float


class Client:
    """A connection in one group: what it has leased, and what is on its way to it."""

    def __init__(self, machine, group_name):
        self.group_name = group_name
        self.consumer = Consumer(machine.memory)
        self.in_flight = InFlight()
        self.place = 0
        self.leases: list[Handed] = []
        self.for_good: list[tuple[int, int, int, int]] = []  # id, attempt, end in the stream, seeks
        self.sent: list[tuple[int, int]] = []  # leased ones: id, end in the stream


@dataclass
class GroupModel:
    """What a group has still to get. next: each partition's next offset. again: ids and the attempt of the next."""

    next: list[int]
    again: dict[int, int] = field(default_factory=dict)
    later: list[tuple[float, int, int]] = field(default_factory=list)
    again_bytes: int = 0
    taken: int = 0
    acknowledged: int = 0
    returned: int = 0
    dead: int = 0
    seeks: list[int] = field(default_factory=list)  # of each partition
    kept: set[int] = field(default_factory=set)  # ids of messages that were given back for later


class BrokerMachine(RuleBasedStateMachine):
    """An engine's machine makes the engine, calls :meth:`begin`, and knows how the engine differs."""

    partitions = 1

    def begin(self, engine, agenda):
        """Nothing has happened yet."""
        self.memory = engine
        self.agenda = agenda
        self.open_broker()
        self.is_new()
        self.dead_letters = []
        self.delayed = []  # when, number, message, id
        self.ids = {}  # id: [when it came, message id or None]
        self.groups = {}
        self.numbers = 0

    def open_broker(self):
        topics = TopicSettings(self.partitions, LEASE_SECONDS, MAX_ATTEMPTS)
        self.broker = Broker(self.memory, self.agenda, topics)
        self.topic = self.broker.topic()
        self.clients = []
        self.turn = -1
        self.published = 0

    # --- publishing

    def partition_of(self, key):
        if self.partitions == 1:
            return 0
        if key is not None:
            return (murmur2(key) & 0x7FFFFFFF) % self.partitions
        self.turn = (self.turn + 1) % self.partitions
        return self.turn

    def body(self, size):
        self.numbers += 1
        return (b"%d:" % self.numbers).ljust(size, b"x")

    @rule(sizes=st.lists(st.sampled_from([1, 10, 300, 20_000]), min_size=1, max_size=8) | st.just([1] * 150))
    def publish_lines(self, sizes):
        bodies = [self.body(size) for size in sizes]
        partition = self.partition_of(None)
        sizes = self.line_sizes(partition, bodies)
        room = self.log_room()
        stored = self.topic.publish(pack(*bodies), len(bodies))
        self.settle()
        self.store(bodies, None, stored, room, sizes, partition)

    def line_sizes(self, partition, bodies):
        """What lines take in the log of this partition."""
        raise NotImplementedError

    def log_room(self):
        """How many bytes of messages may still be stored in logs."""
        raise NotImplementedError

    def settle(self, *, saving=False):
        """Return when everything is stored that was published. saving: and when the groups' state is, too."""

    def take_from(self, group, most, max_bytes):
        """The group's next messages, or None."""
        return group.take(most, max_bytes)

    @rule(
        sizes=st.lists(st.sampled_from([1, 10, 300]), min_size=1, max_size=4), key=st.sampled_from([None, b"k", b"l"])
    )
    def publish_counted(self, sizes, key):
        bodies = [self.body(size) + b"\n" for size in sizes]
        room = self.log_room()
        stored, first = self.topic.publish_bodies(bodies, key)
        self.settle()
        partition = self.partition_of(key)
        assert first == partition << PARTITION_SHIFT | len(self.logs[partition])
        self.store(bodies, key, stored, room, [len(pack_counted(body, key)) for body in bodies], partition)

    def store(self, bodies, key, stored, room, sizes, partition):
        fitting = 0
        while fitting < len(sizes) and sum(sizes[: fitting + 1]) <= room:
            fitting += 1
        assert stored == fitting
        for body, size in list(zip(bodies, sizes, strict=True))[:stored]:
            self.logs[partition].append(Stored(body, size, self.now, key))
        self.published += stored

    @rule(
        delay=st.sampled_from([0, 0, 3, 40]),
        id=st.sampled_from([None, b"1", b"2", b"3"]),
        key=st.sampled_from([None, b"k"]),
    )
    def publish_once(self, delay, id, key):
        body = self.body(5)
        seconds = delay - 0.25 if delay else 0.0
        if id in self.ids:
            assert self.topic.publish_once(body, key, seconds, id) == self.ids[id][1]
            return
        turn = self.turn
        partition = self.partition_of(key)
        if key is not None:
            size = len(pack_counted(body, key))
        elif delay:
            size = len(pack(body))
        else:
            (size,) = self.line_sizes(partition, [body])
        room = self.memory.room_bytes if delay else self.log_room()
        if (size + DELAYED_BYTES if delay else size) > room:
            with pytest.raises(FullError):
                self.topic.publish_once(body, key, seconds, id)
            if delay:
                self.turn = turn
            return
        got = self.topic.publish_once(body, key, seconds, id)
        message = Stored(body, size, self.now, key)
        if delay:
            assert got is None
            self.delayed.append((self.now + seconds, self.numbers, partition, message, id))
        else:
            assert got == partition << PARTITION_SHIFT | len(self.logs[partition])
            self.logs[partition].append(message)
            self.published += 1
        if id is not None:
            self.ids[id] = [self.now, got]
        self.settle(saving=bool(delay))

    # --- groups and clients

    def group(self, name):
        """The model of a group, which is made if it is new."""
        if name not in self.groups:
            self.topic.group(name)
            next = [log.oldest_offset for log in self.topic.partitions]
            self.groups[name] = GroupModel(next, seeks=[0] * self.partitions)
        return self.groups[name]

    @precondition(lambda self: len(self.clients) < 6)
    @rule(name=st.sampled_from(GROUPS))
    def connect(self, name):
        self.group(name)
        self.clients.append(Client(self, name))

    @precondition(lambda self: self.clients)
    @rule(data=st.data(), arrived=st.sampled_from(["nothing", "everything", "something"]))
    def disconnect(self, data, arrived):
        client = self.clients.pop(data.draw(st.integers(0, len(self.clients) - 1)))
        group, model = self.topic.groups[client.group_name], self.groups[client.group_name]
        if arrived == "something":
            place = data.draw(st.integers(0, client.place))
        else:
            place = client.place if arrived == "everything" else 0
        returned = 0
        for id, attempt, end, seeks in client.for_good:
            if end > place and seeks == model.seeks[id >> PARTITION_SHIFT]:
                self.comes_again(model, id, attempt)
                self.is_undone(model, id)
                model.taken -= 1
                model.acknowledged -= 1
                model.returned += 1
                returned += 1
        for id, end in client.sent:
            handed = self.lease_of(client, id)
            if end > place and handed is not None:
                self.comes_again(model, id, handed.attempts[id])
                handed.ids.discard(id)
                model.taken -= 1
                model.returned += 1
                returned += 1
        assert client.in_flight.give_back(place) == returned
        for handed in client.leases:
            for id in sorted(handed.ids):
                self.lease_ends(model, client, handed, id)
        group.leave(client.consumer)
        self.run_agenda()

    @precondition(lambda self: self.clients)
    @rule(
        data=st.data(),
        most=st.sampled_from([1, 2, 3, 12, 200]),
        max_bytes=st.sampled_from([0, 50, 1 << 20]),
        leased=st.booleans(),
    )
    def take(self, data, most, max_bytes, leased):
        client = data.draw(st.sampled_from(self.clients))
        group = self.topic.groups[client.group_name]
        if leased and not group.may_lease:
            with pytest.raises(FullError):
                group.check_leases()
            return
        self.hand(client, self.take_from(group, most, max_bytes), most, max_bytes, leased)

    @precondition(lambda self: self.clients)
    @rule(data=st.data(), most=st.sampled_from([1, 2, 200]))
    def take_and_do_nothing(self, data, most):
        self.take(data, most, 1 << 20, True)
        self.time_passes(11)

    @precondition(lambda self: self.clients)
    @rule(data=st.data(), leased=st.booleans())
    def wait_and_be_woken(self, data, leased):
        """Somebody waits for the next message, which comes at once, or with the next publishing."""
        client = data.draw(st.sampled_from(self.clients))
        group = self.topic.groups[client.group_name]
        mailbox = Mailbox()
        group.waiting[mailbox] = 1
        group.wake()
        self.wait_while_read(group, mailbox)
        if mailbox.empty():
            self.publish_lines([1])
            self.wait_while_read(group, mailbox)
        batch = None if mailbox.empty() else mailbox.get_nowait()
        group.stop_waiting(mailbox)
        self.hand(client, batch, 1, 0, leased)

    def wait_while_read(self, group, mailbox):
        while mailbox.empty() and group.is_unready:
            group.load()

    def hand(self, client, batch, most, max_bytes, leased):
        """A batch was taken: is it what the model says? And who has it then."""
        group, model = self.topic.groups[client.group_name], self.groups[client.group_name]
        if batch is None:
            assert self.available(model) == [[] for _ in range(self.partitions)]
            return
        expected = self.available(model)[batch.partition][: batch.count]
        messages = list(batch.messages())
        assert [(batch.id + at, batch.attempt) for at in range(batch.count)] == expected
        stored = [self.logs[batch.partition][each.offset] for each in messages]
        assert [(each.body, each.key, each.headers) for each in messages] == [
            (each.body, each.key, each.headers) for each in stored
        ]
        assert [each.time_ms for each in messages] == [int(each.time * 1000) for each in stored]
        sizes = {batch.id + at: each.size for at, each in enumerate(stored)}
        assert len(batch.data) == sum(sizes.values())
        assert batch.count <= most
        assert batch.count == 1 or len(batch.data) <= max_bytes
        for id, size in sizes.items():
            if id in model.again:
                del model.again[id]
                model.again_bytes -= size
            else:
                model.next[batch.partition] = (id & OFFSETS) + 1
            if not leased:
                self.is_done(model, id)
        model.taken += batch.count
        ends = [client.place + 10 * (at + 1) for at in range(batch.count)]
        if leased:
            group.lease(client.consumer, batch)
            attempts = dict.fromkeys(sizes, batch.attempt)
            client.leases.append(Handed(len(batch.data), set(sizes), attempts, sizes, self.now + LEASE_SECONDS))
            client.sent += zip(sizes, ends, strict=True)
        else:
            group.done(batch)  # as whoever sends it does
            model.acknowledged += batch.count
            seeks = model.seeks[batch.partition]
            client.for_good += [(id, batch.attempt, end, seeks) for id, end in zip(sizes, ends, strict=True)]
        reply = bytes(10 * batch.count)
        consumer = client.consumer if leased else None
        local = [10 * (at + 1) for at in range(batch.count)]
        client.in_flight.add(Delivery(client.place, reply, batch, group, consumer, local, group.seeks[batch.partition]))
        client.place += len(reply)

    def available(self, model):
        """For each partition, what the group would get, in order: ids and attempts."""
        found = []
        for partition, log in enumerate(self.logs):
            base = partition << PARTITION_SHIFT
            again = sorted((id, attempt) for id, attempt in model.again.items() if id >> PARTITION_SHIFT == partition)
            found.append(again + self.following(model, base, range(model.next[partition], len(log))))
        return found

    def following(self, model, base, offsets):
        """The same of what it has not had yet."""
        raise NotImplementedError

    def is_done(self, model, id):
        """A message is taken for good, acknowledged, or dead."""

    def is_undone(self, model, id):
        """A message that was taken for good did not arrive."""

    def size_of(self, id):
        return self.logs[id >> PARTITION_SHIFT][id & OFFSETS].size

    def comes_again(self, model, id, attempt):
        assert id not in model.again
        model.again[id] = attempt
        model.again_bytes += self.size_of(id)

    def lease_of(self, client, id):
        return next((handed for handed in client.leases if id in handed.ids), None)

    def lease_ends(self, model, client, handed, id, when=None):
        """A delivery came to nothing."""
        handed.ids.discard(id)
        attempt = handed.attempts[id]
        if attempt >= MAX_ATTEMPTS:
            self.dies(model, client, id, attempt)
            return
        model.returned += 1
        if when is None:
            self.comes_again(model, id, attempt + 1)
        else:
            model.later.append((when, id, attempt + 1))
            model.kept.add(id)
            model.again_bytes += self.size_of(id)

    def dies(self, model, client, id, attempt):
        message = self.logs[id >> PARTITION_SHIFT][id & OFFSETS]
        model.dead += 1
        self.is_done(model, id)
        self.dead_letters.append((message.body, message.key, id, client.group_name, attempt))

    # --- what is done with leases

    def draw_leased(self, data):
        """A client that has leased something, and an id: nearly always one of these."""
        client = data.draw(st.sampled_from([client for client in self.clients if any(h.ids for h in client.leases)]))
        ids = sorted(id for handed in client.leases for id in handed.ids)
        return client, data.draw(st.sampled_from([*ids, *ids, *ids, 77]))

    @property
    def some_lease(self):
        return any(handed.ids for client in self.clients for handed in client.leases)

    @precondition(lambda self: self.some_lease)
    @rule(data=st.data())
    def acknowledge(self, data):
        client, one = self.draw_leased(data)
        ids = [one, *data.draw(st.lists(st.sampled_from([one, *sorted(client.leases[-1].ids), 99]), max_size=4))]
        gone = []
        for id in ids:
            handed = self.lease_of(client, id)
            if handed is None:
                gone.append(id)
            else:
                handed.ids.discard(id)
                self.is_done(self.groups[client.group_name], id)
        self.groups[client.group_name].acknowledged += len(ids) - len(gone)
        assert self.topic.groups[client.group_name].acknowledge(client.consumer, ids) == gone

    @precondition(lambda self: self.some_lease)
    @rule(data=st.data(), seconds=st.sampled_from([0, 0, 2, 30]))
    def give_back(self, data, seconds):
        client, id = self.draw_leased(data)
        group, model = self.topic.groups[client.group_name], self.groups[client.group_name]
        handed = self.lease_of(client, id)
        delay = seconds - 0.25 if seconds else 0.0
        assert group.return_lease(client.consumer, id, delay) == (handed is not None)
        if handed is not None:
            self.lease_ends(model, client, handed, id, self.now + delay if seconds else None)
        self.settle()

    @precondition(lambda self: self.some_lease)
    @rule(data=st.data())
    def release(self, data):
        client, id = self.draw_leased(data)
        model = self.groups[client.group_name]
        handed = self.lease_of(client, id)
        gone = [] if handed is not None else [id]
        assert self.topic.groups[client.group_name].release(client.consumer, [id, 1 << 40]) == [*gone, 1 << 40]
        if handed is not None:
            handed.ids.discard(id)
            self.comes_again(model, id, handed.attempts[id])
            model.taken -= 1
            model.returned += 1

    @precondition(lambda self: self.some_lease)
    @rule(data=st.data(), seconds=st.sampled_from([None, 1, 5, 60]))
    def extend(self, data, seconds):
        client, id = self.draw_leased(data)
        handed = self.lease_of(client, id)
        until = self.now + (LEASE_SECONDS if seconds is None else seconds - 0.25)
        group = self.topic.groups[client.group_name]
        assert group.extend(client.consumer, id, until - self.now) == (handed is not None)
        if handed is not None:
            handed.ids.discard(id)
            size = self.size_of(id)
            client.leases.append(Handed(size, {id}, {id: handed.attempts[id]}, {id: size}, until))

    @precondition(lambda self: self.some_lease)
    @rule(data=st.data())
    def bury(self, data):
        client, id = self.draw_leased(data)
        handed = self.lease_of(client, id)
        assert self.topic.groups[client.group_name].bury(client.consumer, id, "why") == (handed is not None)
        if handed is not None:
            handed.ids.discard(id)
            self.dies(self.groups[client.group_name], client, id, handed.attempts[id])
        self.settle()

    # --- moving, forgetting, looking

    @precondition(lambda self: self.groups)
    @rule(data=st.data())
    def seek(self, data):
        name = data.draw(st.sampled_from(sorted(self.groups)))
        model = self.groups[name]
        partition = data.draw(st.sampled_from([None, *range(self.partitions)]))
        offset = data.draw(st.integers(0, max(map(len, self.logs)) + 1))
        places = self.topic.groups[name].seek(lambda _log: offset, partition)
        expected = []
        for number in range(self.partitions) if partition is None else [partition]:
            oldest = self.topic.partitions[number].oldest_offset
            model.next[number] = min(max(offset, oldest), len(self.logs[number]))
            expected.append(number << PARTITION_SHIFT | model.next[number])
        assert places == expected
        moved = range(self.partitions) if partition is None else [partition]
        for number in moved:
            self.is_moved(model, number)
        for id in [id for id in model.again if id >> PARTITION_SHIFT in moved]:
            del model.again[id]
            model.again_bytes -= self.size_of(id)
        model.again_bytes -= sum(self.size_of(id) for _, id, _ in model.later if id >> PARTITION_SHIFT in moved)
        model.later = [each for each in model.later if each[1] >> PARTITION_SHIFT not in moved]
        for client in self.clients:
            if client.group_name == name:
                for handed in client.leases:
                    handed.ids = {id for id in handed.ids if id >> PARTITION_SHIFT not in moved}

    def is_moved(self, model, partition):
        """A group was moved in this partition."""
        model.seeks[partition] += 1

    @precondition(lambda self: self.groups)
    @rule(data=st.data())
    def forget(self, data):
        name = data.draw(st.sampled_from(sorted(self.groups)))
        members = [client for client in self.clients if client.group_name == name]
        if any(handed.ids for client in members for handed in client.leases):
            with pytest.raises(BusyError):
                self.topic.forget_group(name)
            return
        self.topic.forget_group(name)
        del self.groups[name]
        for client in members:
            assert client.in_flight.give_back(0) == 0
            self.clients.remove(client)

    @precondition(lambda self: self.published)
    @rule()
    def remove(self):
        """The topic goes with everything, but for its dead letters; the next one is new."""
        if self.some_lease:
            with pytest.raises(BusyError):
                self.broker.remove("default")
            return
        self.broker.remove("default")
        assert self.topic.removed
        for client in self.clients:
            assert client.in_flight.give_back(0) == 0
        self.topic = self.broker.topic()
        self.is_new()
        for all_of_them in (self.delayed, self.ids, self.groups, self.clients):
            all_of_them.clear()
        self.settle(saving=True)

    def is_new(self):
        """There is nothing in the topic."""
        self.logs = [[] for _ in range(self.partitions)]
        self.turn = -1
        self.published = 0

    @precondition(lambda self: self.groups)
    @rule(data=st.data(), most=st.integers(1, 20))
    def look(self, data, most):
        name = data.draw(st.sampled_from(sorted(self.groups)))
        batches = self.topic.peek(name, most, 1 << 20)
        seen = [(batch.id + at, batch.attempt) for batch in batches for at in range(batch.count)]
        following = (self.topic.groups[name]._turn + 1) % self.partitions
        available = self.available(self.groups[name])
        assert seen == [*chain.from_iterable(available[following:] + available[:following])][:most]

    # --- time

    @rule(seconds=st.sampled_from([1, 3, 10, 11, 30, 301]))
    def time_passes(self, seconds):
        for _ in range(seconds):
            self.now += 1
            self.run_agenda()
            self.end_what_is_over()

    def run_agenda(self):
        while self.agenda.run_next() == 0.0:
            pass
        self.settle()

    def end_what_is_over(self):
        for entry in sorted(each for each in self.delayed if each[0] <= self.now):
            self.delayed.remove(entry)
            _, _, partition, message, id = entry
            message.time = self.now
            (batch,) = self.topic.partitions[partition].peek(len(self.logs[partition]), 1, 1)
            assert batch.bodies() == [message.body]
            message.size = len(batch.data)  # it may be counted by now
            if id in self.ids:
                self.ids[id][1] = partition << PARTITION_SHIFT | len(self.logs[partition])
            self.logs[partition].append(message)
            self.published += 1
        for id in [id for id, (when, _) in self.ids.items() if when + RECENT_SECONDS <= self.now]:
            del self.ids[id]
        for name, model in self.groups.items():
            for client in self.clients:
                if client.group_name == name:
                    for handed in client.leases:
                        for id in sorted(handed.ids) if handed.until <= self.now else ():
                            self.lease_ends(model, client, handed, id)
            for each in [each for each in model.later if each[0] <= self.now]:
                model.later.remove(each)
                model.again[each[1]] = each[2]

    # --- what always holds

    @invariant()
    def each_group_can_get_what_the_model_says(self):
        for name, model in self.groups.items():
            group = self.topic.groups[name]
            batches = group.peek(1 << 20, 1 << 30)
            seen = [[] for _ in range(self.partitions)]
            for batch in batches:
                seen[batch.partition] += [(batch.id + at, batch.attempt) for at in range(batch.count)]
            assert seen == self.available(model)
            assert group.backlog == sum(map(len, seen))
            leased = sum(len(h.ids) for c in self.clients if c.group_name == name for h in c.leases)
            assert (group.leased_count, group.lag) == (leased, group.backlog + leased + len(model.later))
            counts = (group.taken_count, group.acknowledged_count, group.returned_count, group.dead_count)
            assert counts == (model.taken, model.acknowledged, model.returned, model.dead)

    @invariant()
    def dead_letters_are_those_that_died(self):
        if not self.dead_letters:
            assert "default.dlq" not in self.broker.topics
            return
        found = []
        for log in self.broker.topics["default.dlq"].partitions:
            for batch in log.peek(0, 1 << 20, 1 << 30):
                for message in batch.messages():
                    facts = dict(message.headers)
                    partition, _, offset = facts["dead.id"].rpartition(b":")
                    id = int(partition or 0) << PARTITION_SHIFT | int(offset)
                    group, attempt = facts["dead.group"].decode(), int(facts["dead.attempts"])
                    found.append((message.body, message.key, id, group, attempt))
        assert sorted(found, key=repr) == sorted(self.dead_letters, key=repr)
