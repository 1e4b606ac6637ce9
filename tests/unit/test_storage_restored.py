"""What was kept of topics and groups, by who asks for it."""

from __future__ import annotations

from gstream.storage.changes import DelayedMessage, KeptMessage, Saved, TopicRow
from gstream.storage.restored import Restored, SavedTopic

KEPT = KeptMessage(1, 2, 3, ord("p"), b"pa\n")
DELAYED = DelayedMessage(0, 5, b"id", ord("p"), b"pb\n")
SAVED = Saved(
    topics={"a": TopicRow(2, 100, None), "b": TopicRow(1)},
    groups=[("a", "x"), ("b", "x"), ("a", "y")],
    lows={("a", "x", 0): 5, ("a", "x", 1): 0, ("b", "x", 0): 9},
    chunks={("a", "x", 0, 0): b"\1", ("a", "x", 0, 7): b"\2", ("b", "x", 0, 0): b"\3"},
    kept={("a", "x", 0, 3): KEPT},
    delayed={("a", 4): DELAYED},
    recent={("b", b"id"): (None, 8)},
)


def test_each_topic_gets_what_is_its_own():
    restored = Restored(SAVED)
    assert restored.limits() == {"a": (100, None), "b": (None, None)}
    assert restored.take_topic("a") == SavedTopic(["x", "y"], {4: DELAYED}, {})
    assert restored.take_topic("b") == SavedTopic(["x"], {}, {b"id": (None, 8)})


def test_each_group_gets_what_it_had_done_in_a_partition():
    restored = Restored(SAVED)
    assert restored.take_share(("a", "x", 0)) == (5, {0: b"\1", 7: b"\2"}, {3: KEPT})
    assert restored.take_share(("b", "x", 0)) == (9, {0: b"\3"}, {})


def test_a_group_made_anew_has_done_nothing():
    restored = Restored(SAVED)
    restored.take_topic("a")
    restored.take_share(("a", "x", 1))
    assert restored.take_topic("a") == SavedTopic()
    assert restored.take_share(("a", "x", 1)) is None
    assert restored.take_share(("a", "z", 0)) is None
