"""The connection to the collector: OTLP over gRPC, with TLS, one Authorization header and retries."""

import asyncio
import ssl
from collections.abc import Iterable
from pathlib import Path
from typing import cast

import grpc
import grpc.aio

from broadaxe.clock import Clock, Ids
from broadaxe.telemetry.attempt import Attempt, ExportError
from broadaxe.telemetry.options import TelemetryOptions
from broadaxe.telemetry.retry_info import retry_info

_RETRYABLE = frozenset(
    (
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    )
)
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 5.0
_CHANNEL_OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 500),
    ("grpc.min_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 5000),
    ("grpc.max_receive_message_length", 1 << 20),
    # A channel of its own: grpcio otherwise shares connections with equal addresses in the process.
    ("grpc.use_local_subchannel_pool", 1),
)
_SYSTEM_ROOTS = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
)


# What people can do about it, by a piece of gRPC's text, which otherwise runs over several lines.
_EXPLAINED = (
    (
        "WRONG_VERSION_NUMBER",
        "it does not speak TLS; for a plaintext collector set SERVER_OTEL_INSECURE=true",
    ),
    (
        "CERTIFICATE_VERIFY_FAILED",
        "its certificate is not trusted; OTEL_EXPORTER_OTLP_CERTIFICATE names authorities",
    ),
    ("hostname lookup error", "its host name cannot be resolved"),
    ("DNS resolution failed", "its host name cannot be resolved"),
    ("Connection refused", "connection refused"),
    ("No route to host", "no route to the host"),
)


def system_roots() -> bytes | None:
    """The machine's trusted authorities; None leaves the choice to grpcio, which brings a list of its own."""
    default = ssl.get_default_verify_paths().cafile
    for path in ([default] if default else []) + list(_SYSTEM_ROOTS):
        if Path(path).is_file():
            return Path(path).read_bytes()
    return None


def _one_line(text: str | None, limit: int = 200) -> str:
    return " ".join((text or "").split())[:limit]


def explain(code: str, details: str | None) -> str:
    """One line for people: the status and, where it is known, what is behind it."""
    text = details or ""
    for piece, meaning in _EXPLAINED:
        if piece in text:
            return f"{code}: {meaning}"
    return f"{code}: {_one_line(text)}"


def _retry_delay(error: grpc.aio.AioRpcError) -> float | None:
    """Seconds the collector asks us to wait; None when it does not say."""
    # At run time these are plain pairs, whatever the type stubs say.
    trailers = cast("Iterable[tuple[str, str | bytes]]", error.trailing_metadata() or ())
    details = dict(trailers).get("grpc-status-details-bin")
    return retry_info(details) if isinstance(details, bytes) else None


class CollectorClient:
    """Sends encoded requests to one collector. A failure is an `ExportError`, never anything else."""

    def __init__(self, options: TelemetryOptions, clock: Clock, ids: Ids) -> None:
        self._options = options
        self._clock = clock
        self._ids = ids
        self._channel: grpc.aio.Channel | None = None
        self._closing = asyncio.Event()
        self._metadata: tuple[tuple[str, str], ...] = ()
        if options.auth:
            self._metadata = (("authorization", options.auth),)

    def _open(self) -> grpc.aio.Channel:
        tuning = self._options.tuning
        compression = grpc.Compression.Gzip if tuning.gzip else grpc.Compression.NoCompression
        if self._options.insecure:
            return grpc.aio.insecure_channel(self._options.target, _CHANNEL_OPTIONS, compression)
        credentials = grpc.ssl_channel_credentials(
            tuning.certificate or system_roots(), tuning.client_key, tuning.client_certificate
        )
        return grpc.aio.secure_channel(self._options.target, credentials, _CHANNEL_OPTIONS, compression)

    async def _call(self, method: str, request: bytes, timeout: float) -> bytes:
        if self._channel is None:
            self._channel = self._open()
        call = self._channel.unary_unary(method, None, None)
        response: bytes = await call(request, timeout=timeout, metadata=self._metadata)
        return response

    async def export(
        self, method: str, request: bytes, attempt: Attempt, *, within: float | None = None
    ) -> bytes:
        """Sends one request and returns the response's bytes.

        Codes that OTLP calls retryable are repeated with growing, jittered pauses until `within` seconds
        (else the export time-out) have passed; each failure is told to `attempt`. Once `hurry` was called
        there is one more call and no pause.
        """
        tuning = self._options.tuning
        deadline = self._clock.monotonic() + (tuning.export_timeout if within is None else within)
        pause = _FIRST_PAUSE
        while True:
            last = self._closing.is_set()
            left = deadline - self._clock.monotonic()
            try:
                return await self._call(method, request, max(0.001, min(tuning.call_timeout, left)))
            except grpc.aio.AioRpcError as error:
                asked = _retry_delay(error)
                code, details = error.code(), error.details()
                reason = explain(code.name, details)
                retryable = code in _RETRYABLE or (
                    code is grpc.StatusCode.RESOURCE_EXHAUSTED and asked is not None
                )
            except (grpc.RpcError, grpc.aio.UsageError, ValueError, OSError, RuntimeError) as error:
                raise ExportError(_one_line(f"{type(error).__name__}: {error}")) from error
            attempt.failed(reason)
            wait = self._ids.uniform(0.5, 1.0) * pause if asked is None else asked
            if last or not retryable or self._clock.monotonic() + wait >= deadline:
                raise ExportError(reason, code, _one_line(details))
            pause = min(pause * 2, _LONGEST_PAUSE)
            await self._pause(wait)

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._closing.wait()
        except TimeoutError:
            return

    def hurry(self) -> None:
        """The process is stopping: no more pauses between retries."""
        self._closing.set()

    async def close(self) -> None:
        """Closes the channel; calls under way are cancelled."""
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close(None)
