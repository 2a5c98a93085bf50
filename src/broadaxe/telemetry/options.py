"""What telemetry is told to do: the page's settings, and the checks that the configuration uses too."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from broadaxe.telemetry.tuning import Tuning

_HOST = r"\[[0-9A-Fa-f:.]+(?:%[0-9A-Za-z._-]+)?\]|[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,252})"
_HOST_PORT = re.compile(rf"({_HOST}):([0-9]{{1,5}})")
_PRINTABLE = re.compile(r"[\x20-\x7e]*")
_LISTEN = re.compile(rf"({_HOST})?:([0-9]{{1,5}})")

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
