"""The transport of the gRPC port, as the settings choose it."""

from broadaxe.app.shared import Shared
from broadaxe.clock import Clock
from broadaxe.config.sections.grpc import GrpcSettings
from broadaxe.config.tls import ServerTls, server_tls
from broadaxe.grpc_api.lean.server import LeanServer
from broadaxe.grpc_api.lean.settings import LeanSettings
from broadaxe.grpc_api.lean.usage import Usage
from broadaxe.grpc_api.method import Method
from broadaxe.grpc_api.pipeline import Pipeline
from broadaxe.grpc_api.transport import Transport
from broadaxe.telemetry import names as T
from broadaxe.telemetry.metrics import Metrics


def make_transport(
    methods: list[Method], pipeline: Pipeline, shared: Shared, *, share_port: bool
) -> Transport:
    """Serves the methods once it is started. `share_port`: another process may listen on the port too."""
    grpc = shared.settings.grpc
    tls = server_tls(shared.settings)
    if grpc.transport == "lean":
        server = LeanServer(methods, pipeline, shared.clock, _lean(grpc, tls, share_port=share_port))
        _observe(shared.telemetry.metrics, server.usage)
        return server
    return _grpcio(methods, pipeline, shared.clock, grpc, tls, share_port=share_port)


def _lean(grpc: GrpcSettings, tls: ServerTls | None, *, share_port: bool) -> LeanSettings:
    return LeanSettings(
        bind_address=grpc.bind_address,
        port=grpc.port,
        tls=tls,
        max_message_size=grpc.max_msg_size,
        stream_window=grpc.static_stream_window_size,
        max_connections=grpc.max_connections,
        max_concurrent_streams=grpc.max_concurrent_streams,
        max_header_list=grpc.max_header_list_size,
        max_buffered=grpc.max_connection_buffer,
        max_buffered_in_all=grpc.max_buffer,
        health=grpc.health_enabled,
        reflection=grpc.reflection_enabled,
        reuse_port=share_port,
    )


def _grpcio(
    methods: list[Method],
    pipeline: Pipeline,
    clock: Clock,
    grpc: GrpcSettings,
    tls: ServerTls | None,
    *,
    share_port: bool,
) -> Transport:
    # Only who chooses it loads grpcio, which takes 20 MB.
    from broadaxe.grpc_api.transport_grpcio import GrpcioServer, GrpcioSettings

    settings = GrpcioSettings(
        bind_address=grpc.bind_address,
        port=grpc.port,
        tls=tls,
        max_message_size=grpc.max_msg_size,
        stream_window=grpc.static_stream_window_size,
        max_concurrent_streams=grpc.max_concurrent_streams,
        health=grpc.health_enabled,
        reflection=grpc.reflection_enabled,
        reuse_port=share_port,
    )
    return GrpcioServer(methods, pipeline, clock, settings)


def _observe(metrics: Metrics, usage: Usage) -> None:
    """What the transport counts, as metrics."""
    metrics.observe(T.METRIC_GRPC_CONNECTIONS, lambda: [(usage.connections, ())])
    metrics.observe(T.METRIC_GRPC_BUFFERED, lambda: [(usage.buffered, ())])
    metrics.observe(
        T.METRIC_GRPC_CONNECTIONS_ENDED,
        lambda: [(count, ((T.LABEL_REASON, why),)) for why, count in usage.ended.items()],
    )
