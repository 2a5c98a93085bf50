"""The transport on grpcio: serves a table of methods over HTTP/2, plaintext, TLS or mutual TLS."""

# grpcio's classes are generic to the type checker only, so annotations must stay unevaluated.
from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import grpc
from grpc import aio

from broadaxe.clock import Clock
from broadaxe.config.tls import ServerTls
from broadaxe.grpc_api.call import Call, RpcError
from broadaxe.grpc_api.errors import status_details
from broadaxe.grpc_api.method import Kind, Method
from broadaxe.grpc_api.own_services import with_own_services
from broadaxe.grpc_api.pipeline import Pipeline
from broadaxe.grpc_api.transport import BindFailed, address_of

log = logging.getLogger(__name__)

_MAKERS: Mapping[Kind, Callable[[Any], grpc.RpcMethodHandler[Any, Any]]] = {
    Kind.UNARY_UNARY: grpc.unary_unary_rpc_method_handler,
    Kind.UNARY_STREAM: grpc.unary_stream_rpc_method_handler,
    Kind.STREAM_UNARY: grpc.stream_unary_rpc_method_handler,
    Kind.STREAM_STREAM: grpc.stream_stream_rpc_method_handler,
}
_STATUS_CODES = {code.value[0]: code for code in grpc.StatusCode}

if TYPE_CHECKING:
    Context = aio.ServicerContext[Any, Any]
    Behaviour = Callable[[Any, Context], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class GrpcioSettings:
    """How the transport listens. Times are in seconds, sizes in bytes."""

    bind_address: str = "127.0.0.1"
    """A host name, an IPv4 or an IPv6 address (without brackets)."""
    port: int = 7070
    """0 takes a free one."""
    tls: ServerTls | None = None
    """None serves plaintext. grpcio cannot refuse TLS 1.2: a minimum of 1.3 makes the start warn of that."""
    max_message_size: int = 4 * 1024 * 1024
    """Of one message, in either direction."""
    stream_window: int = 10 * 1024 * 1024
    """How much a client may send on one stream before the server has read it."""
    max_concurrent_streams: int = 10_000
    """Calls open at a time on one connection; more wait in the client."""
    keepalive_after: float = 30.0
    """The server pings a connection on which it has heard nothing for so long."""
    keepalive_timeout: float = 20.0
    """... and closes it when the answer takes longer than this."""
    min_ping_interval: float = 4.5
    """A client that pings more often, calls open or not, is turned away. SDKs ping each 5 to 10 s."""
    reuse_port: bool = True
    """Let a second process listen on the same port, for a change without a gap."""
    health: bool = False
    """Answer gRPC's own health service, without authentication."""
    reflection: bool = False
    """Answer gRPC server reflection, without authentication."""
    stream_patience: float = 1.0
    """At a stop: how long handlers of streams have to return before they are ended."""

    def channel_options(self) -> list[tuple[str, int]]:
        """The settings in grpcio's own terms."""
        return [
            ("grpc.max_receive_message_length", self.max_message_size),
            ("grpc.max_send_message_length", self.max_message_size),
            ("grpc.max_concurrent_streams", self.max_concurrent_streams),
            ("grpc.http2.lookahead_bytes", self.stream_window),
            # The window is fixed, not guessed from the bandwidth.
            ("grpc.http2.bdp_probe", 0),
            ("grpc.keepalive_time_ms", round(self.keepalive_after * 1000)),
            ("grpc.keepalive_timeout_ms", round(self.keepalive_timeout * 1000)),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.min_ping_interval_without_data_ms", round(self.min_ping_interval * 1000)),
            ("grpc.so_reuseport", int(self.reuse_port)),
        ]


class GrpcioServer:
    """Serves methods, and gRPC's health service when wanted, through a pipeline.

    `start` once, `leave` and `stop` once, in the same event loop.
    """

    def __init__(
        self, methods: Iterable[Method], pipeline: Pipeline, clock: Clock, settings: GrpcioSettings
    ) -> None:
        self._methods = with_own_services(
            methods, leaving=pipeline.leaving, health=settings.health, reflection=settings.reflection
        )
        self._pipeline = pipeline
        self._monotonic = clock.monotonic
        self._settings = settings
        self._server: aio.Server | None = None
        self._stopping: asyncio.Future[None] | None = None
        self._port = 0

    @property
    def port(self) -> int:
        """The port that is listened on; 0 before `start`."""
        return self._port

    async def start(self) -> None:
        """Listen and serve; raises `BindFailed`."""
        settings = self._settings
        server = aio.server(options=settings.channel_options())
        services = sorted({method.service for method in self._methods})
        server.add_generic_rpc_handlers([self._service(name) for name in services])
        self._port = self._listen(server)
        await server.start()
        self._server = server

    def _listen(self, server: aio.Server) -> int:
        settings = self._settings
        address = address_of(settings.bind_address, settings.port)
        try:
            if settings.tls is None:
                port = server.add_insecure_port(address)
            else:
                port = server.add_secure_port(address, _credentials(settings.tls))
        except RuntimeError as error:
            raise BindFailed(f"cannot listen on {address}: {error}") from error
        if port == 0:
            raise BindFailed(f"cannot listen on {address}")
        return port

    async def leave(self, timeout: float) -> None:
        """Begin the stop: grpcio says goodbye only so, and refuses what crosses it."""
        if self._server is not None and self._stopping is None:
            self._stopping = asyncio.ensure_future(self._server.stop(timeout))

    async def stop(self, timeout: float) -> None:
        """Stop without loss: no new connections, streams end with OK, unary calls are served.

        What is still open after `timeout` seconds is cut. Returns when nothing is left.
        """
        # Clients are told to go elsewhere before their streams end, so that they do not come back here.
        await self.leave(timeout)
        stopping, self._server, self._stopping = self._stopping, None, None
        if stopping is None:
            return
        await self._pipeline.drain(min(self._settings.stream_patience, timeout))
        await stopping

    def _service(self, name: str) -> grpc.GenericRpcHandler[Any, Any]:
        handlers = {method.name: self._handler(method) for method in self._methods if method.service == name}
        return grpc.method_handlers_generic_handler(name, handlers)

    def _handler(self, method: Method) -> grpc.RpcMethodHandler[Any, Any]:
        """Without (de)serialisers: messages stay bytes down to the pipeline."""
        behaviour = self._stream(method) if method.kind.streams_out else self._single(method)
        return _MAKERS[method.kind](behaviour)

    def _single(self, method: Method) -> Behaviour:
        async def serve(request: Any, context: Context) -> bytes:
            call = self._call(method, context)
            try:
                reply = await self._pipeline.single(method, request, call)
            except RpcError as error:
                await _lead(context, call)
                await _abort(context, call, error)
            await _lead(context, call)
            context.set_trailing_metadata(call.trailing_metadata)
            return reply

        return serve

    def _stream(self, method: Method) -> Behaviour:
        async def serve(request: Any, context: Context) -> None:
            call = self._call(method, context)
            replies = self._pipeline.stream(method, request, call)
            led = False
            try:
                async for reply in replies:
                    if not led:
                        led = True
                        await _lead(context, call)
                    await context.write(reply)
                if not led:
                    await _lead(context, call)
                context.set_trailing_metadata(call.trailing_metadata)
            except RpcError as error:
                if not led:
                    await _lead(context, call)
                await _abort(context, call, error)
            finally:
                await replies.aclose()

        return serve

    def _call(self, method: Method, context: Context) -> Call:
        remaining = context.time_remaining()
        return Call(
            method.full_name,
            _metadata(context),
            deadline=None if remaining is None else self._monotonic() + remaining,
            peer=context.peer(),
            closing=self._pipeline.closing,
        )


def _metadata(context: Context) -> Mapping[str, str | bytes]:
    metadata: dict[str, str | bytes] = {}
    for key, value in context.invocation_metadata() or ():
        metadata.setdefault(key, value)
    return metadata


async def _lead(context: Context, call: Call) -> None:
    """Send what the handler wants before its first message. (grpcio sends the head by itself otherwise.)"""
    if call.initial_metadata:
        await context.send_initial_metadata(call.initial_metadata)


async def _abort(context: Context, call: Call, error: RpcError) -> NoReturn:
    details = status_details(error)
    trailers = call.trailing_metadata
    if details is not None:
        trailers += (("grpc-status-details-bin", details),)
    await context.abort(_STATUS_CODES[error.code], error.message, trailers)


def _credentials(tls: ServerTls) -> grpc.ServerCredentials:
    if tls.min_version == "1.3":
        log.warning("TLS 1.2 stays open to gRPC clients: this transport cannot refuse it")
    return grpc.ssl_server_credentials(
        [(tls.key, tls.cert)], tls.client_ca, require_client_auth=tls.client_ca is not None
    )
