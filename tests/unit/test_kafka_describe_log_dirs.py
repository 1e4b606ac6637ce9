import os

import gevent
import pytest

from gstream.agenda import Agenda
from gstream.kafka import describe_log_dirs
from gstream.kafka.codes import Code
from gstream.storage.disk import Disk
from tests.unit.admin_ground import ask, make_node

Topic = describe_log_dirs.API.request.DescribableLogDirTopic


@pytest.fixture
def node():
    node = make_node(max_memory_bytes=1000)
    node.broker.set_up("orders", 2)
    node.broker.topics["orders"].publish(b"abc\n", 1)
    return node


def describe(node, topics=None, version=None):
    wanted = None if topics is None else [Topic(topic=name, partitions=numbers) for name, numbers in topics.items()]
    (place,) = ask(node, describe_log_dirs.API, version, topics=wanted).results
    assert place.error_code == Code.NONE
    return place


def sizes(place):
    return {
        topic.name: {each.partition_index: each.partition_size for each in topic.partitions} for topic in place.topics
    }


@pytest.mark.parametrize("version", describe_log_dirs.API.versions)
def test_all_that_is_kept(node, version):
    place = describe(node, version=version)
    assert (place.log_dir, sizes(place)) == ("memory", {"orders": {0: 4, 1: 0}})
    if version >= 4:
        assert (place.total_bytes, place.usable_bytes) == (1000, 996)


def test_what_is_asked_for(node):
    assert sizes(describe(node, {"orders": [0, 7, -1], "nothing": [0]})) == {"orders": {0: 4}}
    assert sizes(describe(node, {})) == {}


def test_on_disk(tmp_path):
    disk = Disk(str(tmp_path), 1 << 20, Agenda())
    disk.start()
    try:
        node = make_node(disk)
        topic = node.broker.topic("orders")
        topic.publish(b"abc\n", 1)
        topic.commit.wait()
        place = gevent.spawn(describe, node).get()
        assert place.log_dir == os.path.abspath(tmp_path)
        assert sizes(place)["orders"][0] > 4
        assert 0 < place.usable_bytes <= place.total_bytes
    finally:
        disk.close()


def test_a_partition_is_shown_once(node):
    (topic,) = describe(node, {"orders": [1, 0, 1, 9] * 1000}).topics
    assert [each.partition_index for each in topic.partitions] == [1, 0]
