"""What is set for topics, by topic."""

from __future__ import annotations

from gstream.storage.facts import Facts
from gstream.storage.terms import Terms
from gstream.topic_options import TopicOptions

LOG = TopicOptions(is_log=True)


def test_what_a_topic_does_not_say_the_server_says():
    terms = Terms(Facts(), (1000, 60.0), {"a": (None, 5.0)})
    assert (terms.limits("a"), terms.limits("b")) == ((1000, 5.0), (1000, 60.0))
    assert (terms.own_limits("a"), terms.own_limits("b")) == ((None, 5.0), (None, None))
    terms.set_limits("b", 0, None)
    terms.set_limits("a", 7, 0.0)
    assert (terms.limits("a"), terms.limits("b")) == ((7, 0.0), (0, 60.0))
    assert Terms(Facts()).limits("a") == (0, 0.0)


def test_options_are_kept_as_facts():
    facts = Facts()
    terms = Terms(facts)
    assert terms.options("a") == TopicOptions()
    terms.set_options("a", LOG)
    terms.set_options("b.dlq", TopicOptions(segment_bytes=5))
    assert list(facts.under("")) == ["topic/a/options", "topic/b.dlq/options"]
    for each in (terms, Terms(facts)):
        assert (each.options("a"), each.options("b.dlq")) == (LOG, TopicOptions(segment_bytes=5))
        assert each.options("c") == TopicOptions()
    terms.set_options("a", TopicOptions())
    assert (terms.options("a"), facts.get("topic/a/options")) == (TopicOptions(), None)


def test_of_a_topic_that_is_removed_nothing_is_left():
    facts = Facts()
    others = {"topic/ab/id": b"", "floor/ab/0": b"1", "topic/A/options": LOG.encode(), "a": b""}
    for name, value in {**others, "topic/a/id": b"", "floor/a/0": b"", "floor/a/1": b""}.items():
        facts.put(name, value)
    terms = Terms(facts)
    terms.set_options("a", LOG)
    terms.set_limits("a", 5, 5.0)
    terms.forget("a")
    assert facts.under("") == dict(sorted(others.items()))
    assert (terms.options("a"), terms.options("A"), terms.limits("a")) == (TopicOptions(), LOG, (0, 0.0))
    terms.forget("a")
