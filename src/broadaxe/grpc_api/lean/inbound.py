"""From the bytes of a request's DATA frames to messages, with limits on every size."""

import zlib

from broadaxe.grpc_api.call import Code, RpcError

PREFIX = 5
_TOO_LARGE = "a message is larger than {} bytes"


class Messages:
    """Takes bytes, gives whole messages. One for a stream whose message did not come in one piece."""

    __slots__ = ("_buffer", "_limit")

    def __init__(self, limit: int) -> None:
        self._buffer = bytearray()
        self._limit = limit

    def __len__(self) -> int:
        """Bytes that wait for the rest of their message."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[tuple[bool, bytes]]:
        """What these bytes complete, and whether it is compressed; raises `RpcError`."""
        buffer = self._buffer
        buffer += data
        messages = []
        start, end = 0, len(buffer)
        while end - start >= PREFIX:
            flag = buffer[start]
            if flag > 1:
                raise RpcError(Code.INTERNAL, "an unknown flag before a message")
            size = int.from_bytes(buffer[start + 1 : start + PREFIX], "big")
            if size > self._limit:
                raise RpcError(Code.RESOURCE_EXHAUSTED, _TOO_LARGE.format(self._limit))
            stop = start + PREFIX + size
            if stop > end:
                break
            messages.append((flag == 1, bytes(buffer[start + PREFIX : stop])))
            start = stop
        del buffer[:start]
        return messages


def inflated(data: bytes, encoding: int, limit: int) -> bytes:
    """A compressed message; raises `RpcError`. Never more than `limit` bytes are made."""
    if not encoding:
        raise RpcError(Code.INTERNAL, "a compressed message without grpc-encoding")
    inflater = zlib.decompressobj(encoding)
    try:
        message = inflater.decompress(data, limit + 1)
        if len(message) > limit:
            raise RpcError(Code.RESOURCE_EXHAUSTED, _TOO_LARGE.format(limit))
        if not inflater.eof:
            raise RpcError(Code.INTERNAL, "a compressed message is cut short")
    except zlib.error:
        raise RpcError(Code.INTERNAL, "a compressed message cannot be read") from None
    return message


def prefixed(message: bytes) -> bytes:
    """A message as it goes into DATA frames."""
    return b"\x00" + len(message).to_bytes(4, "big") + message


def gzipped(message: bytes) -> bytes:
    """The same compressed."""
    deflater = zlib.compressobj(1, zlib.DEFLATED, 31)
    small = deflater.compress(message) + deflater.flush()
    return b"\x01" + len(small).to_bytes(4, "big") + small
