"""Fetch: what it gives of several partitions, and when: at once, when there is enough, or when its time is over."""

from __future__ import annotations

import gevent
import pytest
from kafka.protocol.consumer import FetchRequest, FetchResponse

from gstream.kafka import fetch as module
from gstream.kafka.codes import Code
from gstream.kafka.fetch import API, MAX_REPLY_BYTES, MOST_FETCHED_BYTES
from tests.unit.kafka_logs import FakeTopic, context, id_of, make_node

LONG_MS = 60_000
PLENTY = 1 << 20


def asked(*topics, wait_ms=0, min_bytes=1, max_bytes=PLENTY, isolation=0, session=0, version=12):
    """A request as it comes: of each topic, its name, and partition, offset and perhaps limit of each partition."""
    made = FetchRequest(
        replica_id=-1,
        max_wait_ms=wait_ms,
        min_bytes=min_bytes,
        max_bytes=max_bytes,
        isolation_level=isolation,
        session_id=session,
        session_epoch=-1,
        topics=[
            FetchRequest.FetchTopic(
                topic=name,
                topic_id=id_of(name),
                partitions=[
                    FetchRequest.FetchTopic.FetchPartition(
                        partition=index, fetch_offset=offset, partition_max_bytes=(*limit, PLENTY)[0]
                    )
                    for index, offset, *limit in partitions
                ],
            )
            for name, *partitions in topics
        ],
    )
    return FetchRequest.decode(made.encode(version=version), version=version)


def fetch(node, request, version=12, **of_client):
    """The reply, as the library reads it."""
    body = API.handle(node, request, context(version, **of_client))
    return FetchResponse.decode(b"".join(body), version=version)


def rows(response):
    return [
        (topic.topic or topic.topic_id, each.partition_index, each.error_code, bytes(each.records or b""))
        for topic in response.responses
        for each in topic.partitions
    ]


def filled(name="jobs", partitions=1, batches=1):
    topic = FakeTopic(name, partitions)
    for log in topic.partitions:
        for number in range(batches):
            log.add(1, b"%d" % number)
    return topic


@pytest.mark.parametrize("version", API.versions)
def test_each_version(version):
    topic = filled(batches=3)
    log = topic.partitions[0]
    log.oldest_offset = 1
    response = fetch(make_node(topic), asked(("jobs", (0, 1)), version=version), version)
    assert rows(response) == [(id_of("jobs") if version >= 13 else "jobs", 0, 0, b"".join(log.batches[1:]))]
    (each,) = response.responses[0].partitions
    assert (each.high_watermark, each.last_stable_offset) == (3, 3)
    assert topic.is_log, "what Kafka's clients use keeps what was read"


def test_several_partitions_in_the_order_of_the_request():
    jobs, mails = filled("jobs", 3), filled("mails")
    node = make_node(jobs, mails)
    found = rows(fetch(node, asked(("mails", (0, 0)), ("jobs", (2, 0), (0, 1), (1, 0)))))
    assert found == [
        ("mails", 0, 0, mails.partitions[0].batches[0]),
        ("jobs", 2, 0, jobs.partitions[2].batches[0]),
        ("jobs", 0, 0, b""),
        ("jobs", 1, 0, jobs.partitions[1].batches[0]),
    ]


def test_the_reply_as_a_whole_has_a_limit():
    topic = filled(partitions=3, batches=4)
    size = len(topic.partitions[0].batches[0])
    found = rows(fetch(make_node(topic), asked(("jobs", (0, 0), (1, 0), (2, 0)), max_bytes=6 * size)))
    assert [len(records) // size for *_, records in found] == [4, 2, 0]


def test_the_first_that_has_something_may_exceed_it():
    topic = filled(partitions=3)
    found = rows(fetch(make_node(topic), asked(("jobs", (0, 1), (1, 0), (2, 0)), max_bytes=1)))
    assert [bool(records) for *_, records in found] == [False, True, False]


def test_no_reply_is_larger_than_the_server_will_have_it():
    topic = FakeTopic()
    log = topic.partitions[0]
    for _ in range(3):
        log.add(1, b"x" * (MAX_REPLY_BYTES // 2 - 1000))
    response = fetch(make_node(topic), asked(("jobs", (0, 0, 1 << 30)), max_bytes=1 << 30))
    assert len(rows(response)[0][3]) == sum(map(len, log.batches[:2]))


def test_only_what_is_decided():
    topic = filled(batches=3)
    log = topic.partitions[0]
    log.undecided, log.aborts = 2, [(4000, 1)]
    response = fetch(make_node(topic), asked(("jobs", (0, 0)), isolation=1))
    assert rows(response)[0][3] == b"".join(log.batches[:2])
    (each,) = response.responses[0].partitions
    assert [(one.producer_id, one.first_offset) for one in each.aborted_transactions] == [(4000, 1)]
    assert fetch(make_node(topic), asked(("jobs", (0, 0)))).responses[0].partitions[0].aborted_transactions is None


def test_a_session_is_not_there():
    response = fetch(make_node(filled()), asked(("jobs", (0, 0)), session=5))
    assert (response.error_code, response.session_id) == (Code.FETCH_SESSION_ID_NOT_FOUND, 0)
    assert response.responses == []


def test_a_topic_that_there_is_not_is_not_made():
    node = make_node()
    assert rows(fetch(node, asked(("jobs", (0, 0)), wait_ms=LONG_MS))) == [
        ("jobs", 0, Code.UNKNOWN_TOPIC_OR_PARTITION, b"")
    ]
    assert not node.broker.topics


# --- topics by their ids


def test_an_id_that_no_topic_has():
    node = make_node(filled())
    assert rows(fetch(node, asked(("mails", (0, 0)), ("jobs", (7, 0)), wait_ms=LONG_MS, version=13), 13)) == [
        (id_of("mails"), 0, Code.UNKNOWN_TOPIC_ID, b""),
        (id_of("jobs"), 7, Code.UNKNOWN_TOPIC_OR_PARTITION, b""),
    ]


def test_no_id_at_all():
    request = asked(("jobs", (0, 0)), version=13)
    request.topics[0].topic_id = None
    (topic,) = fetch(make_node(filled()), request, 13).responses
    assert (topic.topic_id, topic.partitions[0].error_code) == (None, Code.UNKNOWN_TOPIC_ID)


@pytest.mark.parametrize("version", range(15, 18))
def test_what_only_brokers_say_is_passed_over(version):
    place = FetchRequest.FetchTopic.FetchPartition(
        partition=0, fetch_offset=0, partition_max_bytes=PLENTY, replica_directory_id=id_of("directory")
    )
    request = FetchRequest(
        cluster_id="another one",
        replica_state=FetchRequest.ReplicaState(replica_id=7, replica_epoch=5),
        max_bytes=PLENTY,
        topics=[FetchRequest.FetchTopic(topic_id=id_of("jobs"), partitions=[place])],
    )
    sent = FetchRequest.decode(request.encode(version=version), version=version)
    assert (sent.cluster_id, sent.replica_state.replica_id) == ("another one", 7)
    topic = filled()
    assert rows(fetch(make_node(topic), sent, version)) == [(id_of("jobs"), 0, 0, topic.partitions[0].batches[0])]


# --- waiting


class Waiting:
    """A fetch in a greenlet of its own, which is where a connection has it."""

    def __init__(self, node, request, **of_client):
        self.greenlet = gevent.spawn(fetch, node, request, **of_client)
        settle()

    @property
    def is_waiting(self):
        settle()
        return not self.greenlet.ready()

    @property
    def rows(self):
        assert not self.is_waiting
        return rows(self.greenlet.get())


def settle():
    for _ in range(5):
        gevent.sleep(0)


def test_it_waits_for_the_first_record():
    topic = filled()
    waiting = Waiting(make_node(topic), asked(("jobs", (0, 1)), wait_ms=LONG_MS))
    assert waiting.is_waiting
    assert len(topic.watchers) == 1
    batch = topic.partitions[0].add()
    assert waiting.is_waiting, "it was not told"
    topic.tell()
    assert waiting.rows == [("jobs", 0, 0, batch)]
    assert not topic.watchers
    assert not waiting.greenlet.get().error_code


def test_what_happens_elsewhere_does_not_wake_it():
    topic = filled(partitions=2)
    waiting = Waiting(make_node(topic), asked(("jobs", (0, 1)), wait_ms=LONG_MS))
    topic.partitions[1].add()
    topic.tell()
    assert waiting.is_waiting
    assert not topic.partitions[0].asked
    topic.partitions[0].add()
    topic.tell()
    assert not waiting.is_waiting


def test_what_came_while_it_read_is_not_missed():
    topic = filled()
    log = topic.partitions[0]
    plain = log.read_records

    def read_records(offset, max_bytes, end=None):
        found = plain(offset, max_bytes, end)
        if len(log.asked) == 1:
            log.add(1, b"late")  # nobody watches yet, so nobody is told
        return found

    log.read_records = read_records
    first = len(log.batches[0])
    waiting = Waiting(make_node(topic), asked(("jobs", (0, 0)), wait_ms=LONG_MS, min_bytes=first + 1))
    assert waiting.rows == [("jobs", 0, 0, b"".join(log.batches))]
    assert len(log.batches) == 2


def test_it_waits_for_as_much_as_is_asked_for():
    topic = filled(partitions=2)
    log = topic.partitions[0]
    size = len(log.batches[0])
    waiting = Waiting(make_node(topic), asked(("jobs", (0, 0), (1, 1)), wait_ms=LONG_MS, min_bytes=3 * size))
    assert waiting.is_waiting
    log.add(1, b"1")
    topic.tell()
    assert waiting.is_waiting
    topic.partitions[1].add(1, b"1")
    topic.tell()
    assert waiting.rows == [("jobs", 0, 0, b"".join(log.batches)), ("jobs", 1, 0, topic.partitions[1].batches[1])]
    assert log.asked == [(0, PLENTY, 1), (1, PLENTY - size, 2)], "nothing is read twice"


def test_more_than_fits_is_not_waited_for():
    topic = filled(batches=3)
    size = len(topic.partitions[0].batches[0])
    waiting = Waiting(make_node(topic), asked(("jobs", (0, 0)), wait_ms=LONG_MS, min_bytes=PLENTY, max_bytes=2 * size))
    assert len(waiting.rows[0][3]) == 2 * size


@pytest.mark.parametrize("options", [{"min_bytes": 0}, {"wait_ms": 0}, {"wait_ms": -1}, {"min_bytes": -1}])
def test_nothing_is_waited_for(options):
    topic = filled()
    waiting = Waiting(make_node(topic), asked(("jobs", (0, 1)), **{"wait_ms": LONG_MS, **options}))
    assert waiting.rows == [("jobs", 0, 0, b"")]


def test_who_asks_for_nothing_does_not_wait():
    assert Waiting(make_node(), asked(wait_ms=LONG_MS)).rows == []


def test_its_time_is_over():
    topic = filled(batches=2)
    waiting = Waiting(make_node(topic), asked(("jobs", (0, 1)), wait_ms=20, min_bytes=PLENTY))
    waiting.greenlet.join()
    assert waiting.rows == [("jobs", 0, 0, topic.partitions[0].batches[1])], "what there is"
    assert not topic.watchers


def test_an_error_is_told_at_once():
    topic = filled(partitions=2)
    waiting = Waiting(make_node(topic), asked(("jobs", (0, 1), (1, 77)), wait_ms=LONG_MS))
    assert waiting.rows == [("jobs", 0, 0, b""), ("jobs", 1, Code.OFFSET_OUT_OF_RANGE, b"")]


def test_a_topic_that_is_removed_wakes_it():
    topic, other = filled(), filled("mails")
    waiting = Waiting(make_node(topic, other), asked(("jobs", (0, 1)), ("mails", (0, 1)), wait_ms=LONG_MS))
    assert waiting.is_waiting
    topic.removed = True
    topic.tell()
    assert waiting.rows == [("jobs", 0, Code.UNKNOWN_TOPIC_OR_PARTITION, b""), ("mails", 0, 0, b"")]
    assert not topic.watchers
    assert not other.watchers


def test_an_id_of_a_topic_that_is_removed():
    topic = filled()
    waiting = Waiting(make_node(topic), asked(("jobs", (0, 1)), wait_ms=LONG_MS, version=13), version=13)
    assert waiting.is_waiting
    topic.removed = True
    topic.tell()
    assert waiting.rows == [(id_of("jobs"), 0, Code.UNKNOWN_TOPIC_ID, b"")]


def test_a_server_that_stops_answers():
    node = make_node(filled())
    waiting = Waiting(node, asked(("jobs", (0, 1)), wait_ms=LONG_MS))
    assert waiting.is_waiting
    node.stopping.set()
    assert waiting.rows == [("jobs", 0, 0, b"")]


def test_a_server_that_has_stopped_does_not_wait():
    node = make_node(filled())
    node.stopping.set()
    assert Waiting(node, asked(("jobs", (0, 1)), wait_ms=LONG_MS)).rows == [("jobs", 0, 0, b"")]


def test_a_client_that_is_gone_is_not_waited_with(monkeypatch):
    monkeypatch.setattr(module, "GONE_SECONDS", 0.01)
    topic = filled()
    request = asked(("jobs", (0, 1)), wait_ms=LONG_MS)
    greenlet = gevent.spawn(API.handle, make_node(topic), request, context(12, is_gone=True))
    greenlet.join()
    assert greenlet.get() is None
    assert not topic.watchers


def test_many_wait_for_one_topic_and_all_are_answered():
    topic = filled()
    node = make_node(topic)
    waiting = [Waiting(node, asked(("jobs", (0, 1)), wait_ms=LONG_MS)) for _ in range(50)]
    assert len(topic.watchers) == 50
    batch = topic.partitions[0].add()
    topic.tell()
    assert all(each.rows == [("jobs", 0, 0, batch)] for each in waiting)


def test_what_is_read_counts_until_it_is_on_its_way():
    topic = filled(batches=2)
    node = make_node(topic)
    size = len(topic.partitions[0].batches[0])
    waiting = Waiting(node, asked(("jobs", (0, 1)), wait_ms=LONG_MS, min_bytes=PLENTY))
    assert waiting.is_waiting
    assert node.fetched_bytes == size
    node.stopping.set()
    assert len(waiting.rows[0][3]) == size
    assert node.fetched_bytes == 0


def test_when_too_much_is_read_each_gets_one_batch_and_does_not_wait():
    topic = filled(partitions=2, batches=2)
    node = make_node(topic)
    node.fetched_bytes = MOST_FETCHED_BYTES + 1
    waiting = Waiting(node, asked(("jobs", (0, 0), (1, 0)), wait_ms=LONG_MS, min_bytes=PLENTY))
    assert waiting.rows == [("jobs", 0, 0, topic.partitions[0].batches[0]), ("jobs", 1, 0, b"")]
    assert node.fetched_bytes == MOST_FETCHED_BYTES + 1


def test_who_has_nothing_waits_whatever_others_have():
    topic = filled()
    node = make_node(topic)
    node.fetched_bytes = MOST_FETCHED_BYTES + 1
    waiting = Waiting(node, asked(("jobs", (0, 1)), wait_ms=LONG_MS))
    assert waiting.is_waiting
    batch = topic.partitions[0].add()
    topic.tell()
    assert waiting.rows == [("jobs", 0, 0, batch)]


def test_what_is_being_read_counts_for_those_who_come_meanwhile():
    topic = filled(batches=2)
    node = make_node(topic)
    log = topic.partitions[0]
    claimed = []
    plain = log.read_records

    def read_records(offset, max_bytes, end=None):
        claimed.append(node.fetched_bytes)
        return plain(offset, max_bytes, end)

    log.read_records = read_records
    assert Waiting(node, asked(("jobs", (0, 0, 4711)))).rows[0][2] == 0
    assert claimed == [4711]
    assert node.fetched_bytes == 0
