"""What telemetry is told to do: the page's settings, and what `OTEL_*` may tune beside them.

Endpoint, switch, service name and sampler come from the page's settings alone, because clusters inject
`OTEL_EXPORTER_OTLP_ENDPOINT` and its like into every container; of those variables only batch sizes,
time-outs, compression, certificates and further resource attributes are read.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote

_HOST = r"\[[0-9A-Fa-f:.]+(?:%[0-9A-Za-z._-]+)?\]|[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,252})"
_HOST_PORT = re.compile(rf"({_HOST}):([0-9]{{1,5}})")
_PRINTABLE = re.compile(r"[\x20-\x7e]*")
_LISTEN = re.compile(rf"({_HOST})?:([0-9]{{1,5}})")

MIB = 1 << 20
Value = TypeVar("Value")


def check_collector_url(text: str) -> str:
    """The collector's address `host:port` with blanks around it removed; empty stays empty and means off.

    Raises ValueError with one line for people when there is a scheme, no port, or anything else.
    """
    text = text.strip()
    if not text:
        return ""
    if "://" in text:
        raise ValueError(f"must be host:port without a scheme, not {text!r}")
    if "/" in text:
        raise ValueError(f"must be host:port without a path, not {text!r}")
    match = _HOST_PORT.fullmatch(text)
    if match is None:
        if text.count(":") > 1 and not text.startswith("["):
            raise ValueError(f"must have an IPv6 address in brackets, as in [::1]:4317, not {text!r}")
        raise ValueError(f"must be host:port, for example collector:4317, not {text!r}")
    if not 1 <= int(match.group(2)) <= 65535:
        raise ValueError(f"must have a port between 1 and 65535, not {text!r}")
    return text


def check_ratio(value: float | str) -> float:
    """The trace ratio; raises ValueError with one line when it is not a finite number from 0 to 1."""
    try:
        ratio = float(value)
    except ValueError:
        raise ValueError(f"must be a number between 0 and 1, not {value!r}") from None
    if not (math.isfinite(ratio) and 0.0 <= ratio <= 1.0):
        raise ValueError(f"must be between 0 and 1, not {value}")
    return ratio


def check_auth(text: str) -> str:
    """The Authorization header's value as it is; raises ValueError when a header cannot carry it."""
    if _PRINTABLE.fullmatch(text) is None:
        raise ValueError("must consist of printable ASCII characters")
    return text


def check_listen_address(text: str) -> tuple[str, int]:
    """Bind address and port of a listener, as in `:9090` or `127.0.0.1:0`; an empty host binds everywhere."""
    match = _LISTEN.fullmatch(text.strip())
    if match is None or int(match.group(2)) > 65535:
        raise ValueError(f"must be host:port or :port, not {text!r}")
    return (match.group(1) or "").strip("[]"), int(match.group(2))


@dataclass(frozen=True, slots=True)
class Tuning:
    """What `OTEL_*` may tune; the defaults hold a burst of a second at full load."""

    queue_size: int = 32_768
    """Spans that may wait, those being sent included (OTEL_BSP_MAX_QUEUE_SIZE)."""
    queue_bytes: int = 32 * MIB
    """Bytes that may wait; no variable."""
    batch_size: int = 1_024
    """Spans in one request (OTEL_BSP_MAX_EXPORT_BATCH_SIZE)."""
    batch_bytes: int = 2 * MIB
    """Bytes in one request, under a collector's usual limit of 4 MiB; no variable."""
    delay: float = 0.5
    """Seconds a span waits for company (OTEL_BSP_SCHEDULE_DELAY, milliseconds)."""
    export_timeout: float = 30.0
    """Seconds for one batch with all its retries (OTEL_BSP_EXPORT_TIMEOUT, milliseconds)."""
    call_timeout: float = 10.0
    """Seconds for one call (OTEL_EXPORTER_OTLP_TIMEOUT, milliseconds)."""
    metric_interval: float = 15.0
    """Seconds between metric exports (OTEL_METRIC_EXPORT_INTERVAL, milliseconds)."""
    concurrency: int = 2
    """Batches under way at once; no variable."""
    gzip: bool = False
    """OTEL_EXPORTER_OTLP_COMPRESSION=gzip."""
    certificate: bytes | None = None
    """PEM of the authorities to trust instead of the system's (OTEL_EXPORTER_OTLP_CERTIFICATE, a file)."""
    client_certificate: bytes | None = None
    """PEM chain (OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE, a file)."""
    client_key: bytes | None = None
    """PEM key (OTEL_EXPORTER_OTLP_CLIENT_KEY, a file)."""
    resource_attributes: Mapping[str, str] = field(default_factory=dict)
    """OTEL_RESOURCE_ATTRIBUTES; never overrides what the settings say."""

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "Tuning":
        """Reads the variables; raises ValueError with one line naming the bad one."""
        usual = cls()
        batch = _number(env, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", usual.batch_size)
        queue = _number(env, "OTEL_BSP_MAX_QUEUE_SIZE", max(usual.queue_size, batch))
        if batch > queue:
            raise ValueError("OTEL_BSP_MAX_EXPORT_BATCH_SIZE must not be above OTEL_BSP_MAX_QUEUE_SIZE")
        certificate = _file(env, "OTEL_EXPORTER_OTLP_CERTIFICATE")
        chain = _file(env, "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE")
        key = _file(env, "OTEL_EXPORTER_OTLP_CLIENT_KEY")
        if (chain is None) != (key is None):
            raise ValueError(
                "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and OTEL_EXPORTER_OTLP_CLIENT_KEY belong together"
            )
        return cls(
            queue_size=queue,
            batch_size=batch,
            delay=_seconds(env, "OTEL_BSP_SCHEDULE_DELAY", usual.delay, zero=True),
            export_timeout=_seconds(env, "OTEL_BSP_EXPORT_TIMEOUT", usual.export_timeout),
            call_timeout=_seconds(env, "OTEL_EXPORTER_OTLP_TIMEOUT", usual.call_timeout),
            metric_interval=_seconds(env, "OTEL_METRIC_EXPORT_INTERVAL", usual.metric_interval),
            gzip=_compression(env),
            certificate=certificate,
            client_certificate=chain,
            client_key=key,
            resource_attributes=parse_resource_attributes(env.get("OTEL_RESOURCE_ATTRIBUTES", "")),
        )


def _number(env: Mapping[str, str], name: str, usual: int, *, zero: bool = False) -> int:
    text = env.get(name, "").strip()
    if not text:
        return usual
    if not (text.isascii() and text.isdigit() and len(text) <= 9) or (int(text) == 0 and not zero):
        raise ValueError(f"{name} must be a positive whole number, not {text!r}")
    return int(text)


def _seconds(env: Mapping[str, str], name: str, usual: float, *, zero: bool = False) -> float:
    return _number(env, name, round(usual * 1000), zero=zero) / 1000


def _file(env: Mapping[str, str], name: str) -> bytes | None:
    path = env.get(name, "").strip()
    if not path:
        return None
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ValueError(f"{name}: cannot read {path}: {error.strerror}") from None


def _compression(env: Mapping[str, str]) -> bool:
    text = env.get("OTEL_EXPORTER_OTLP_COMPRESSION", "").strip().lower()
    if text not in {"", "none", "gzip"}:
        raise ValueError(f"OTEL_EXPORTER_OTLP_COMPRESSION must be gzip or none, not {text!r}")
    return text == "gzip"


def parse_resource_attributes(text: str) -> dict[str, str]:
    """`key=value` pairs separated by commas, values percent-encoded; what is not a pair is left out."""
    pairs = (item.partition("=") for item in text.split(","))
    return {key.strip(): unquote(value.strip()) for key, equals, value in pairs if equals and key.strip()}


@dataclass(frozen=True, slots=True)
class TelemetryOptions:
    """The settings of one process; values are checked when the object is made (ValueError, one line)."""

    collector_url: str = ""
    """`host:port` of an OTLP/gRPC collector; empty turns trace and metric export off."""
    service_name: str = "server"
    ratio: float = 1.0
    """The share of traces that are recorded."""
    insecure: bool = False
    """Plaintext instead of TLS."""
    auth: str = ""
    """Value of the Authorization header; no header when empty."""
    metrics_enabled: bool = False
    """Export metrics over OTLP too."""
    prometheus_enabled: bool = False
    prometheus_address: str = ":9090"
    prometheus_path: str = "/metrics"
    k8s_pod_name: str = ""
    k8s_namespace: str = ""
    role: str = ""
    """Which process this is (engine, api), for logs."""
    tuning: Tuning = field(default_factory=Tuning)

    def __post_init__(self) -> None:
        _named("SERVER_OTEL_COLLECTOR_URL", check_collector_url, self.collector_url)
        _named("SERVER_OTEL_TRACE_ID_RATIO", check_ratio, self.ratio)
        _named("SERVER_OTEL_COLLECTOR_AUTH", check_auth, self.auth)
        if self.prometheus_enabled:
            _named("SERVER_PROMETHEUS_ADDRESS", check_listen_address, self.prometheus_address)
            if not self.prometheus_path.startswith("/"):
                raise ValueError("SERVER_PROMETHEUS_PATH must begin with a slash")

    @property
    def target(self) -> str:
        """The collector's address without blanks; empty when off."""
        return self.collector_url.strip()


def _named(name: str, check: Callable[[Value], object], value: Value) -> None:
    try:
        check(value)
    except ValueError as error:
        raise ValueError(f"{name} {error}") from None
