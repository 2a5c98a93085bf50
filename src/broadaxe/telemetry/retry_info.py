"""Reads the pause a server asks for out of `grpc-status-details-bin`.

The trailer holds a google.rpc.Status whose details may hold a google.rpc.RetryInfo. It comes from outside:
anything that is not exactly that reads as "it does not say".
"""

from collections.abc import Iterator

_RETRY_INFO = b"type.googleapis.com/google.rpc.RetryInfo"
_LONGEST = 3600.0


def _varint_at(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at += 1
        if byte < 128:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("varint too long")


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Field numbers with their values; fixed-width fields raise, since none of these messages has one."""
    at = 0
    while at < len(data):
        tag, at = _varint_at(data, at)
        value: int | bytes
        if tag & 7 == 0:
            value, at = _varint_at(data, at)
        elif tag & 7 == 2:
            size, at = _varint_at(data, at)
            if at + size > len(data):
                raise ValueError("field runs past the end")
            value, at = data[at : at + size], at + size
        else:
            raise ValueError("unexpected wire type")
        yield tag >> 3, value


def _nested(data: bytes, number: int) -> Iterator[bytes]:
    return (value for field, value in _fields(data) if field == number and isinstance(value, bytes))


def retry_info(status: bytes) -> float | None:
    """Seconds to wait, between 0 and an hour; None when the status does not say."""
    try:
        for detail in _nested(status, 3):
            if next(_nested(detail, 1), b"") != _RETRY_INFO:
                continue
            for delay in _nested(next(_nested(detail, 2), b""), 1):
                parts = {field: value for field, value in _fields(delay) if isinstance(value, int)}
                return min(parts.get(1, 0) + parts.get(2, 0) / 1e9, _LONGEST)
            return 0.0
    except (ValueError, IndexError):
        return None
    return None
