"""Kafka's codes, and those of what goes wrong here."""

from __future__ import annotations

import pytest
from kafka import errors as library

from gstream.errors import BusyError, DiskFullError, FullError, UnknownNameError
from gstream.kafka.codes import Code, KafkaError, code_of

RENAMED = {
    "UNKNOWN": "UNKNOWN_SERVER_ERROR",
    "NO_ERROR": "NONE",
    "NOT_LEADER_FOR_PARTITION": "NOT_LEADER_OR_FOLLOWER",
    "MESSAGE_SIZE_TOO_LARGE": "MESSAGE_TOO_LARGE",
    "INVALID_TOPIC": "INVALID_TOPIC_EXCEPTION",
    "INVALID_REPLICATION_ASSIGNMENT": "INVALID_REPLICA_ASSIGNMENT",
}
"""Names of kafka-python that are not Kafka's."""


def test_the_numbers_are_those_of_the_library():
    known = {}
    for each in vars(library).values():
        if isinstance(each, type) and issubclass(each, library.BrokerResponseError) and each.errno is not None:
            known[each.errno] = RENAMED.get(each.message, each.message)
    shared = {code.value: code.name for code in Code if code.value in known}
    assert len(shared) > 110
    assert {number: known[number] for number in shared} == shared


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UnknownNameError("no such topic"), Code.UNKNOWN_TOPIC_OR_PARTITION),
        (FullError("no room"), Code.KAFKA_STORAGE_ERROR),
        (DiskFullError("no room"), Code.KAFKA_STORAGE_ERROR),
        (BusyError("the topic has consumers"), Code.POLICY_VIOLATION),
        (KafkaError(Code.NOT_COORDINATOR), Code.NOT_COORDINATOR),
        (ZeroDivisionError(), Code.UNKNOWN_SERVER_ERROR),
    ],
    ids=lambda value: value.__class__.__name__ if isinstance(value, Exception) else value.name,
)
def test_what_goes_wrong_here_has_a_code(error, code):
    assert code_of(error) is code


def test_an_error_says_its_message_or_its_name():
    assert str(KafkaError(Code.INVALID_CONFIG, "compaction is not served")) == "compaction is not served"
    assert str(KafkaError(Code.INVALID_CONFIG)) == "INVALID_CONFIG"
    assert KafkaError(Code.INVALID_CONFIG).message == ""


def test_a_message_is_short_whatever_a_client_has_sent():
    error = KafkaError(Code.INVALID_CONFIG, "x" * 40_000)
    assert (len(str(error)), str(error)[-2:]) == (1000, "x…")
