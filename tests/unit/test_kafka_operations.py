"""The bits of what a client may do, against Kafka's own."""

from __future__ import annotations

from gstream.kafka.operations import CLUSTER_OPERATIONS, GROUP_OPERATIONS, NOT_ASKED, TOPIC_OPERATIONS, bits_of


def test_the_bits_are_those_that_kafka_sends():
    # AclEntry.supportedOperations(resourceType), as an int: what a broker without an authorizer answers
    assert bits_of(TOPIC_OPERATIONS) == 0b110111111000
    assert bits_of(GROUP_OPERATIONS) == 0b000101001000
    assert bits_of(CLUSTER_OPERATIONS) == 0b1111110100000
    assert bits_of(()) == 0
    assert NOT_ASKED == -2147483648
