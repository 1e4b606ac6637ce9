"""What a service does without listening."""

from __future__ import annotations

import logging
import threading

import pytest
from gevent.event import Event

from gstream.batch import pack
from gstream.config import Config
from gstream.errors import ConfigError, FullError
from gstream.service import Service
from gstream.testing import TIMEOUT_SECONDS


@pytest.fixture
def service():
    service = Service(Config(max_memory_bytes=10))
    yield service
    service.stop()


def test_it_is_put_together_from_its_configuration(service):
    assert service.engine.max_bytes == 10
    assert service.broker.engine is service.engine
    assert (service.port, service.endpoints, service.connection_count) == (0, [], 0)
    topic = service.broker.topic()
    assert topic.publish(pack(b"12345678", b""), 2) == 1
    assert isinstance(topic.full_error(), FullError)


def test_a_stop_that_was_asked_for_before_is_not_forgotten(service):
    service.request_stop()
    service.run_until_stopped()
    service.run_until_stopped()


def test_any_thread_may_ask_it_to_stop(service):
    thread = threading.Thread(target=service.request_stop)
    thread.start()
    service.run_until_stopped()
    thread.join()


def test_it_does_not_listen_where_it_must_not():
    service = Service(Config(host="0.0.0.0"))
    with pytest.raises(ConfigError, match="--insecure"):
        service.start()
    assert (service.port, service.endpoints) == (0, [])
    service.stop()


def test_stopping_tells_how_many_messages_are_lost(caplog):
    caplog.set_level(logging.INFO, "gstream")
    service = Service(Config())
    service.broker.topic("one").publish(pack(b"a", b"b"), 2)
    service.broker.topic("two").publish(pack(b"c"), 1)
    service.stop()
    last = caplog.records[-1]
    assert (last.levelname, last.getMessage(), last.messages) == (
        "WARNING",
        "stopped; the messages in memory are lost",
        3,
    )


def test_stopping_with_nothing_left_says_so(caplog):
    caplog.set_level(logging.INFO, "gstream")
    service = Service(Config())
    service.broker.topic().publish(pack(b"a"), 1)
    service.broker.topic().group().take(1, 0)
    service.stop()
    assert [record.getMessage() for record in caplog.records] == ["stopping", "stopped"]


def test_something_on_the_agenda_that_fails_is_logged_and_what_comes_after_it_is_done(service, caplog):
    def fail():
        raise RuntimeError("a bug of this test")

    done = Event()
    service.agenda.at(service.agenda.clock(), fail)
    service.agenda.at(service.agenda.clock(), done.set)
    service._timekeeper.start()
    assert done.wait(TIMEOUT_SECONDS)
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert record.getMessage() == "bug: something on the agenda failed"
    assert record.exc_info[0] is RuntimeError
