"""Small pure parsers: one function a form of value, each from text, each refusing with a reason.

Every parser takes the text as an operator wrote it and returns the typed value or raises `ValueError`.
The message of that error says what is wrong without repeating the value, since the value may be a secret.
"""

import ipaddress
import math
import re
from decimal import Decimal
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})
_INTEGER = re.compile(r"[+-]?[0-9]+\Z")
_DURATION = re.compile(r"([+-]?)((?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:ns|us|µs|μs|ms|s|m|h))+)\Z")
_DURATION_PART = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)")
_NANOSECONDS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_MAX_DURATION_NS = 2**63 - 1
_HOST_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)\Z")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")

SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
"""The values PostgreSQL clients know for `sslmode`."""


class HostPort(NamedTuple):
    """A host and a port; prints as `host:port`, with brackets around an IPv6 address."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_bool(text: str) -> bool:
    """A switch in the forms Go accepts: 1, t, T, true, TRUE, True and their opposites."""
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError("not a switch")


def parse_int(text: str, low: int, high: int) -> int:
    """A decimal whole number within two inclusive bounds."""
    if not _INTEGER.match(text):
        raise ValueError("not a whole number")
    value = int(text)
    if not low <= value <= high:
        raise ValueError("out of range")
    return value


def parse_float(text: str, low: float, high: float) -> float:
    """A finite number within two inclusive bounds."""
    try:
        value = float(text)
    except ValueError:
        raise ValueError("not a number") from None
    if "_" in text or not math.isfinite(value):
        raise ValueError("not a finite number")
    if not low <= value <= high:
        raise ValueError("out of range")
    return value


def parse_duration(text: str) -> float:
    """A Go duration (`250ms`, `5s`, `1h30m`, `720h`, `0`) as seconds, never negative."""
    if text in {"0", "+0", "-0"}:
        return 0.0
    match = _DURATION.match(text)
    if match is None:
        raise ValueError("not a duration")
    total = sum(
        (Decimal(number) * _NANOSECONDS[unit] for number, unit in _DURATION_PART.findall(match[2])),
        Decimal(0),
    )
    if match[1] == "-" and total:
        raise ValueError("negative")
    if total > _MAX_DURATION_NS:
        raise ValueError("too long")
    return float(total / 1_000_000_000)


def format_duration(seconds: float) -> str:
    """Seconds as a Go duration in its shortest usual form: `250ms`, `90s` as `1m30s`, `720h`."""
    nanoseconds = round(seconds * 1_000_000_000)
    if nanoseconds == 0:
        return "0s"
    parts: list[str] = []
    for unit in ("h", "m", "s", "ms", "us", "ns"):
        count, nanoseconds = divmod(nanoseconds, _NANOSECONDS[unit])
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)


def split_spaces(text: str) -> tuple[str, ...]:
    """A list written with spaces between its items."""
    return tuple(text.split())


def split_commas(text: str) -> tuple[str, ...]:
    """A list written with commas between its items; blanks around an item do not count."""
    return tuple(item for item in (part.strip() for part in text.split(",")) if item)


def _check_host(host: str) -> None:
    if host.startswith("[") or host.endswith("]"):
        raise ValueError("brackets belong around an IPv6 address only")
    name = host.removesuffix(".")
    if not name or len(name) > 253 or not all(_HOST_NAME.match(label) for label in name.split(".")):
        raise ValueError("the host is not a name or an address")


def parse_host_port(text: str, *, lowest_port: int = 1, empty_host: bool = False) -> HostPort:
    """`host:port` without a scheme, an IPv6 address in brackets (`[::1]:4317`).

    With `empty_host`, `:9090` is allowed too and yields an empty host, which means every address.
    """
    if _SCHEME.match(text):
        raise ValueError("it has a scheme")
    if any(character in text for character in "/?#@ \t\r\n"):
        raise ValueError("it has more than a host and a port")
    if text.startswith("["):
        inner, bracket, rest = text[1:].partition("]")
        if not bracket:
            raise ValueError("the bracket is not closed")
        if not rest.startswith(":"):
            raise ValueError("the port is missing")
        try:
            ipaddress.IPv6Address(inner)
        except ValueError:
            raise ValueError("not an IPv6 address between the brackets") from None
        return HostPort(inner, _parse_port(rest[1:], lowest_port))
    host, colon, port = text.rpartition(":")
    if not colon:
        raise ValueError("the port is missing")
    if ":" in host:
        raise ValueError("an IPv6 address needs brackets")
    if host or not empty_host:
        _check_host(host)
    return HostPort(host, _parse_port(port, lowest_port))


def _parse_port(text: str, lowest: int) -> int:
    if not text:
        raise ValueError("the port is missing")
    if not (text.isascii() and text.isdigit()) or not lowest <= int(text) <= 65535:
        raise ValueError(f"the port is not a number from {lowest} to 65535")
    return int(text)


def parse_collector_address(text: str) -> str:
    """The address of an OpenTelemetry collector: `host:port`, no scheme, port 1 to 65535. Empty means off."""
    return str(parse_host_port(text)) if text else ""


def parse_trace_id_ratio(text: str) -> float:
    """The share of traces to keep: a finite number from 0 to 1."""
    return parse_float(text, 0.0, 1.0)


def parse_bind_address(text: str) -> str:
    """A host name or an IP address to listen on; brackets around an IPv6 address are taken off."""
    inner = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        return str(ipaddress.ip_address(inner))
    except ValueError:
        _check_host(text)
        return text


def parse_http_url(text: str) -> str:
    """An `http://` or `https://` URL with a host; a slash at its end is taken off."""
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("not an http or https URL")
    _ = parts.port  # refuses a port that is not a number from 0 to 65535
    return text.rstrip("/")


def parse_postgres_url(text: str) -> str:
    """A `postgres://` or `postgresql://` URL, whose `sslmode`, when given, is one PostgreSQL knows."""
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        raise ValueError("not a URL") from None
    if parts.scheme not in {"postgres", "postgresql"}:
        raise ValueError("not a postgres URL")
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name == "sslmode" and value not in SSL_MODES:
            raise ValueError("unknown sslmode")
    return text
