from __future__ import annotations

import gevent
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gstream.agenda import Agenda
from gstream.batch import PACKING_BYTES, pack
from gstream.group import Group
from gstream.mailbox import Mailbox
from gstream.storage.memory import Memory

SOON = 0.001
"""A time that is really waited for, where its end is what is tested."""


@pytest.fixture
def log(grounds):
    return grounds.log


@pytest.fixture
def group(grounds):
    return grounds.group


def make_group(log):
    def bury(_group, batch, reason):
        pytest.fail(f"{batch!r} is dead: {reason}")

    return Group("default", [log], Agenda(lambda: 100.0), lease_seconds=10.0, max_attempts=3, bury=bury)


def publish(log, group, *bodies):
    assert log.append(pack(*bodies), len(bodies)) == len(bodies)
    group.wake()


def take(group, max_messages=1000, max_bytes=1 << 20):
    batch = group.take(max_messages, max_bytes)
    return None if batch is None else batch.bodies()


class Waiter:
    """A consumer that waits in a greenlet of its own."""

    def __init__(self, group, seconds=None):
        self.mailbox = Mailbox()
        self.greenlet = gevent.spawn(self.mailbox.wait, group, seconds)
        gevent.idle()

    @property
    def waits(self):
        gevent.idle()
        return not self.greenlet.ready()

    @property
    def body(self):
        """The message that it got, or None."""
        batch = self.greenlet.get()
        if batch is None:
            return None
        (body,) = batch.bodies()
        return body


def test_the_oldest_first(log, group):
    publish(log, group, b"a", b"b")
    publish(log, group, b"c")
    assert take(group, 1) == [b"a"]
    assert take(group, 1) == [b"b"]
    assert take(group, 1) == [b"c"]
    assert take(group, 1) is None


def test_a_new_group_has_what_is_kept(log):
    log.append(pack(b"before"), 1)
    group = make_group(log)
    assert group.backlog == 1
    assert take(group) == [b"before"]
    assert take(group) is None


def test_counts(log, group):
    publish(log, group, b"a", b"b", b"c", b"d")
    assert (group.backlog, group.taken_count, group.returned_count) == (4, 0, 0)
    batch = group.take(3, 100)
    assert (group.backlog, group.taken_count, group.returned_count) == (1, 3, 0)
    group.give_back(batch)
    assert (group.backlog, group.taken_count, group.returned_count) == (4, 0, 3)
    while group.take(10, 100):
        pass
    assert (group.backlog, group.taken_count, group.returned_count) == (0, 4, 3)


def test_what_is_given_back_comes_again_in_its_place(log, group):
    publish(log, group, b"a", b"b", b"c", b"d")
    first, second, third = group.take(1, 0), group.take(1, 0), group.take(1, 0)
    group.give_back(third)
    group.give_back(first)
    assert take(group, 1) == [b"a"]
    group.give_back(second)
    assert take(group, 1) == [b"b"]
    assert take(group, 1) == [b"c"]
    assert take(group, 1) == [b"d"]


def test_what_is_given_back_together_may_be_taken_in_parts(log, group):
    publish(log, group, b"a", b"b", b"c", b"d", b"e")
    group.give_back(group.take(4, 100))
    assert take(group, 1) == [b"a"]
    assert take(group, 2) == [b"b", b"c"]
    rest = group.take(10, 100)
    assert (rest.offset, rest.count, rest.data) == (3, 1, b"pd\n")
    assert take(group) == [b"e"]


@pytest.mark.parametrize(("max_bytes", "count"), [(0, 1), (1, 1), (6, 1), (7, 2), (11, 2), (12, 3), (100, 3)])
def test_of_what_was_given_back_no_more_bytes_than_asked_for_but_always_one(log, group, max_bytes, count):
    publish(log, group, b"a", b"bb", b"ccc")
    group.give_back(group.take(3, 100))
    batch = group.take(3, max_bytes)
    assert (batch.offset, batch.count, batch.data) == (0, count, pack(*[b"a", b"bb", b"ccc"][:count]))


def test_what_is_given_back_counts_against_the_budget(log, group):
    memory = log.budget
    publish(log, group, b"a", b"bb")
    batch = group.take(2, 100)
    assert memory.room_bytes == memory.max_bytes
    group.give_back(batch)
    assert memory.room_bytes == memory.max_bytes - len(pack(b"a", b"bb"))
    assert (memory.used_bytes, memory.held_bytes) == (0, len(pack(b"a", b"bb")))
    assert take(group, 1) == [b"a"]
    assert memory.held_bytes == len(pack(b"bb"))
    assert take(group, 1) == [b"bb"]
    assert memory.held_bytes == 0


def test_a_message_that_is_there_is_not_waited_for(log, group):
    publish(log, group, b"a", b"b")
    assert Mailbox().wait(group, None).bodies()[0] == b"a"
    assert Mailbox().wait(group, 0).bodies()[0] == b"b"
    assert Mailbox().wait(group, 0) is None
    assert not group.waiting


def test_who_waits_longest_is_served_first_one_message_each(log, group):
    waiters = [Waiter(group) for _ in range(4)]
    assert len(group.waiting) == 4
    publish(log, group, b"a", b"b")
    assert [waiter.waits for waiter in waiters] == [False, False, True, True]
    publish(log, group, b"c", b"d", b"e")
    assert [waiter.body for waiter in waiters] == [b"a", b"b", b"c", b"d"]
    assert take(group) == [b"e"]
    assert not group.waiting


def test_a_thousand_waiters_each_get_one(log, group):
    waiters = [Waiter(group) for _ in range(1000)]
    publish(log, group, *(b"%d" % number for number in range(1000)))
    assert [waiter.body for waiter in waiters] == [b"%d" % number for number in range(1000)]


def test_wake_without_messages_wakes_nobody(group):
    waiter = Waiter(group)
    group.wake()
    assert waiter.waits
    waiter.mailbox.put(None)
    assert waiter.body is None


def test_a_message_that_is_given_back_wakes_who_waits(log, group):
    publish(log, group, b"a", b"b", b"c")
    batch = group.take(3, 100)
    waiters = [Waiter(group), Waiter(group)]
    group.give_back(batch)
    assert [waiter.body for waiter in waiters] == [b"a", b"b"]
    assert take(group) == [b"c"]


def test_none_in_the_mailbox_ends_the_waiting(log, group):
    first, second = Waiter(group), Waiter(group)
    first.mailbox.put(None)
    assert first.body is None
    assert second.waits
    assert len(group.waiting) == 1
    publish(log, group, b"a")
    assert second.body == b"a"


def test_the_time_ends_the_waiting(log, group):
    waiter = Waiter(group, SOON)
    assert waiter.body is None
    assert not group.waiting
    publish(log, group, b"a")
    assert take(group) == [b"a"]


def test_a_message_within_the_time(log, group):
    waiter = Waiter(group, 100)
    publish(log, group, b"a")
    assert waiter.body == b"a"


def test_a_message_and_none_at_once_lose_nothing(log, group):
    for cancel_first in (True, False):
        waiter = Waiter(group)
        if cancel_first:
            waiter.mailbox.put(None)
        publish(log, group, b"a")
        if not cancel_first:
            waiter.mailbox.put(None)
        got = waiter.body
        assert [got, take(group)] in ([b"a", None], [None, [b"a"]])
        assert group.backlog == 0
        assert log.budget.used_bytes == 0


def test_a_waiter_that_is_killed_leaves_its_place(log, group):
    first, second = Waiter(group), Waiter(group)
    first.greenlet.kill()
    publish(log, group, b"a")
    assert second.body == b"a"


def test_a_waiter_that_is_killed_with_a_message_on_its_way_loses_none(log, group):
    first, second = Waiter(group), Waiter(group)
    first.greenlet.kill(block=False)  # it is killed in the next turn, and is still first in the queue
    publish(log, group, b"a", b"b")
    assert second.body == b"b"
    assert isinstance(first.greenlet.get(), gevent.GreenletExit)
    assert take(group) == [b"a"]
    assert (group.backlog, group.taken_count, log.budget.used_bytes, log.budget.held_bytes) == (0, 2, 0, 0)


def test_what_a_killed_waiter_leaves_goes_to_the_next(log, group):
    waiters = [Waiter(group) for _ in range(3)]
    waiters[0].greenlet.kill(block=False)
    publish(log, group, b"a")
    assert waiters[1].body == b"a"
    assert waiters[2].waits
    waiters[2].greenlet.kill()
    assert group.backlog == 0


def test_a_waiter_that_has_its_message_when_it_is_killed_keeps_it(log, group):
    waiter = Waiter(group)
    publish(log, group, b"a")
    waiter.greenlet.kill(block=False)
    assert waiter.body == b"a"
    assert take(group) is None


class GroupMachine(RuleBasedStateMachine):
    """A group and a sorted list that does the same."""

    def __init__(self):
        super().__init__()
        self.memory = Memory(1 << 20)
        self.log = self.memory.open_log()
        self.group = make_group(self.log)
        self.bodies = []
        self.untaken = []
        self.taken = []

    @rule(sizes=st.lists(st.sampled_from([0, 1, 10, 300]), min_size=1, max_size=10))
    def publish(self, sizes):
        bodies = [b"%d:" % (len(self.bodies) + at) + b"x" * size for at, size in enumerate(sizes)]
        self.untaken += range(len(self.bodies), len(self.bodies) + len(bodies))
        self.bodies += bodies
        publish(self.log, self.group, *bodies)

    @rule(max_messages=st.integers(1, 12), max_bytes=st.sampled_from([0, 1, 20, 400, 1 << 20]))
    def take(self, max_messages, max_bytes):
        batch = self.group.take(max_messages, max_bytes)
        if batch is None:
            assert self.untaken == []
            return
        offsets = list(range(batch.offset, batch.offset + batch.count))
        assert offsets == self.untaken[: batch.count]
        assert list(batch.bodies()) == [self.bodies[offset] for offset in offsets]
        assert batch.count <= max_messages
        assert batch.count == 1 or len(batch.data) <= max_bytes
        del self.untaken[: batch.count]
        self.taken.append(batch)

    @precondition(lambda self: self.taken)
    @rule(data=st.data())
    def give_back(self, data):
        batch = self.taken.pop(data.draw(st.integers(0, len(self.taken) - 1)))
        if batch.count > 1 and data.draw(st.booleans()):
            batch = batch.split(data.draw(st.integers(1, batch.count - 1)))[1]
        self.group.give_back(batch)
        self.untaken = sorted([*self.untaken, *range(batch.offset, batch.offset + batch.count)])

    @invariant()
    def counts(self):
        assert self.group.backlog == len(self.untaken)
        sizes = [len(self.bodies[offset]) + PACKING_BYTES for offset in self.untaken]
        assert self.memory.used_bytes + self.memory.held_bytes == sum(sizes)


GroupMachine.TestCase.settings = settings(max_examples=100, stateful_step_count=30)
TestGroupAgainstASortedList = GroupMachine.TestCase
