import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka.protocol.consumer.metadata import ConsumerProtocolSubscription

from gstream.kafka.subscription import decode_topics
from tests.unit.groups_ground import subscription


@pytest.mark.parametrize("version", range(4))
def test_the_topics_of_a_consumer(version):
    said = ConsumerProtocolSubscription(topics=["orders", "mails"], user_data=b"more", version=version)
    assert decode_topics(bytes(said.encode())) == ["orders", "mails"]


def test_no_topics():
    assert decode_topics(subscription()) == []


@given(st.binary())
def test_what_is_no_subscription(data):
    assert isinstance(decode_topics(data), list)


@pytest.mark.parametrize("size", range(len(subscription("orders")) - 4))
def test_a_subscription_that_is_cut_off(size):
    assert decode_topics(subscription("orders")[:size]) == []


def test_a_length_that_is_negative():
    assert decode_topics(b"\0\0\0\0\0\2\0\6orders\xff\xff") == []
    assert decode_topics(b"\0\0\0\0\0\1\0\1\xff") == []
