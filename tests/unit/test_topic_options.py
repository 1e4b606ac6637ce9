"""What Kafka's clients set for a topic."""

from __future__ import annotations

import json

import pytest

from gstream.topic_options import TopicOptions


@pytest.mark.parametrize(
    "options",
    [
        TopicOptions(),
        TopicOptions(is_log=True),
        TopicOptions(max_message_bytes=0, segment_bytes=1 << 40),
        TopicOptions(max_message_bytes=1, segment_bytes=2, append_time=True, is_log=True),
    ],
)
def test_what_was_kept_is_what_was_set(options):
    assert TopicOptions.decode(options.encode()) == options


def test_only_what_is_set_is_kept():
    assert TopicOptions().encode() is None
    assert json.loads(TopicOptions(segment_bytes=5, is_log=True).encode()) == {"segment_bytes": 5, "is_log": True}
