from __future__ import annotations

import gevent
import pytest

from gstream.errors import DiskError
from gstream.kafka.producer_ids import BLOCK_IDS, FACT, ProducerIds
from gstream.storage.facts import Facts
from tests.unit.transaction_ground import DISK_FULL, FakeKeeper


@pytest.fixture
def keeper():
    return FakeKeeper()


def test_no_id_is_given_twice(keeper, time):
    ids = ProducerIds(Facts(keeper), time.clock)
    given = [ids.take() for _ in range(2 * BLOCK_IDS + 1)]
    assert given == list(range(given[0], given[0] + len(given)))
    assert given[0] > 0
    assert keeper.commits == 3, "one a block"
    other = ProducerIds(Facts(keeper, keeper.kept), time.clock)
    assert other.take() == given[0] + 3 * BLOCK_IDS


def test_an_id_is_given_when_its_block_is_kept(keeper, time):
    keeper.waits = True
    ids = ProducerIds(Facts(keeper), time.clock)
    takers = [gevent.spawn(ids.take) for _ in range(2)]
    gevent.idle()
    assert not any(each.ready() for each in takers)
    keeper.write()
    first, second = [each.get(timeout=1) for each in takers]
    assert second == first + 1
    assert int(keeper.kept[FACT]) == first + BLOCK_IDS
    assert ids.take() == first + 2, "nothing more is to be kept"
    assert keeper.commits == 1


def test_a_block_that_cannot_be_kept_is_tried_again_with_the_next_id(keeper, time):
    keeper.waits = True
    ids = ProducerIds(Facts(keeper), time.clock)
    taker = gevent.spawn(_refused, ids)
    gevent.idle()
    keeper.write(DISK_FULL)
    assert taker.get(timeout=1)
    second = gevent.spawn(ids.take)
    gevent.idle()
    assert not second.ready()
    keeper.write()
    assert int(keeper.kept[FACT]) > second.get(timeout=1)


def _refused(ids):
    with pytest.raises(DiskError):
        ids.take()
    return True


def test_in_memory_it_is_given_at_once_and_another_server_gives_others(time):
    first = ProducerIds(Facts(), time.clock).take()
    time.now += 1
    assert ProducerIds(Facts(), time.clock).take() == first + BLOCK_IDS, "producers of the first one may still come"
