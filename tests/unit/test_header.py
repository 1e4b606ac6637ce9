"""The header of a record batch: its fields, and where they lie."""

from __future__ import annotations

import struct

import pytest

from gstream.header import BEFORE, CHECKED, CHECKED_FROM, HEADER_BYTES, MIN_LENGTH, Header, placed, unpack_header

FIELDS = (7, 1000, 3, 2, 0xFEDCBA98, 0x14, 4, 2000, 2500, 9, 1, 40, 3)


def header_bytes(fields=FIELDS):
    """Written field by field, as Kafka's documentation lists them."""
    forms = ("q", "i", "i", "b", "I", "h", "i", "q", "q", "q", "h", "i", "i")
    return b"".join(struct.pack(f">{form}", value) for form, value in zip(forms, fields, strict=True))


def test_each_field_is_found():
    assert unpack_header(header_bytes()) == Header(*FIELDS)


def test_it_is_found_where_it_begins():
    assert unpack_header(b"before" + header_bytes() + b"behind", 6) == Header(*FIELDS)


@pytest.mark.parametrize("size", range(HEADER_BYTES))
def test_too_few_bytes_are_none(size):
    assert unpack_header(header_bytes()[:size]) is None
    assert unpack_header(b"before" + header_bytes()[:size], 6) is None


def test_its_parts_make_up_all_of_it():
    before, checked = BEFORE.unpack(header_bytes()[:CHECKED_FROM]), CHECKED.unpack(header_bytes()[CHECKED_FROM:])
    assert before + checked == FIELDS
    assert (CHECKED_FROM, HEADER_BYTES) == (21, 61)


def test_what_follows_from_its_fields():
    header = Header(*FIELDS)
    assert header.size == 1012, "its length counts from the 12th byte on"
    assert header.next_offset == 12, "behind the last one, however many there are"
    assert header._replace(length=MIN_LENGTH).size == HEADER_BYTES


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_a_place_is_all_that_changes(kind):
    batch = header_bytes() + b"its records"
    new, rest = placed(kind(batch), 1 << 40)
    assert new + bytes(rest) == header_bytes((1 << 40, FIELDS[1], 0, *FIELDS[3:])) + b"its records"
    assert len(new) == 16, "the rest is covered by the checksum, but for the magic and the checksum itself"


def test_what_does_not_change_is_not_copied():
    batch = bytearray(header_bytes() + b"its records")
    _, rest = placed(batch, 0)
    batch[-7:] = b"changed"
    assert bytes(rest[-7:]) == b"changed"
