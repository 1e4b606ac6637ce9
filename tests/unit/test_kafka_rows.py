import gevent
import pytest
from kafka.protocol.admin import DeleteTopicsResponse

from gstream.kafka import rows as module
from gstream.kafka.rows import encode_rows, in_turns

Row = DeleteTopicsResponse.DeletableTopicResult


def test_others_get_turns(monkeypatch):
    monkeypatch.setattr(module, "TURN_SECONDS", -1.0)
    seen = []
    other = gevent.spawn(lambda: seen.append("other"))
    seen += in_turns(range(3))
    other.join()
    assert seen == ["other", 0, 1, 2]


def test_what_is_little_is_done_at_once(monkeypatch):
    monkeypatch.setattr(module, "TURN_SECONDS", 60.0)
    seen = []
    other = gevent.spawn(lambda: seen.append("other"))
    seen += in_turns(range(3))
    other.join()
    assert seen == [0, 1, 2, "other"]


@pytest.mark.parametrize("version", range(1, 7))
@pytest.mark.parametrize("count", [0, 1, 20, 21, 200])
def test_rows_are_encoded_as_at_once(version, count):
    rows = [Row(name=f"t{number}", topic_id=None, error_code=number) for number in range(count)]
    parts = encode_rows(DeleteTopicsResponse, version, "responses", rows, throttle_time_ms=7)
    whole = DeleteTopicsResponse(throttle_time_ms=7, responses=rows).encode(version=version)
    assert b"".join(parts) == whole
