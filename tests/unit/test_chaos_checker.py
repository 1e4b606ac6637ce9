"""The checker of histories catches what it is there for: each way in which a server may fail, made by hand."""

from __future__ import annotations

import pytest

from tests.integration.chaos.checker import UNWRITTEN_CHANGES, Kind, check
from tests.integration.chaos.history import (
    ACKNOWLEDGE,
    BURY,
    EXTEND,
    RETURN,
    Answered,
    Delivered,
    Ended,
    Found,
    History,
    Left,
    Place,
    Sent,
    Settling,
    Stored,
    place_of,
)

TOPIC = "queue"
LEASE_SECONDS = 2.0


class Story:
    """A history as it is told: each call is what happens next, a second after what was before unless told otherwise.

    Messages are numbers, and lie at the offset of their number.
    """

    def __init__(self):
        self.history = History(LEASE_SECONDS)
        self.life = 0
        self.at = 0.0
        self.step = 0.001

    def __call__(self, kind, *fields, life=None):
        self.at += self.step
        self.history.note(kind(self.life if life is None else life, self.at, *fields))

    def sent(self, *numbers, producer=0, key=None):
        for number in numbers:
            self(Sent, TOPIC, b"%d" % number, producer, number, key)

    def stored(self, *numbers, place=None):
        for number in numbers:
            self(Stored, TOPIC, b"%d" % number, place)

    def published(self, *numbers):
        self.sent(*numbers)
        self.stored(*numbers)

    def came(self, *numbers, link=1, attempt=1, place=None, body=None, life=None):
        for number in numbers:
            where = place or at(number)
            self(Delivered, link, self.at, where, attempt, body or b"%d" % number, life=life)

    def says(self, verb, *numbers, link=1):
        for number in numbers:
            self(Settling, link, at(number), verb)

    def answers(self, verb, *numbers, link=1, attempt=1, done=True, life=None):
        for number in numbers:
            self(Answered, link, at(number), verb, attempt, done, life=life)

    def done(self, *numbers, link=1, attempt=1):
        self.says(ACKNOWLEDGE, *numbers, link=link)
        self.answers(ACKNOWLEDGE, *numbers, link=link, attempt=attempt)

    def passed(self, *numbers):
        """Published, delivered, acknowledged."""
        self.published(*numbers)
        self.came(*numbers)
        self.done(*numbers)

    def ended(self, *, clean=False):
        self(Ended, clean)
        self.life += 1

    def looked(self, *numbers, count=0, dead=()):
        """All is over: this lies in the log, and this among the dead letters."""
        for number in numbers:
            self(Found, TOPIC, at(number), b"%d" % number)
        for number in dead:
            self(Found, TOPIC, Place(TOPIC + ".dlq", 0, number), b"%d" % number, True)
        self(Left, TOPIC, count, bool(numbers))

    def kinds(self):
        return check(self.history).kinds


def at(number, partition=0):
    return Place(TOPIC, partition, number)


@pytest.fixture
def story():
    return Story()


# --- what may be


def test_nothing_has_happened(story):
    assert story.kinds() == set()


def test_messages_that_pass_are_all_right(story):
    story.passed(*range(10))
    story.looked(*range(10))
    assert story.kinds() == set()


def test_what_was_not_answered_may_be_there_or_not(story):
    story.passed(0)
    story.sent(1, 2)
    story.ended()
    story.came(1, link=2)
    story.done(1, link=2)
    story.looked(0, 1)
    assert story.kinds() == set()


def test_what_was_sent_twice_may_be_there_twice(story):
    story.sent(0)
    story.ended()
    story.sent(0)
    story.stored(0)
    story.came(0, link=2)
    story.came(0, link=2, place=at(1))
    story.says(ACKNOWLEDGE, 0, 1, link=2)
    assert story.kinds() == set()


def test_a_leased_message_comes_again_after_a_kill(story):
    story.published(0)
    story.came(0)
    story.ended()
    story.came(0, link=2, attempt=2)
    story.done(0, link=2, attempt=2)
    assert story.kinds() == set()


def test_an_acknowledgement_that_was_not_answered_may_have_arrived(story):
    story.published(0, 1)
    story.came(0, 1)
    story.says(ACKNOWLEDGE, 0, 1)
    story.ended()
    story.came(1, link=2, attempt=2)
    story.done(1, link=2, attempt=2)
    assert story.kinds() == set()


def test_a_message_given_back_goes_to_another(story):
    story.published(0)
    story.came(0)
    story.says(RETURN, 0)
    story.came(0, link=2, attempt=2)
    story.answers(RETURN, 0)
    story.done(0, link=2, attempt=2)
    assert story.kinds() == set()


def test_a_lease_that_has_ended_goes_to_another(story):
    story.published(0)
    story.came(0)
    story.at += LEASE_SECONDS
    story.came(0, link=2, attempt=2)
    story.says(ACKNOWLEDGE, 0)
    story.answers(ACKNOWLEDGE, 0, done=False)
    story.done(0, link=2, attempt=2)
    assert story.kinds() == set()


def test_what_was_sent_before_a_kill_may_be_read_after_it(story):
    story.published(0, 1)
    story.came(0)
    story.ended()
    story.came(0, link=2, attempt=2)
    story.done(0, link=2, attempt=2)
    story.came(1, life=0)
    story.came(1, link=2, attempt=2)
    story.done(1, link=2, attempt=2)
    assert story.kinds() == set()


def test_a_buried_message_lies_among_the_dead(story):
    story.published(0)
    story.came(0)
    story.says(BURY, 0)
    story.answers(BURY, 0)
    story.looked(0, dead=[0])
    assert story.kinds() == set()


def test_a_server_that_ends_takes_leases_back(story):
    story.published(0)
    story.came(0)
    story.ended(clean=True)
    story.came(0, link=2, attempt=2, life=0)
    story.came(0, link=3, attempt=3)
    story.done(0, link=3, attempt=3)
    assert story.kinds() == set()


def test_a_killed_server_may_have_forgotten_what_was_not_written_yet(story):
    story.step = 0
    count = UNWRITTEN_CHANGES
    story.passed(*range(count))
    story.at += 1
    story.passed(count)
    story.ended()
    story.came(*range(count + 1), link=2)
    story.done(*range(count + 1), link=2)
    assert story.kinds() == set(), "1,000, and what was said in the last 100 ms"


# --- what may not be


def test_a_stored_message_that_never_comes_is_lost(story):
    story.passed(0)
    story.published(1)
    story.looked(count=0)
    assert story.kinds() == {Kind.LOST}


def test_a_stored_message_that_is_not_in_the_log_is_lost(story):
    story.passed(0, 1)
    story.looked(0)
    assert story.kinds() == {Kind.LOST}


def test_a_delivered_message_that_is_not_done_and_does_not_come_again_is_lost(story):
    story.published(0)
    story.came(0)
    story.ended()
    story.looked(0)
    assert story.kinds() == {Kind.LOST}


def test_a_lease_that_was_gone_acknowledges_nothing(story):
    story.published(0)
    story.came(0)
    story.says(ACKNOWLEDGE, 0)
    story.answers(ACKNOWLEDGE, 0, done=False)
    story.looked(0)
    assert story.kinds() == {Kind.LOST}


def test_a_buried_message_that_is_not_among_the_dead_is_lost(story):
    story.published(0)
    story.came(0)
    story.says(BURY, 0)
    story.answers(BURY, 0)
    story.looked(0)
    assert story.kinds() == {Kind.LOST}


def test_a_message_that_nobody_sent_is_invented(story):
    story.passed(0)
    story.came(1)
    story.done(1)
    assert story.kinds() == {Kind.INVENTED}


def test_a_message_whose_bytes_have_changed_is_invented(story):
    story.published(0)
    story.came(0, body=b"0\0")
    story.done(0)
    assert story.kinds() == {Kind.INVENTED, Kind.LOST}


@pytest.mark.parametrize("dead", [False, True])
def test_a_message_that_is_only_found_is_invented_too(story, dead):
    story.passed(0)
    story.looked(0, *([] if dead else [1]), dead=[1] if dead else [])
    assert Kind.INVENTED in story.kinds()


def test_a_message_that_was_sent_once_and_is_there_twice_is_multiplied(story):
    story.passed(0)
    story.came(0, place=at(1))
    story.done(1)
    assert story.kinds() == {Kind.MULTIPLIED}


def test_a_message_that_is_dead_more_often_than_it_was_buried_is_multiplied(story):
    story.published(0)
    story.came(0)
    story.says(BURY, 0)
    story.looked(0, dead=[0, 0])
    assert story.kinds() == {Kind.MULTIPLIED}


def test_a_place_that_becomes_another_message_is_noticed(story):
    story.sent(0, 1)
    story.came(0)
    story.ended()
    story.came(1, place=at(0), link=2, attempt=2)
    story.done(0, link=2, attempt=2)
    assert Kind.MOVED in story.kinds()


def test_a_message_that_is_not_where_the_server_said_is_noticed(story):
    story.sent(0)
    story.stored(0, place=at(7))
    story.came(0)
    story.done(0)
    assert story.kinds() == {Kind.MOVED}


def test_a_key_in_two_partitions_is_noticed(story):
    for number, partition in enumerate([0, 1]):
        story.sent(number, key=b"k")
        story.stored(number)
        story(Found, TOPIC, at(number, partition), b"%d" % number)
    assert story.kinds() == {Kind.SCATTERED}


def test_a_later_message_before_an_earlier_one_of_its_producer_is_noticed(story):
    story.published(0, 1)
    story(Found, TOPIC, at(1), b"0")
    story(Found, TOPIC, at(0), b"1")
    assert story.kinds() == {Kind.REORDERED}


def test_another_producers_message_may_be_between(story):
    story.sent(0)
    story.sent(1, producer=1)
    story(Found, TOPIC, at(1), b"0")
    story(Found, TOPIC, at(0), b"1")
    assert story.kinds() == set()


def test_a_delivery_out_of_order_is_noticed(story):
    story.published(0, 1)
    story.came(1)
    story.came(0)
    story.done(0, 1)
    assert story.kinds() == {Kind.REORDERED}


def test_what_comes_again_may_be_out_of_order(story):
    story.published(0, 1)
    story.came(1)
    story.came(0, attempt=2)
    story.done(1)
    story.done(0, attempt=2)
    assert story.kinds() == set()


def test_the_same_attempt_twice_in_a_life_is_noticed(story):
    story.published(0)
    story.came(0)
    story.says(RETURN, 0)
    story.came(0, link=2)
    story.done(0, link=2)
    assert story.kinds() == {Kind.BACKWARDS}


def test_after_a_clean_end_attempts_go_on(story):
    story.published(0)
    story.came(0, attempt=3)
    story.ended(clean=True)
    story.came(0, attempt=2, link=2)
    story.done(0, link=2, attempt=2)
    assert story.kinds() == {Kind.BACKWARDS}


def test_more_forgotten_attempts_than_a_kill_may_cost_are_noticed(story):
    story.step = 0
    numbers = range(UNWRITTEN_CHANGES + 1)
    story.published(*numbers)
    story.came(*numbers, attempt=3)
    story.at += 1
    story.ended()
    story.came(*numbers, attempt=2, link=2)
    story.done(*numbers, link=2, attempt=2)
    assert story.kinds() == {Kind.BACKWARDS}


def test_an_acknowledged_message_that_comes_again_without_a_kill_is_noticed(story):
    story.passed(0)
    story.came(0, link=2, attempt=2)
    story.at += LEASE_SECONDS
    story.done(0, link=2, attempt=2)
    assert Kind.DOUBLED in story.kinds()


def test_an_acknowledged_message_that_comes_again_after_a_clean_end_is_noticed(story):
    story.passed(0)
    story.ended(clean=True)
    story.came(0, link=2, attempt=2)
    story.done(0, link=2, attempt=2)
    assert story.kinds() == {Kind.DOUBLED}


@pytest.mark.parametrize("verb", [ACKNOWLEDGE, BURY])
def test_more_forgotten_acknowledgements_than_a_kill_may_cost_are_noticed(story, verb):
    story.step = 0
    numbers = range(UNWRITTEN_CHANGES + 1)
    story.published(*numbers)
    story.came(*numbers)
    story.says(verb, *numbers)
    story.answers(verb, *numbers)
    story.at += 1
    story.ended()
    story.came(*numbers, attempt=2, link=2)
    story.done(*numbers, attempt=2, link=2)
    assert story.kinds() == {Kind.DOUBLED}


@pytest.mark.parametrize(("verb", "kinds"), [(None, {Kind.SHARED}), (ACKNOWLEDGE, {Kind.SHARED}), (EXTEND, set())])
def test_a_message_that_is_leased_to_two_is_noticed(story, verb, kinds):
    story.published(0)
    story.came(0)
    if verb:
        story.says(verb, 0)
    story.came(0, link=2, attempt=2)
    story.done(0, link=2, attempt=2)
    assert story.kinds() == kinds


def test_what_cannot_be_drained_is_noticed(story):
    story.published(0)
    story.looked(count=1)
    assert story.kinds() == {Kind.LEFT}


# --- what is said of it


def test_a_report_says_what_is_wrong_and_how_often(story):
    story.published(0, 1)
    story.ended()
    story.looked()
    text = str(check(story.history))
    assert text.startswith("lost: 2 times\nlost: b'0' was stored in queue, and never came\n")
    assert text.endswith(
        "stored 2, there without an answer 0, deliveries 0, given back 0, dead 0, "
        "came again after an acknowledgement 0, oldest of these (s) 0"
    )
    assert "kills 1, clean ends 0, sent 2" in text


@pytest.mark.parametrize(("id", "place"), [(b"7", at(7)), (b"1:7", at(7, 1))])
def test_an_id_says_where_a_message_lies(id, place):
    assert place_of(TOPIC, id) == place
