"""The gRPC server, its encryption, and the API's own client of it."""

from broadaxe.config.declare import ignored, section, used
from broadaxe.config.kinds import (
    BIND,
    BOOL,
    COUNT,
    DURATION,
    GRPC_TRANSPORT,
    HOST_PORT,
    PORT,
    POSITIVE,
    POSITIVE_DURATION,
    RATE,
    TEXT,
    TLS_STRATEGY,
    TLS_VERSION,
)


@section("gRPC server")
class GrpcSettings:
    """The port workers and clients talk to."""

    port: int = used(
        "SERVER_GRPC_PORT",
        "runtime.grpcPort",
        PORT,
        default="7070",
        meaning="Port of the gRPC server.",
    )
    bind_address: str = used(
        "SERVER_GRPC_BIND_ADDRESS",
        "runtime.grpcBindAddress",
        BIND,
        default="127.0.0.1",
        meaning="Address it listens on; 0.0.0.0 in a container.",
    )
    broadcast_address: str = used(
        "SERVER_GRPC_BROADCAST_ADDRESS",
        "runtime.grpcBroadcastAddress",
        HOST_PORT,
        default="127.0.0.1:7070",
        meaning="Address written into tokens, which SDKs dial; changing it voids no token.",
    )
    insecure: bool = used(
        "SERVER_GRPC_INSECURE",
        "runtime.grpcInsecure",
        BOOL,
        default="false",
        meaning="Plaintext instead of TLS; every SERVER_TLS_* setting is then left aside.",
    )
    max_msg_size: int = used(
        "SERVER_GRPC_MAX_MSG_SIZE",
        "runtime.grpcMaxMsgSize",
        POSITIVE,
        default="4194304",
        meaning="Largest message in bytes, both ways.",
    )
    worker_max_lock_acquisition_time: float = ignored(
        "SERVER_GRPC_WORKER_MAX_LOCK_ACQUISITION_TIME",
        "runtime.grpcWorkerMaxLockAcquisitionTime",
        POSITIVE_DURATION,
        default="250ms",
        meaning="How long a task waits for a worker's busy stream in Hatchet.",
        reason="a task is handed to a stream without waiting for it",
    )
    static_stream_window_size: int = used(
        "SERVER_GRPC_STATIC_STREAM_WINDOW_SIZE",
        "runtime.grpcStaticStreamWindowSize",
        POSITIVE,
        default="10485760",
        meaning="HTTP/2 flow-control window of a stream in bytes.",
    )
    max_connections: int = used(
        "SERVER_GRPC_MAX_CONNECTIONS",
        "runtime.grpcMaxConnections",
        POSITIVE,
        default="10000",
        meaning="Connections open at a time of the lean transport; one more is sent away.",
    )
    max_concurrent_streams: int = used(
        "SERVER_GRPC_MAX_CONCURRENT_STREAMS",
        "runtime.grpcMaxConcurrentStreams",
        POSITIVE,
        default="10000",
        meaning="Calls open at a time on one connection; more wait in the client. Of both transports.",
    )
    max_header_list_size: int = used(
        "SERVER_GRPC_MAX_HEADER_LIST_SIZE",
        "runtime.grpcMaxHeaderListSize",
        POSITIVE,
        default="16384",
        meaning="Largest metadata of a call in bytes; more is answered RESOURCE_EXHAUSTED.",
    )
    max_connection_buffer: int = used(
        "SERVER_GRPC_MAX_CONNECTION_BUFFER",
        "runtime.grpcMaxConnectionBuffer",
        POSITIVE,
        default="67108864",
        meaning=(
            "Bytes held for one connection: requests not yet read and replies not yet taken; calls beyond it"
            " are answered RESOURCE_EXHAUSTED."
        ),
    )
    max_buffer: int = used(
        "SERVER_GRPC_MAX_BUFFER",
        "runtime.grpcMaxBuffer",
        POSITIVE,
        default="536870912",
        meaning="The same for all connections together.",
    )
    rate_limit: float = used(
        "SERVER_GRPC_RATE_LIMIT",
        "runtime.grpcRateLimit",
        RATE,
        default="1000",
        meaning=(
            "Requests a second for each token and group of services (ten times that for dispatchers);"
            " more is answered RESOURCE_EXHAUSTED."
        ),
    )
    transport: str = used(
        "SERVER_GRPC_TRANSPORT",
        "runtime.grpcTransport",
        GRPC_TRANSPORT,
        default="lean",
        meaning=(
            "What carries gRPC: `lean`, a server of our own, or `grpcio`, Google's library, which takes some"
            " times its CPU."
        ),
    )
    shutdown_timeout: float = used(
        "SERVER_GRPC_SHUTDOWN_TIMEOUT",
        "runtime.grpcShutdownTimeout",
        DURATION,
        default="10s",
        meaning="How long calls may finish after a stop begins.",
    )
    trigger_writes_enabled: bool = ignored(
        "SERVER_GRPC_TRIGGER_WRITES_ENABLED",
        "runtime.grpcTriggerWritesEnabled",
        BOOL,
        default="true",
        meaning="Whether Hatchet writes runs inside the call that triggers them.",
        reason="a trigger always writes before it answers",
    )
    trigger_write_slots: int = ignored(
        "SERVER_GRPC_TRIGGER_WRITE_SLOTS",
        "runtime.grpcTriggerWriteSlots",
        COUNT,
        default="5",
        meaning="How many such writes go at once in Hatchet.",
        reason="triggers that arrive together share one commit",
    )
    reflection_enabled: bool = used(
        "SERVER_GRPC_REFLECTION_ENABLED",
        "runtime.grpcReflectionEnabled",
        BOOL,
        default="false",
        meaning="Whether gRPC reflection lists the services to tools.",
    )
    health_enabled: bool = used(
        "SERVER_GRPC_HEALTH_ENABLED",
        "runtime.grpcHealthEnabled",
        BOOL,
        default="false",
        meaning="Whether the standard gRPC health service answers.",
    )


@section("TLS of the gRPC server")
class TlsSettings:
    """Certificates of the server. A text given inline wins over its file."""

    strategy: str = used(
        "SERVER_TLS_STRATEGY",
        "tls.tlsStrategy",
        TLS_STRATEGY,
        default="tls",
        meaning=(
            "`tls` (certificate and key), `mtls` (also a root CA, which client certificates are "
            "checked against) or `none` (plaintext)."
        ),
    )
    cert: str = used(
        "SERVER_TLS_CERT",
        "tls.tlsCert",
        TEXT,
        default="",
        meaning="Certificate chain of the server, PEM text.",
    )
    cert_file: str = used(
        "SERVER_TLS_CERT_FILE",
        "tls.tlsCertFile",
        TEXT,
        default="",
        meaning="File with that certificate chain.",
    )
    key: str = used(
        "SERVER_TLS_KEY",
        "tls.tlsKey",
        TEXT,
        default="",
        meaning="Private key of the certificate, PEM text.",
        secret=True,
    )
    key_file: str = used(
        "SERVER_TLS_KEY_FILE",
        "tls.tlsKeyFile",
        TEXT,
        default="",
        meaning="File with that private key.",
    )
    root_ca: str = used(
        "SERVER_TLS_ROOT_CA",
        "tls.tlsRootCA",
        TEXT,
        default="",
        meaning="Root certificates that client certificates must lead to, PEM text; needed by `mtls`.",
    )
    root_ca_file: str = used(
        "SERVER_TLS_ROOT_CA_FILE",
        "tls.tlsRootCAFile",
        TEXT,
        default="",
        meaning="File with these root certificates.",
    )
    min_version: str = used(
        "SERVER_TLS_MIN_VERSION",
        "tls.tlsMinVersion",
        TLS_VERSION,
        default="1.3",
        meaning="Oldest version of TLS that is spoken.",
    )


@section("The API's own gRPC client")
class InternalClientSettings:
    """How the API process reaches the engine, when they are two processes."""

    strategy: str = used(
        "SERVER_INTERNAL_CLIENT_BASE_STRATEGY",
        "internalClient.base.tlsStrategy",
        TLS_STRATEGY,
        default="tls",
        meaning="`tls`, `mtls` or `none`, when it is not taken over from the server.",
    )
    inherit_base: bool = used(
        "SERVER_INTERNAL_CLIENT_BASE_INHERIT_BASE",
        "internalClient.inheritBase",
        BOOL,
        default="true",
        meaning="Take the server's own TLS settings (plaintext included) over instead of the ones below.",
    )
    cert: str = used(
        "SERVER_INTERNAL_CLIENT_TLS_BASE_CERT",
        "internalClient.base.tlsCert",
        TEXT,
        default="",
        meaning="Client certificate for `mtls`, PEM text.",
    )
    cert_file: str = used(
        "SERVER_INTERNAL_CLIENT_TLS_BASE_CERT_FILE",
        "internalClient.base.tlsCertFile",
        TEXT,
        default="",
        meaning="File with that certificate.",
    )
    key: str = used(
        "SERVER_INTERNAL_CLIENT_TLS_BASE_KEY",
        "internalClient.base.tlsKey",
        TEXT,
        default="",
        meaning="Private key of the client certificate, PEM text.",
        secret=True,
    )
    key_file: str = used(
        "SERVER_INTERNAL_CLIENT_TLS_BASE_KEY_FILE",
        "internalClient.base.tlsKeyFile",
        TEXT,
        default="",
        meaning="File with that private key.",
    )
    root_ca: str = used(
        "SERVER_INTERNAL_CLIENT_TLS_BASE_ROOT_CA",
        "internalClient.base.tlsRootCA",
        TEXT,
        default="",
        meaning="Root certificates that the engine's certificate must lead to, PEM text.",
    )
    root_ca_file: str = used(
        "SERVER_INTERNAL_CLIENT_TLS_BASE_ROOT_CA_FILE",
        "internalClient.base.tlsRootCAFile",
        TEXT,
        default="",
        meaning="File with these root certificates.",
    )
    tls_server_name: str = used(
        "SERVER_INTERNAL_CLIENT_TLS_SERVER_NAME",
        "internalClient.tlsServerName",
        TEXT,
        default="",
        meaning="Name expected in the engine's certificate; empty means the host that is dialled.",
    )
    broadcast_address: str = used(
        "SERVER_INTERNAL_CLIENT_INTERNAL_GRPC_BROADCAST_ADDRESS",
        "internalClient.internalGRPCBroadcastAddress",
        HOST_PORT,
        default="",
        meaning="Address of the engine as the API sees it; empty means SERVER_GRPC_BROADCAST_ADDRESS.",
    )
