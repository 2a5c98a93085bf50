"""A few frames of HTTP/2 on a bare socket, to see what a server announces and how it takes pings."""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

SETTINGS, PING, GOAWAY = 4, 6, 7
INITIAL_WINDOW_SIZE, MAX_CONCURRENT_STREAMS = 4, 3


class Connection:
    """One connection whose preface has been sent."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def send(self, kind: int, payload: bytes = b"", flags: int = 0) -> None:
        """Send a frame on stream 0."""
        head = struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + bytes(4)
        self._writer.write(head + payload)

    async def receive(self) -> tuple[int, int, bytes]:
        """The next frame: type, flags, payload."""
        head = await self._reader.readexactly(9)
        length = int.from_bytes(head[:3], "big")
        return head[3], head[4], await self._reader.readexactly(length)

    async def receive_kind(self, *kinds: int) -> tuple[int, int, bytes]:
        """The next frame of one of these types."""
        while True:
            frame = await self.receive()
            if frame[0] in kinds:
                return frame

    async def settings(self) -> dict[int, int]:
        """What the server announces first."""
        _, _, payload = await self.receive_kind(SETTINGS)
        return dict(struct.unpack_from(">HI", payload, start) for start in range(0, len(payload), 6))

    async def ping(self) -> int:
        """Send a ping; the type of what comes back, PING or GOAWAY."""
        self.send(PING, b"01234567")
        return (await self.receive_kind(PING, GOAWAY))[0]


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[Connection]:
    """A connection to a plaintext server on loopback."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    connection = Connection(reader, writer)
    connection.send(SETTINGS)
    try:
        async with asyncio.timeout(60):
            yield connection
    finally:
        writer.close()
