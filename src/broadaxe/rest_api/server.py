"""Serves the API over HTTP inside the process's own event loop."""

import asyncio
import socket
from collections.abc import Generator
from contextlib import contextmanager
from email.utils import formatdate

import uvicorn
from starlette.types import ASGIApp
from uvicorn.server import ServerState

from broadaxe.clock import Clock, SystemClock

KEEP_ALIVE = 75
"""Seconds an idle connection stays open: longer than clients keep theirs in a pool, since they do not try
again when a reused connection turns out to be closed."""

Headers = list[tuple[bytes, bytes]]


class _State(ServerState):
    """What uvicorn's connections share. The Date header is made when a response asks for it, where uvicorn
    keeps it right by a timer that an idle process has no use for."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._made = (0, b"")
        super().__init__()

    @property
    def default_headers(self) -> Headers:
        """The headers of every response."""
        second = self._clock.now_ns() // 1_000_000_000
        if second != self._made[0]:
            self._made = (second, formatdate(second, usegmt=True).encode())
        return [(b"date", self._made[1]), *self._given]

    @default_headers.setter
    def default_headers(self, given: Headers) -> None:
        self._given = given


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers and its ten looks a second."""

    def __init__(self, config: uvicorn.Config, clock: Clock) -> None:
        super().__init__(config)
        self.server_state = _State(clock)
        self.up = asyncio.Event()
        self.leave = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Signals belong to the process, not to one of its listeners."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start listening and say so."""
        await super().startup(sockets)
        self.up.set()

    async def main_loop(self) -> None:
        """Wait until told to leave."""
        await self.on_tick(0)
        await self.leave.wait()
        self.should_exit = True


class RestServer:
    """The listener: `start`, read `port`, later `stop`."""

    def __init__(
        self,
        app: ASGIApp,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        grace: float = 10.0,
        clock: Clock | None = None,
    ) -> None:
        """`port` 0 takes any free one. `grace`: seconds that open requests are given at the stop."""
        self._app = app
        self._host = host
        self._wanted = port
        self._grace = grace
        self._clock = clock or SystemClock()
        self._server: _Server | None = None
        self._task: asyncio.Task[None] | None = None
        self.port = 0
        """The port it listens on, once started."""

    async def start(self) -> None:
        """Bind and listen. `OSError` when the address cannot be had."""
        bound = _bind(self._host, self._wanted)
        self.port = int(bound.getsockname()[1])
        config = uvicorn.Config(
            self._app,
            loop="none",
            http="httptools",
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE,
            timeout_graceful_shutdown=max(1, round(self._grace)),
        )
        self._server = _Server(config, self._clock)
        self._task = asyncio.create_task(self._server.serve(sockets=[bound]), name="rest-server")
        up = asyncio.create_task(self._server.up.wait())
        await asyncio.wait((self._task, up), return_when=asyncio.FIRST_COMPLETED)
        up.cancel()
        if self._task.done():
            await self._task
            raise OSError(f"the HTTP server did not start on {self._host}:{self._wanted}")

    async def stop(self) -> None:
        """Stop listening, let open requests end within the grace, close the rest. Safe to call twice."""
        if self._server is None or self._task is None:
            return
        self._server.leave.set()
        await self._task
        self._server = None


def _bind(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(
        host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.setblocking(False)
    except OSError:
        bound.close()
        raise
    return bound
