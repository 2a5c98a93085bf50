"""The header blocks that the server sends. They refer to no table, so they are bytes made once."""

import base64

from broadaxe.grpc_api.call import Code, Metadata
from broadaxe.grpc_api.lean.frames import CONTINUATION, END_HEADERS, END_STREAM, HEADERS, frame
from broadaxe.grpc_api.lean.head import ACCEPTED
from broadaxe.grpc_api.lean.hpack import literal

# Indices of HPACK's static table: `:status: 200` whole, the names of `:status` and `content-type`.
_STATUS_200 = b"\x88"
_CONTENT_TYPE = b"\x0f\x10" + bytes((16,)) + b"application/grpc"
_STATUS_NAME = b"\x08"

_RESPONSE = _STATUS_200 + _CONTENT_TYPE
_GZIP_RESPONSE = _RESPONSE + literal(b"grpc-encoding", b"gzip")
_STATUS_OK = literal(b"grpc-status", b"0")
_ACCEPT = literal(b"grpc-accept-encoding", ACCEPTED.encode())
_NO_TABLE = b"\x20"
"""HPACK's word for a dynamic table of size 0."""
_LONGEST_MESSAGE = 4096


def _start(block: bytes, flags: int) -> bytes:
    return len(block).to_bytes(3, "big") + bytes((HEADERS, flags))


RESPONSE_START, RESPONSE_BLOCK = _start(_RESPONSE, END_HEADERS), _RESPONSE
"""A HEADERS frame up to the stream's number, and what follows it."""
GZIP_RESPONSE_START, GZIP_RESPONSE_BLOCK = _start(_GZIP_RESPONSE, END_HEADERS), _GZIP_RESPONSE
OK_START, OK_BLOCK = _start(_STATUS_OK, END_HEADERS | END_STREAM), _STATUS_OK


def after_update(frames: bytes) -> bytes:
    """The frames of a header block that first says that the dynamic table is empty from now on."""
    flags, stream = frames[4], int.from_bytes(frames[5:9], "big")
    rest = frames[:3] + bytes((CONTINUATION, flags & END_HEADERS)) + frames[5:]
    return frame(HEADERS, flags & END_STREAM, stream, _NO_TABLE) + rest


def http_block(status: int) -> bytes:
    """A response that is not gRPC's."""
    return _STATUS_NAME + bytes((3,)) + str(status).encode()


def metadata_block(metadata: Metadata) -> bytes:
    """What a handler sends of its own. What it adds in length is less than HTTP/2 counts a field."""
    return b"".join(
        literal(
            key.encode(), base64.b64encode(value).rstrip(b"=") if isinstance(value, bytes) else value.encode()
        )
        for key, value in metadata
    )


def status_block(
    code: Code,
    message: str,
    details: bytes | None,
    limit: int | None,
    *,
    alone: bool,
    metadata: Metadata = (),
) -> bytes:
    """Trailers with a status; `alone` when no response headers went before.

    `limit` is the largest header list that the client takes. What does not fit is left out: the details
    first, then the handler's metadata, then the message.
    """
    text = percent_encoded(message[:_LONGEST_MESSAGE])
    block = _RESPONSE if alone else b""
    block += literal(b"grpc-status", str(int(code)).encode())
    room = 1 << 30 if limit is None else limit - len(block) - 128
    if code is Code.UNIMPLEMENTED:
        block += _ACCEPT
        room -= len(_ACCEPT) + 32
    if text and len(text) <= room:
        block += literal(b"grpc-message", text)
        room -= len(text) + 44
    if metadata:
        own = metadata_block(metadata)
        size = len(own) + 32 * len(metadata)
        if size <= room:
            block += own
            room -= size
    if details is not None:
        coded = base64.b64encode(details).rstrip(b"=")
        if len(coded) + 55 <= room:
            block += literal(b"grpc-status-details-bin", coded)
    return block


def percent_encoded(text: str) -> bytes:
    """UTF-8 in which everything but printable ASCII, and the percent sign, is %XX."""
    if text.isascii() and text.isprintable() and "%" not in text:
        return text.encode()
    return b"".join(
        bytes((byte,)) if 0x20 <= byte <= 0x7E and byte != 0x25 else b"%%%02X" % byte
        for byte in text.encode("utf-8", "replace")
    )
