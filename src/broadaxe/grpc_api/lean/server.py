"""The server: listens, accepts, stops."""

import asyncio
import logging
import socket
import ssl
from collections.abc import Iterable, Iterator
from contextlib import suppress

from broadaxe.clock import Clock
from broadaxe.grpc_api.call import Code, RpcError
from broadaxe.grpc_api.lean.calls import Calls
from broadaxe.grpc_api.lean.connection import Connection
from broadaxe.grpc_api.lean.link import Shared
from broadaxe.grpc_api.lean.settings import LeanSettings
from broadaxe.grpc_api.lean.tls import server_context
from broadaxe.grpc_api.lean.usage import Usage
from broadaxe.grpc_api.method import Method
from broadaxe.grpc_api.own_services import with_own_services
from broadaxe.grpc_api.pipeline import Pipeline
from broadaxe.grpc_api.transport import BindFailed, address_of

log = logging.getLogger(__name__)

_BACKLOG = 1024
_HANDSHAKE_TIMEOUT = 20.0
_CUT_WAIT = 1.0
_ADOPTION_WAIT = 0.5


class LeanServer:
    """Serves methods, and gRPC's health service when wanted, through a pipeline.

    `start` once, `leave` and `stop` once, in the same event loop.
    """

    def __init__(
        self, methods: Iterable[Method], pipeline: Pipeline, clock: Clock, settings: LeanSettings
    ) -> None:
        self._methods = with_own_services(
            methods, leaving=pipeline.leaving, health=settings.health, reflection=settings.reflection
        )
        self._pipeline = pipeline
        self._monotonic = clock.monotonic
        self._settings = settings
        self._sockets: list[socket.socket] = []
        self._listeners: list[asyncio.Server] = []
        self._context: ssl.SSLContext | None = None
        self._shared: Shared | None = None
        self._port = 0
        self.usage = Usage(settings.max_buffered_in_all)
        """What the server holds now."""

    @property
    def port(self) -> int:
        """The port that is listened on; 0 before `start`."""
        return self._port

    async def start(self) -> None:
        """Listen and serve; raises `BindFailed`."""
        loop = asyncio.get_running_loop()
        settings = self._settings
        calls = Calls(self._methods, self._pipeline, loop, self._monotonic)
        shared = Shared(loop, settings, calls, self.usage)
        address = address_of(settings.bind_address, settings.port)
        try:
            context = None if settings.tls is None else server_context(settings.tls)
        except (ssl.SSLError, ValueError) as error:
            raise BindFailed(
                f"cannot listen on {address}: the certificates cannot be used: {error}"
            ) from error
        sockets: list[socket.socket] = []
        try:
            sockets = await self._bind(loop)
            for listening in sockets:
                self._listeners.append(
                    await loop.create_server(
                        lambda: Connection(shared),
                        sock=listening,
                        ssl=context,
                        backlog=_BACKLOG,
                        ssl_handshake_timeout=None if context is None else _HANDSHAKE_TIMEOUT,
                    )
                )
        except OSError as error:
            for listening in sockets:
                listening.close()
            raise BindFailed(f"cannot listen on {address}: {error}") from error
        self._port = sockets[0].getsockname()[1]
        self._sockets, self._context, self._shared = sockets, context, shared

    async def _bind(self, loop: asyncio.AbstractEventLoop) -> list[socket.socket]:
        """A socket for each address of the host, all on one port; raises OSError."""
        settings = self._settings
        found = await loop.getaddrinfo(
            settings.bind_address, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        port = settings.port
        sockets: list[socket.socket] = []
        try:
            for family, _, _, _, target in dict.fromkeys(found):
                bound = socket.socket(family, socket.SOCK_STREAM)
                sockets.append(bound)
                bound.setblocking(False)
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if settings.reuse_port:
                    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                if family == socket.AF_INET6:
                    bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                bound.bind((target[0], port, *target[2:]))
                port = bound.getsockname()[1]
        except OSError:
            for bound in sockets:
                bound.close()
            raise
        return sockets

    async def leave(self, timeout: float) -> None:
        """Listen no more, and tell clients to make their next calls elsewhere; open calls go on.

        Returns when all have heard of it, or after `timeout` seconds or those that a silent client is given.
        """
        shared = self._shared
        if shared is None:
            return
        await self._say_goodbye(shared)
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while not all(connection.left or connection.dead for connection in shared.connections):
                    shared.changed.clear()
                    await shared.changed.wait()

    async def stop(self, timeout: float) -> None:
        """Stop without loss: no new connections, streams end with OK, unary calls are served.

        What is still open after `timeout` seconds is cut. Returns when nothing is left.
        """
        shared, self._shared = self._shared, None
        if shared is None:
            return
        # Clients are told to go elsewhere before their streams end, so that they do not come back here.
        await self._say_goodbye(shared)
        emptied = asyncio.ensure_future(_emptied(shared))
        try:
            async with asyncio.timeout(timeout):
                await self._pipeline.drain(min(self._settings.stream_patience, timeout))
                await emptied
        except TimeoutError:
            await self._cut(shared)
        finally:
            emptied.cancel()

    async def _say_goodbye(self, shared: Shared) -> None:
        if not shared.stopping:
            shared.stopping = True  # who is let in from here on is told so at once
            await self._close_listeners(shared)
            for connection in tuple(shared.connections):
                connection.leave()

    async def _close_listeners(self, shared: Shared) -> None:
        """Listen no more. Who has been let in by the kernel and not by us would be cut off without a word:
        it is let in, to be told to go to whoever listens now."""
        accepted = [connection for listening in self._sockets for connection in _waiting_at(listening)]
        for listener in self._listeners:
            listener.close()
        if accepted:
            adopting = asyncio.gather(
                *(self._adopt(shared, connection) for connection in accepted), return_exceptions=True
            )
            # Beyond that it is a TLS handshake with a client that says nothing.
            await asyncio.wait([adopting], timeout=_ADOPTION_WAIT)
            adopting.cancel()

    async def _adopt(self, shared: Shared, connection: socket.socket) -> None:
        await shared.loop.connect_accepted_socket(
            lambda: Connection(shared),
            connection,
            ssl=self._context,
            ssl_handshake_timeout=None if self._context is None else _HANDSHAKE_TIMEOUT,
        )

    async def _cut(self, shared: Shared) -> None:
        refusal = RpcError(Code.UNAVAILABLE, "the server is stopping")
        tasks = tuple(shared.calls.running)
        for connection in tuple(shared.connections):
            for stream in tuple(connection.streams.values()):
                stream.end(refusal)
            connection.close()
        if tasks:
            await asyncio.wait(tasks, timeout=_CUT_WAIT)
        try:
            async with asyncio.timeout(_CUT_WAIT):
                await _emptied(shared)
        except TimeoutError:
            for connection in tuple(shared.connections):
                connection.abort()


def _waiting_at(listening: socket.socket) -> Iterator[socket.socket]:
    """The connections that wait to be accepted."""
    while True:
        try:
            connection, _ = listening.accept()
        except OSError:
            return
        connection.setblocking(False)
        yield connection


async def _emptied(shared: Shared) -> None:
    while shared.connections:
        shared.changed.clear()
        await shared.changed.wait()
