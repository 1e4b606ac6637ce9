import gevent
import pytest

from gstream.commit import Commit
from gstream.errors import StorageError
from gstream.kafka import alter_configs, create_partitions, create_topics, delete_topics
from gstream.kafka.codes import Code
from gstream.kafka.resources import repeated, wait_until_kept
from gstream.topic import Topic
from tests.unit.admin_ground import TOPIC, ask, make_node


@pytest.fixture
def failing(monkeypatch):
    """Nothing that is set for topics can be kept."""

    def keep(self):
        commit = Commit()
        gevent.spawn(commit.finish, StorageError("no room"))
        return commit

    monkeypatch.setattr(Topic, "keep", keep)


def test_what_is_kept_already_is_not_waited_for():
    assert wait_until_kept(None) is None


def test_what_could_not_be_kept_is_an_error(failing):
    error = wait_until_kept(make_node().broker.topic("orders").keep())
    assert (error.code, str(error)) == (Code.KAFKA_STORAGE_ERROR, "no room")


def test_what_is_there_more_than_once():
    assert repeated(["a", "b", "a", "c", "a"]) == {"a"}
    assert repeated([]) == set()


def test_a_reply_says_that_a_topic_was_not_kept(failing):
    wanted = create_topics.API.request.CreatableTopic(
        name="orders", num_partitions=1, replication_factor=1, assignments=[], configs=[]
    )
    (row,) = ask(make_node(), create_topics.API, topics=[wanted]).topics
    assert (row.error_code, row.error_message) == (Code.KAFKA_STORAGE_ERROR, "no room")


def test_a_reply_says_that_partitions_were_not_kept(failing):
    node = make_node()
    node.broker.topic("orders")
    wanted = create_partitions.API.request.CreatePartitionsTopic(name="orders", count=2, assignments=None)
    (row,) = ask(node, create_partitions.API, topics=[wanted]).results
    assert (row.error_code, row.error_message) == (Code.KAFKA_STORAGE_ERROR, "no room")


def test_a_reply_says_that_a_configuration_was_not_kept(failing):
    node = make_node()
    node.broker.topic("orders")
    wanted = alter_configs.API.request.AlterConfigsResource(resource_type=TOPIC, resource_name="orders", configs=[])
    (row,) = ask(node, alter_configs.API, resources=[wanted]).responses
    assert (row.error_code, row.error_message) == (Code.KAFKA_STORAGE_ERROR, "no room")


def test_a_reply_says_that_a_topic_could_not_be_removed(failing):
    node = make_node()
    node.broker.topic("orders")
    wanted = delete_topics.API.request.DeleteTopicState(name="orders")
    (row,) = ask(node, delete_topics.API, topics=[wanted]).responses
    assert (row.error_code, row.error_message) == (Code.KAFKA_STORAGE_ERROR, "no room")
