"""Facts by name: what is found, and what is written of them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gstream.storage.facts import Facts

NAME = st.text("a/é0", max_size=4)


def test_what_was_put_last_is_there():
    facts = Facts()
    assert (facts.get("a"), len(facts), facts.commit()) == (None, 0, None)
    facts.put("a", b"1")
    facts.put("a", b"2")
    facts.put("b", b"")
    assert (facts.get("a"), facts.get("b"), len(facts)) == (b"2", b"", 2)
    facts.put("a", None)
    facts.put("c", None)
    assert (facts.get("a"), len(facts)) == (None, 1)


@given(st.dictionaries(NAME, st.binary(max_size=1)), st.dictionaries(NAME, st.none() | st.binary(max_size=1)), NAME)
def test_what_begins_alike_is_found_together_and_in_order(found, put, prefix):
    facts, expected = Facts(None, found), dict(found)
    for name, value in put.items():
        facts.put(name, value)
        expected[name] = value
    expected = {name: value for name, value in sorted(expected.items()) if value is not None}
    assert list(facts.under("").items()) == list(expected.items())
    inside = {name: value for name, value in expected.items() if name.startswith(prefix)}
    assert list(facts.under(prefix).items()) == list(inside.items())
    facts.remove_under(prefix)
    assert facts.under("") == {name: value for name, value in expected.items() if name not in inside}


@given(st.dictionaries(st.text(), st.binary()), st.lists(st.tuples(st.text(), st.none() | st.binary())))
def test_it_is_known_what_they_take(found, put):
    facts = Facts(None, found)
    for name, value in put:
        facts.put(name, value)
    assert facts.held_bytes == sum(len(name) + len(value) for name, value in facts.under("").items())
    assert not facts.is_full


def test_there_is_no_end_of_facts_but_one_is_told(monkeypatch):
    monkeypatch.setattr("gstream.storage.facts.MAX_BYTES", 3)
    facts = Facts()
    facts.put("a", b"bc")
    assert not facts.is_full
    facts.put("d", b"")
    assert facts.is_full
    facts.put("a", None)
    assert not facts.is_full


def test_what_was_found_is_not_changed():
    found = {"a": b"1"}
    facts = Facts(None, found)
    facts.put("a", b"2")
    assert found == {"a": b"1"}


def test_what_changes_is_written(make_state):
    state = make_state()
    facts = Facts(state, {"a/1": b"1", "a/2": b"2", "b": b"3"})
    facts.put("b", b"3")
    facts.put("c", None)
    assert (state.notes, state.changes.facts) == (0, {}), "nothing has changed"
    facts.put("b", b"4")
    facts.remove_under("a/")
    assert state.notes == 3
    assert state.changes.facts == {"b": b"4", "a/1": None, "a/2": None}
    commit = facts.commit()
    assert not commit.is_done
    state.save()
    assert commit.is_done
    assert state.saved.facts == {"b": b"4"}


def test_what_could_not_be_written_goes_under_what_came_later(make_state):
    state = make_state()
    facts = Facts(state)
    facts.put("a", b"1")
    facts.put("b", b"2")
    state.save(OSError("full"))
    facts.put("a", None)
    facts.put("c", b"3")
    state.save()
    assert state.saved.facts == {"b": b"2", "c": b"3"}
