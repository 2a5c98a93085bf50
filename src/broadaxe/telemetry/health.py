"""A listener for probes and scrapes: HTTP/1.1, GET and HEAD, one request a connection, nothing else."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

_logger = logging.getLogger("broadaxe.health")

_HEAD_LIMIT = 8192
_HEAD_SECONDS = 5.0
_MOST_CONNECTIONS = 64


@dataclass(frozen=True, slots=True)
class Reply:
    """What a route answers."""

    status: int
    body: bytes
    content_type: str = "text/plain; charset=utf-8"


Route = Callable[[], Reply | Awaitable[Reply]]
Check = Callable[[], bool]


def _head(reply: Reply, extra: str = "") -> bytes:
    return (
        f"HTTP/1.1 {reply.status} {HTTPStatus(reply.status).phrase}\r\n"
        f"Content-Type: {reply.content_type}\r\nContent-Length: {len(reply.body)}\r\n{extra}"
        "Cache-Control: no-store\r\nConnection: close\r\n\r\n"
    ).encode()


def _plain(status: int) -> Reply:
    return Reply(status, f"{HTTPStatus(status).phrase}\n".encode())


def _request_line(head: bytes) -> tuple[str, str] | Reply:
    """Method and path, or the reply to what is not a request; the query is left out."""
    parts = head.split(b"\r\n", 1)[0].split(b" ")
    if len(parts) != 3 or parts[2] not in (b"HTTP/1.0", b"HTTP/1.1"):
        return _plain(400)
    method, target = parts[0], parts[1].split(b"?", 1)[0]
    if not method.isalpha() or not target.startswith(b"/") or not target.isascii():
        return _plain(400)
    return method.decode(), target.decode()


class HttpListener:
    """Serves a fixed table of routes; slow, oversized and superfluous callers are turned away."""

    def __init__(self, host: str, port: int, routes: Mapping[str, Route]) -> None:
        self._host = host
        self._port = port
        self._routes = dict(routes)
        self._server: asyncio.Server | None = None
        self._open = 0

    async def start(self) -> None:
        """Binds; OSError when the address cannot be had. An empty host binds to every interface."""
        # With no host and port 0, IPv4 and IPv6 would get two different ports.
        host = self._host or ("0.0.0.0" if self._port == 0 else None)
        self._server = await asyncio.start_server(
            self._serve, host, self._port, limit=_HEAD_LIMIT, reuse_address=True
        )
        self._port = int(self._server.sockets[0].getsockname()[1])

    @property
    def port(self) -> int:
        """The port that is bound; meaningful after `start` when 0 was asked for."""
        return self._port

    async def stop(self) -> None:
        """Closes the listener; connections under way end by themselves within seconds."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
            await server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            async with asyncio.timeout(_HEAD_SECONDS):
                if self._open > _MOST_CONNECTIONS:
                    writer.write(_head(_plain(503)))
                else:
                    await self._exchange(reader, writer)
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError):
            _logger.debug("a caller of the health port went away or was too slow")
        finally:
            self._open -= 1
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            writer.write(_head(_plain(431)))
            return
        request = _request_line(head)
        if isinstance(request, Reply):
            writer.write(_head(request) + request.body)
            return
        method, path = request
        if method not in ("GET", "HEAD"):
            reply = _plain(405)
            writer.write(_head(reply, "Allow: GET, HEAD\r\n") + reply.body)
            return
        reply = await self._answer(path)
        writer.write(_head(reply) + (b"" if method == "HEAD" else reply.body))

    async def _answer(self, path: str) -> Reply:
        route = self._routes.get(path)
        if route is None:
            return _plain(404)
        try:
            reply = route()
            return reply if isinstance(reply, Reply) else await reply
        except Exception:
            _logger.exception("the route %s failed", path)
            return _plain(500)


class Health:
    """Whether the process is alive and ready: named checks, each a function that answers at once."""

    def __init__(self, version: str) -> None:
        self._version = version
        self._live: dict[str, Check] = {}
        self._ready: dict[str, Check] = {}

    def add_live(self, name: str, check: Check) -> None:
        """A check that, when it fails, means the process should be restarted."""
        self._live[name] = check

    def add_ready(self, name: str, check: Check) -> None:
        """A check that, when it fails, means the process should get no traffic for now."""
        self._ready[name] = check

    @property
    def ready(self) -> bool:
        """Whether all live and ready checks hold."""
        return all(check() for check in (*self._live.values(), *self._ready.values()))

    def routes(self) -> dict[str, Route]:
        """`/live` and `/ready` (200 or 500 with the names of the failing checks) and `/version`."""
        return {
            "/live": lambda: self._verdict(self._live),
            "/ready": lambda: self._verdict({**self._live, **self._ready}),
            "/version": self._show_version,
        }

    def _verdict(self, checks: Mapping[str, Check]) -> Reply:
        failing = [name for name, check in checks.items() if not check()]
        if failing:
            return Reply(500, f"not ready: {', '.join(failing)}\n".encode())
        return Reply(200, b"ok\n")

    def _show_version(self) -> Reply:
        return Reply(200, json.dumps({"version": self._version}).encode(), "application/json")
