import pytest
from hypothesis import given
from hypothesis import strategies as st

from gstream.kafka.codes import Code
from gstream.kafka.committed import MANY_PLACES, Committed, Offsets, check_metadata, decode, encode, parse_name
from gstream.storage.facts import Facts


@pytest.fixture
def facts():
    return Facts()


@pytest.fixture
def offsets(facts):
    return Offsets(facts, "my/group")


@given(st.integers(-1, (1 << 63) - 1), st.integers(-1, 1 << 30), st.text(), st.integers(0, 1 << 45))
def test_what_is_kept_comes_back(offset, epoch, metadata, time_ms):
    committed = Committed(offset, epoch, metadata, time_ms)
    assert decode(encode(committed)) == committed


@pytest.mark.parametrize("value", [b"", b"1 2 3", b"1 2 x y", b"\xff 1 2 3"])
def test_what_is_no_offset(value):
    with pytest.raises(ValueError, match=r"."):
        decode(value)


def test_it_is_a_fact_of_its_topic(facts, offsets):
    offsets.put(("orders", 3), Committed(7, 0, "so far", 5))
    assert facts.under("") == {"topic/orders/offset/my%2Fgroup/3": b"7 0 5 so far"}
    assert parse_name("topic/orders/offset/my%2Fgroup/3") == ("my/group", ("orders", 3))


@pytest.mark.parametrize("name", ["topic/orders/id", "topic/orders/offset/g/x", "topic/orders/option/g/3", "cluster"])
def test_other_facts(name):
    assert parse_name(name) is None


def test_a_group_without_a_name(facts):
    Offsets(facts, "").put(("orders", 0), Committed(7))
    (name,) = facts.under("")
    assert parse_name(name) == ("", ("orders", 0))


def test_all_there_are(offsets):
    assert not offsets
    assert offsets.get(("orders", 0)) is None
    offsets.put(("orders", 1), Committed(7, time_ms=2))
    offsets.put(("mails", 0), Committed(8, time_ms=3))
    offsets.put(("orders", 1), Committed(9, time_ms=1))
    assert offsets
    assert list(offsets) == [(("orders", 1), Committed(9, time_ms=1)), (("mails", 0), Committed(8, time_ms=3))]
    assert offsets.latest_ms == 3


def test_those_of_a_removed_topic_go_with_it(facts, offsets):
    offsets.put(("orders", 1), Committed(7))
    offsets.put(("mails", 1), Committed(8))
    facts.remove_under("topic/orders/")
    assert offsets.get(("orders", 1)) is None
    assert [place for place, _ in offsets] == [("mails", 1)]
    facts.remove_under("topic/mails/")
    assert not offsets


def test_places_of_removed_topics_are_not_kept_in_mind(facts, offsets):
    for number in range(MANY_PLACES + 10):
        offsets.put((f"job{number}", 0), Committed(7))
        facts.remove_under(f"topic/job{number}/")
    assert len(offsets._places) < 20
    for number in range(MANY_PLACES + 10):
        offsets.put(("orders", number), Committed(7))
    assert len(list(offsets)) == MANY_PLACES + 10


def test_they_are_removed(facts, offsets):
    for partition in range(3):
        offsets.put(("orders", partition), Committed(7))
    offsets.remove(("orders", 1))
    offsets.remove(("orders", 9))
    assert [place for place, _ in offsets] == [("orders", 0), ("orders", 2)]
    offsets.clear()
    assert len(facts) == 0


def test_they_are_found_again(facts, offsets):
    offsets.put(("orders", 1), Committed(7, time_ms=4))
    again = Offsets(facts, "my/group")
    again.restore(("orders", 1), Committed(7, time_ms=4))
    assert list(again) == list(offsets)
    assert again.latest_ms == 4


def test_how_much_a_client_may_say():
    assert check_metadata(None) is Code.NONE
    assert check_metadata("x" * 4096) is Code.NONE
    assert check_metadata("x" * 4097) is Code.OFFSET_METADATA_TOO_LARGE
    assert check_metadata("é" * 2049) is Code.OFFSET_METADATA_TOO_LARGE
