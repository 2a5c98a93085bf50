"""Serves the API over HTTP inside the process's own event loop."""

import asyncio
import socket
from collections.abc import Generator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

KEEP_ALIVE = 75
"""Seconds an idle connection stays open: longer than clients keep theirs in a pool, since they do not try
again when a reused connection turns out to be closed."""

_TICK = 1.0


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers and its ten looks a second."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
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
        """Keep the Date header right until told to leave."""
        while not self.leave.is_set():
            await self.on_tick(0)
            try:
                async with asyncio.timeout(_TICK):
                    await self.leave.wait()
            except TimeoutError:
                continue
        self.should_exit = True


class RestServer:
    """The listener: `start`, read `port`, later `stop`."""

    def __init__(self, app: ASGIApp, host: str = "127.0.0.1", port: int = 0, *, grace: float = 10.0) -> None:
        """`port` 0 takes any free one. `grace`: seconds that open requests are given at the stop."""
        self._app = app
        self._host = host
        self._wanted = port
        self._grace = grace
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
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE,
            timeout_graceful_shutdown=max(1, round(self._grace)),
        )
        self._server = _Server(config)
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
