"""kafka-python before its version 3 against a server, whose address is the argument: what its users do with it.

Runs where that version is installed: see run.py. Ends with a traceback when something is not as it has to be.
"""

from __future__ import annotations

import sys
import threading
import time
import uuid

import kafka
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, NewPartitions, NewTopic

RUN = uuid.uuid4().hex[:8]
SECONDS = 20
BOOTSTRAP = sys.argv[1]
IS_AGED = kafka.__version__.startswith("2.0")
"""Before 2.1 it had neither static members nor transactions."""


def named(name):
    return f"{name}-{RUN}"


def produce(topic, values, partition=0, **settings):
    producer = KafkaProducer(bootstrap_servers=BOOTSTRAP, **settings)
    sent = [producer.send(topic, value, b"a key", [("a", b"header")], partition) for value in values]
    producer.flush(SECONDS)
    for each in sent:
        each.get(SECONDS)
    producer.close(SECONDS)


def consume(topic, count, **settings):
    settings = {"auto_offset_reset": "earliest", "consumer_timeout_ms": SECONDS * 1000, **settings}
    consumer = KafkaConsumer(topic, bootstrap_servers=BOOTSTRAP, enable_auto_commit=False, **settings)
    found = []
    for message in consumer:
        found.append(message)
        if len(found) == count:
            break
    if settings.get("group_id"):
        consumer.commit()
    consumer.close()
    assert len(found) == count, f"{len(found)} of {count} came"
    return found


def poll_until(is_so, *consumers):
    until = time.monotonic() + SECONDS
    while not is_so():
        assert time.monotonic() < until, "waited in vain"
        for consumer in consumers:
            consumer.poll(50)
        time.sleep(0.01)


def every_codec():
    for codec in (None, "gzip", "snappy", "lz4", "zstd"):
        values = [b"value %d" % number * 20 for number in range(500)]
        produce(named(f"codec-{codec}"), values, compression_type=codec, linger_ms=5)
        found = consume(named(f"codec-{codec}"), 500)
        assert [message.value for message in found] == values
        assert (found[0].key, found[0].headers) == (b"a key", [("a", b"header")])


def every_kind_of_acks():
    for acks in (1, "all"):  # 2.3 loses what is sent with acks=0 when it is closed: it never reaches the network
        produce(named(f"acks-{acks}"), [b"x"], acks=acks)
        consume(named(f"acks-{acks}"), 1)


def nothing_for_a_value():
    produce(named("tombstones"), [None])
    assert consume(named("tombstones"), 1)[0].value is None


def a_group_goes_on_where_it_was():
    topic, group = named("kept"), named("workers")
    produce(topic, [b"%d" % number for number in range(10)])
    assert [message.offset for message in consume(topic, 4, group_id=group, max_poll_records=1)] == [0, 1, 2, 3]
    assert [message.offset for message in consume(topic, 6, group_id=group)] == [4, 5, 6, 7, 8, 9]


class Polled:
    """A consumer that is polled by a thread of its own: while it joins its group, 2.0 waits for the others."""

    def __init__(self, topic, group):
        settings = {"group_id": group, "heartbeat_interval_ms": 100, "session_timeout_ms": 6000}
        self.consumer = KafkaConsumer(topic, bootstrap_servers=BOOTSTRAP, **settings)
        self.is_over = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.is_over.is_set():
            self.consumer.poll(50)
        self.consumer.close()

    @property
    def count(self):
        return len(self.consumer.assignment())

    def close(self):
        self.is_over.set()
        self.thread.join(SECONDS)
        assert not self.thread.is_alive()


def two_consumers_share_and_one_leaves():
    topic, group = named("shared"), named("shared")
    admin = KafkaAdminClient(bootstrap_servers=BOOTSTRAP)
    admin.create_topics([NewTopic(topic, 6, 1)])
    admin.close()
    one, two = Polled(topic, group), Polled(topic, group)
    poll_until(lambda: one.count == two.count == 3)
    one.close()
    poll_until(lambda: two.count == 6)
    two.close()


def a_static_member_comes_back():
    if IS_AGED:
        return
    settings = {"group_id": named("static"), "group_instance_id": "one", "bootstrap_servers": BOOTSTRAP}
    for _ in range(2):
        consumer = KafkaConsumer(named("shared"), **settings)
        poll_until(consumer.assignment, consumer)
        consumer.close()


def transactions():
    if IS_AGED:
        return
    topic = named("transactions")
    producer = KafkaProducer(bootstrap_servers=BOOTSTRAP, transactional_id=named("transactional"))
    producer.init_transactions()
    for value in (b"one", b"two", b"three"):
        producer.begin_transaction()
        producer.send(topic, value, partition=0).get(SECONDS)
        if value == b"two":
            producer.abort_transaction()
        else:
            producer.commit_transaction()
    producer.close(SECONDS)
    committed = consume(topic, 2, isolation_level="read_committed")
    assert [message.value for message in committed] == [b"one", b"three"]
    assert [message.value for message in consume(topic, 3)] == [b"one", b"two", b"three"]


def places():
    topic = named("places")
    produce(topic, [b"one", b"two", b"three"])
    consumer, place = KafkaConsumer(bootstrap_servers=BOOTSTRAP), TopicPartition(topic, 0)
    assert consumer.beginning_offsets([place]) == {place: 0}
    assert consumer.end_offsets([place]) == {place: 3}
    assert consumer.offsets_for_times({place: 1})[place].offset == 0
    assert consumer.offsets_for_times({place: 1 << 50}) == {place: None}
    consumer.assign([place])
    consumer.seek(place, 2)
    assert next(consumer).value == b"three"
    consumer.close()


def topics_by_a_pattern():
    consumer = KafkaConsumer(bootstrap_servers=BOOTSTRAP, group_id=named("pattern"), metadata_max_age_ms=500)
    consumer.subscribe(pattern=f"^(kept|places)-{RUN}$")
    poll_until(lambda: {place.topic for place in consumer.assignment()} == {named("kept"), named("places")}, consumer)
    consumer.close()


def administration():
    admin = KafkaAdminClient(bootstrap_servers=BOOTSTRAP)
    topic = named("managed")
    resource = ConfigResource(ConfigResourceType.TOPIC, topic)
    admin.create_topics([NewTopic(topic, 2, 1, topic_configs={"retention.ms": "100000"})])
    try:
        admin.create_topics([NewTopic(topic, 2, 1)])
    except kafka.errors.TopicAlreadyExistsError:
        pass
    else:
        raise AssertionError("it was made twice")
    admin.create_partitions({topic: NewPartitions(4)})
    assert len(admin.describe_topics([topic])[0]["partitions"]) == 4
    assert "'100000'" in str(admin.describe_configs([resource]))
    admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, {"retention.ms": "200000"})])
    assert "'200000'" in str(admin.describe_configs([resource]))
    assert len(admin.describe_cluster()["brokers"]) == 1
    group = named("workers")
    assert (group, "consumer") in admin.list_consumer_groups()
    assert admin.describe_consumer_groups([group])[0].state == "Empty"
    assert admin.list_consumer_group_offsets(group)[TopicPartition(named("kept"), 0)].offset == 10
    admin.delete_consumer_groups([group])
    assert (group, "consumer") not in admin.list_consumer_groups()
    admin.delete_topics([topic])
    assert topic not in admin.list_topics()
    admin.close()


def main():
    for step in (
        every_codec,
        every_kind_of_acks,
        nothing_for_a_value,
        a_group_goes_on_where_it_was,
        two_consumers_share_and_one_leaves,
        a_static_member_comes_back,
        transactions,
        places,
        topics_by_a_pattern,
        administration,
    ):
        began = time.monotonic()
        step()
        sys.stdout.write(f"{step.__name__} ({time.monotonic() - began:.1f} s)\n")
        sys.stdout.flush()


main()
