import time, sys
import pytest
from gstream.record import Record
from gstream.records import encode_batch
from gstream.header import unpack_header
from gstream.storage.producers import ProducerStates
from tests.unit.records_ground import *
from tests.unit.disk_ground import PLENTY, until
import gevent

TX = dict(producer_id=7, producer_epoch=0, base_sequence=0, is_transactional=True)

def test_peek_drift():
    g = RecordsInMemory()
    g.append(batch_of(b"a", b"b"))
    g.publish(b"c", b"d")
    group = g.topic.group("g")
    b = g.take("g", 2)
    assert b.bodies() == [b"a", b"b"]
    used, low = g.disk.used_bytes, g.log.low_place
    seen = g.topic.peek("other", 10)
    assert [x.bodies() for x in seen] == [[b"a", b"b"], [b"c", b"d"]]
    assert (g.disk.used_bytes, g.log.low_place) == (used, low)

def test_aborted_hub_leak(tmp_path):
    g = RecordsOnDisk(tmp_path, segment_bytes=200, limit_bytes=1)
    try:
        g.topic.make_log()
        for n in range(20):
            g.append(batch_of(b"a"*50, **{**TX, "base_sequence": n}))
            g.append(marker(7, 0, commits=False))
        g.look()
        assert g.log.oldest_offset > 10
        old = [e for e in g.log.producers._aborted if e[2] < g.log.oldest_offset]
        assert not old
    finally:
        g.disk.close()

def test_big_open():
    g = RecordsInMemory(max_bytes=1<<30)
    recs = [Record(n, 1000+n, None, b"x") for n in range(200_000)]
    data = encode_batch(recs, compression=4)
    g.append(data)
    g.topic.group("g")
    t = time.perf_counter()
    b = g.take("g", 100)
    print("took", time.perf_counter() - t, len(data))
    t = time.perf_counter()
    b = g.take("g", 1<<20, 64<<10)
    print("took", time.perf_counter() - t, b.count)

def test_missing_library(monkeypatch):
    g = RecordsInMemory()
    g.append(batch_of(b"a", compression=2))
    monkeypatch.setitem(sys.modules, "cramjam", None)
    g.topic.group("g")
    print(g.take("g", 100))

def test_million():
    states = ProducerStates()
    h = unpack_header(batch_of(b"a", producer_id=1, producer_epoch=0, base_sequence=0))
    import tracemalloc; tracemalloc.start()
    for n in range(50_000):
        x = h._replace(producer_id=n)
        states.check(x); states.place(x, n); states.note(x, n, None, 1000+n)
    print(len(states), tracemalloc.get_traced_memory())
    t=time.perf_counter(); states.encode(); print(time.perf_counter()-t)

def test_aborted_slow():
    states = ProducerStates()
    h = unpack_header(batch_of(b"a", **TX))
    m = unpack_header(marker(7,0,commits=False))
    for n in range(100_000):
        states.note(h, 2*n, None, 1); states.note(m, 2*n+1, False, 1)
    t=time.perf_counter(); states.aborted(0, 10); print(time.perf_counter()-t)
