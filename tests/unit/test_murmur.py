from __future__ import annotations

import pytest

from gstream.murmur import murmur2


@pytest.mark.parametrize(
    ("key", "hashed"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_the_vectors_of_kafkas_own_test(key, hashed):
    """``UtilsTest.testMurmur2``; Java's integers have a sign."""
    assert murmur2(key) == hashed & 0xFFFFFFFF


def test_every_length_of_the_rest_and_every_byte_counts():
    keys = [b"", b"\0", b"a", b"ab", b"abc", b"abcd", b"abcde", b"abcd\0", b"\xff" * 7, b"\xff" * 8]
    hashes = [murmur2(key) for key in keys]
    assert len(set(hashes)) == len(keys)
    assert all(0 <= each < 1 << 32 for each in hashes)
