"""The few protobuf primitives that the span encoder is made of."""

from struct import Struct

_TABLE_SIZE = 4096

pack_u64 = Struct("<Q").pack


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


_TABLE = [_varint(number) for number in range(_TABLE_SIZE)]


def varint(value: int) -> bytes:
    """A non-negative integer below 2**64 as a base-128 varint."""
    if value < _TABLE_SIZE:
        return _TABLE[value]
    return _varint(value)


def delimited(tag: bytes, body: bytes) -> bytes:
    """A length-delimited field: the tag, the length, the bytes."""
    return tag + varint(len(body)) + body


def utf8(text: str, limit: int) -> bytes:
    """Text as UTF-8 of at most `limit` bytes, cut at a character; what cannot be encoded becomes `?`."""
    try:
        raw = text.encode()
    except UnicodeEncodeError:
        raw = text.encode(errors="replace")
    if len(raw) > limit:
        raw = raw[:limit].decode(errors="ignore").encode()
    return raw
