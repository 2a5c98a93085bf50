"""A proxy between a client and a server that loses, holds and cuts connections when a test says so."""

import asyncio
import contextlib
import enum
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from broadaxe.testkit.ports import free_port

Address = tuple[str, int] | Path
"""Host and port, or a unix socket."""

COMMIT = b"COMMIT"
"""What a client of PostgreSQL sends to commit, in a simple query or a Parse message."""

_CHUNK = 1 << 16
_Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Way(enum.Enum):
    """The direction of bytes."""

    TO_SERVER = "to server"
    TO_CLIENT = "to client"


class Fault(enum.Enum):
    """What happens when a rule applies."""

    CUT_BEFORE = "cut before"
    """The connection is cut; what matched is not forwarded."""
    CUT_AFTER = "cut after"
    """What matched is forwarded, then the connection is cut at once: whether it was obeyed is open."""
    LOSE_ANSWER = "lose answer"
    """What matched is forwarded, the first bytes of the answer are awaited and thrown away, then the
    connection is cut: it was obeyed, and the client cannot know. Only for `Way.TO_SERVER`."""
    STALL = "stall"
    """This direction of the connection is held from what matched on, until `resume`."""


@dataclass(slots=True)
class Rule:
    """Applies once to the first matching bytes of any connection; `fired` says that its fault happened."""

    fault: Fault
    way: Way
    pattern: bytes | None
    after_bytes: int | None
    skip: int
    fired: asyncio.Event = field(default_factory=asyncio.Event)
    spent: bool = False

    async def wait(self, timeout: float = 30.0) -> None:
        """Until the fault happened; TimeoutError when it does not."""
        async with asyncio.timeout(timeout):
            await self.fired.wait()


class _Cut(Exception):
    """Ends both directions of a connection."""


@dataclass(slots=True)
class _Direction:
    way: Way
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    tail: bytes = b""
    passed: int = 0


class _Connection:
    def __init__(self, proxy: "FaultProxy", client: _Pair, server: _Pair) -> None:
        self._proxy = proxy
        self._writers = (client[1], server[1])
        self._directions = (
            _Direction(Way.TO_SERVER, client[0], server[1]),
            _Direction(Way.TO_CLIENT, server[0], client[1]),
        )
        self._losing: Rule | None = None
        self._cut = asyncio.Event()

    async def run(self) -> None:
        """Forward both ways until either side ends or a fault cuts."""
        pumps = [asyncio.create_task(self._pump(direction)) for direction in self._directions]
        cut = asyncio.create_task(self._cut.wait())
        try:
            await asyncio.wait([*pumps, cut], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (*pumps, cut):
                task.cancel()
            await asyncio.gather(*pumps, cut, return_exceptions=True)
            for writer in self._writers:
                writer.transport.abort()

    def cut(self) -> None:
        """Reset both sides."""
        self._cut.set()

    async def _pump(self, direction: _Direction) -> None:
        with contextlib.suppress(OSError, _Cut):
            while data := await direction.reader.read(_CHUNK):
                await self._proxy.gate(direction.way)
                if direction.way is Way.TO_CLIENT and self._losing is not None:
                    self._losing.fired.set()
                    raise _Cut
                await self._pass(direction, data)

    async def _pass(self, direction: _Direction, data: bytes) -> None:
        found = self._proxy.match(direction, data)
        if found is None:
            await self._forward(direction, data)
            return
        rule, start = found
        match rule.fault:
            case Fault.CUT_BEFORE:
                await self._forward(direction, data[:start])
            case Fault.CUT_AFTER:
                await self._forward(direction, data)
            case Fault.LOSE_ANSWER:
                self._losing = rule
                await self._forward(direction, data)
                return
            case Fault.STALL:
                await self._forward(direction, data[:start])
                self._proxy.stall(direction.way)
                rule.fired.set()
                await self._proxy.gate(direction.way)
                await self._forward(direction, data[start:])
                return
        rule.fired.set()
        raise _Cut

    async def _forward(self, direction: _Direction, data: bytes) -> None:
        direction.passed += len(data)
        direction.writer.write(data)
        await direction.writer.drain()


class FaultProxy:
    """Listens on loopback (or a unix socket) and forwards to `upstream`."""

    def __init__(self, upstream: Address, listen: Address = ("127.0.0.1", 0)) -> None:
        self._upstream = upstream
        self._listen = listen
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._rules: list[Rule] = []
        self._open = {way: asyncio.Event() for way in Way}
        self._changed = asyncio.Condition()
        self.accepted = 0
        """Connections taken so far."""
        for gate in self._open.values():
            gate.set()

    async def __aenter__(self) -> "FaultProxy":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def address(self) -> Address:
        """Where clients connect to."""
        return self._listen

    @property
    def port(self) -> int:
        """The TCP port; 0 for a unix socket."""
        return 0 if isinstance(self._listen, Path) else self._listen[1]

    @property
    def connected(self) -> int:
        """Connections open now."""
        return len(self._connections)

    async def start(self) -> Address:
        """Listen; the address, which stays the same after `stop` and another `start`."""
        if isinstance(self._listen, Path):
            self._server = await asyncio.start_unix_server(self._accept, str(self._listen))
            return self._listen
        # One that the system picks could be an outgoing connection's, or another listener's, between `stop`
        # and the next `start`.
        host, port = self._listen
        self._listen = (host, port or free_port())
        self._server = await asyncio.start_server(self._accept, *self._listen)
        return self._listen

    async def stop(self) -> None:
        """Refuse connections and cut those that are open."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        self.cut()
        self.resume()
        for task in list(self._tasks):
            with contextlib.suppress(asyncio.CancelledError, OSError):
                await task

    def cut(self) -> int:
        """Reset every open connection; how many there were."""
        for connection in self._connections:
            connection.cut()
        return len(self._connections)

    def stall(self, *ways: Way) -> None:
        """Hold what arrives in these directions (both when none is named)."""
        for way in ways or tuple(Way):
            self._open[way].clear()

    def resume(self, *ways: Way) -> None:
        """Let it go on."""
        for way in ways or tuple(Way):
            self._open[way].set()

    def on_pattern(self, pattern: bytes, fault: Fault, way: Way = Way.TO_SERVER, *, skip: int = 0) -> Rule:
        """Add a rule for the first bytes like this, after `skip` others like them went through."""
        return self._add(Rule(fault, way, pattern, None, skip))

    def after_bytes(self, count: int, fault: Fault, way: Way = Way.TO_SERVER) -> Rule:
        """Add a rule for the moment when a connection passed this many bytes in this direction."""
        return self._add(Rule(fault, way, None, count, 0))

    async def wait_connected(self, wanted: Callable[[int], bool], timeout: float = 30.0) -> None:
        """Until the number of open connections fulfils this; TimeoutError when it does not."""
        async with asyncio.timeout(timeout), self._changed:
            await self._changed.wait_for(lambda: wanted(len(self._connections)))

    def match(self, direction: _Direction, data: bytes) -> tuple[Rule, int] | None:
        """For connections: the rule these bytes meet, and where in them."""
        kept = direction.tail
        longest = max((len(rule.pattern or b"") for rule in self._rules), default=0)
        direction.tail = (kept + data)[-(longest - 1) :] if longest > 1 else b""
        for rule in self._rules:
            if rule.spent or rule.way is not direction.way:
                continue
            at = self._found_at(rule, direction, kept, data)
            if at is not None:
                rule.spent = True
                direction.tail = b""
                return rule, at
        return None

    async def gate(self, way: Way) -> None:
        """For connections: wait while this direction is held."""
        await self._open[way].wait()

    def _found_at(self, rule: Rule, direction: _Direction, kept: bytes, data: bytes) -> int | None:
        if rule.after_bytes is not None:
            left = rule.after_bytes - direction.passed
            return left if left <= len(data) else None
        pattern, whole = rule.pattern or b"", kept + data
        at = whole.find(pattern)
        while at >= 0 and at + len(pattern) <= len(kept):  # seen with the bytes before
            at = whole.find(pattern, at + 1)
        while at >= 0 and rule.skip > 0:
            rule.skip -= 1
            at = whole.find(pattern, at + len(pattern))
        return None if at < 0 else max(0, at - len(kept))

    def _add(self, rule: Rule) -> Rule:
        if rule.fault is Fault.LOSE_ANSWER and rule.way is not Way.TO_SERVER:
            raise ValueError("an answer is lost after bytes to the server, not to the client")
        self._rules.append(rule)
        return rule

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self.accepted += 1
        try:
            server = await self._connect()
        except OSError:
            writer.transport.abort()
            return
        connection = _Connection(self, (reader, writer), server)
        self._connections.add(connection)
        await self._tell()
        try:
            await connection.run()
        finally:
            self._connections.discard(connection)
            await self._tell()

    def _connect(self) -> Awaitable[_Pair]:
        if isinstance(self._upstream, Path):
            return asyncio.open_unix_connection(str(self._upstream))
        return asyncio.open_connection(*self._upstream)

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()
