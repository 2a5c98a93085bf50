"""A TCP proxy in front of PostgreSQL that cuts connections at chosen points of the protocol."""

import asyncio
from enum import Enum

_COMMIT = b"COMMIT\x00"


class Cut(Enum):
    """Where the next connection that commits is cut."""

    BEFORE_COMMIT = "the server never sees the COMMIT"
    AFTER_COMMIT = "the server commits, its answer is lost"
    BEFORE_WRITE = "the statement that updates tasks never arrives"


class Proxy:
    """Forwards to a port of loopback. `refusing` turns new connections away."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        self.cuts: list[Cut] = []
        self.cut_count = 0
        self.refusing = False
        self.silent = False
        """Whether client bytes are swallowed, as on a network that drops packets."""

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        self.drop_all()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def drop_all(self) -> None:
        """Cuts everything that is open."""
        for writer in list(self._open):
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refusing:
            writer.transport.abort()
            return
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        self._open |= {writer, up_writer}
        both = (writer, up_writer)
        lost = asyncio.Event()
        for pump in (self._up(reader, up_writer, both, lost), self._down(up_reader, writer, both, lost)):
            task = asyncio.create_task(pump)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _close(self, both: tuple[asyncio.StreamWriter, ...]) -> None:
        for writer in both:
            writer.transport.abort()
            self._open.discard(writer)

    async def _up(
        self,
        reader: asyncio.StreamReader,
        server: asyncio.StreamWriter,
        both: tuple[asyncio.StreamWriter, ...],
        lost: asyncio.Event,
    ) -> None:
        try:
            while data := await reader.read(65536):
                if self.silent:
                    continue
                cut = self.cuts[0] if self.cuts else None
                if cut in (Cut.BEFORE_COMMIT, Cut.AFTER_COMMIT) and _COMMIT in data:
                    self.cuts.pop(0)
                    self.cut_count += 1
                    if cut is Cut.BEFORE_COMMIT:
                        break
                    lost.set()
                elif cut is Cut.BEFORE_WRITE and b"UPDATE task" in data:
                    self.cuts.pop(0)
                    self.cut_count += 1
                    break
                server.write(data)
                await server.drain()
        except OSError:
            pass
        finally:
            self._close(both)

    async def _down(
        self,
        reader: asyncio.StreamReader,
        client: asyncio.StreamWriter,
        both: tuple[asyncio.StreamWriter, ...],
        lost: asyncio.Event,
    ) -> None:
        try:
            while data := await reader.read(65536):
                if lost.is_set():
                    break
                client.write(data)
                await client.drain()
        except OSError:
            pass
        finally:
            self._close(both)
