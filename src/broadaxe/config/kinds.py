"""The types a setting can have: how its text is read, how it is shown, and what is allowed."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar
from uuid import UUID

from broadaxe.config import values

T = TypeVar("T")

_INT32_MAX = 2**31 - 1
_INT64_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """One type of setting.

    `label` names it in the documentation, `allowed` finishes the sentence "allowed: ..." of an error,
    `parse` turns text into the value or raises `ValueError`, `separator` is what joins the items of a list.
    """

    label: str
    allowed: str
    parse: Callable[[str], T]
    show: Callable[[T], str]
    separator: str | None = None
    is_switch: bool = False


def _same(text: str) -> str:
    return text


def _show_bool(value: bool) -> str:
    return "true" if value else "false"


def integer(low: int = 0, high: int = _INT64_MAX) -> Kind[int]:
    """A whole number between two inclusive bounds."""
    if high == _INT64_MAX:
        allowed = f"a whole number, {low} or more"
    else:
        allowed = f"a whole number from {low} to {high}"
    return Kind("integer", allowed, lambda text: values.parse_int(text, low, high), str)


def number(low: float, high: float | None = None) -> Kind[float]:
    """A finite number between two inclusive bounds."""
    if high is None:
        return Kind(
            "number",
            f"a number, {low:g} or more",
            lambda text: values.parse_float(text, low, 1e308),
            _show_float,
        )
    return Kind(
        "number",
        f"a number from {low:g} to {high:g}",
        lambda text: values.parse_float(text, low, high),
        _show_float,
    )


def _show_float(value: float) -> str:
    return f"{value:g}"


def _parse_optional_duration(text: str) -> float | None:
    return values.parse_duration(text) if text else None


def _show_optional_duration(value: float | None) -> str:
    return "" if value is None else values.format_duration(value)


def positive_duration() -> Kind[float]:
    """A duration above zero, in seconds."""

    def parse(text: str) -> float:
        value = values.parse_duration(text)
        if value <= 0:
            raise ValueError("not above zero")
        return value

    return Kind("duration", "a duration above zero such as 250ms, 5s, 1h30m", parse, values.format_duration)


def choice(*allowed: str, empty: bool = False, aliases: dict[str, str] | None = None) -> Kind[str]:
    """One of a few words, in any case; `empty` allows none of them, `aliases` maps other spellings."""

    def parse(text: str) -> str:
        word = text.strip().lower()
        word = (aliases or {}).get(word, word)
        if word in allowed or (empty and not word):
            return word
        raise ValueError("not one of them")

    return Kind("one of", "one of " + ", ".join(allowed), parse, _same)


def choices(*allowed: str) -> Kind[tuple[str, ...]]:
    """Words of a closed set, with spaces or commas between them."""

    def parse(text: str) -> tuple[str, ...]:
        words = values.split_spaces(text.replace(",", " "))
        if any(word not in allowed for word in words):
            raise ValueError("an unknown word among them")
        return words

    return Kind("list (spaces)", "words out of " + ", ".join(allowed), parse, " ".join, separator=" ")


def _parse_uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise ValueError("not a UUID") from None


def _parse_listen_address(text: str) -> values.HostPort:
    return values.parse_host_port(text, lowest_port=0, empty_host=True)


def _parse_optional_url(text: str) -> str:
    return values.parse_http_url(text) if text else ""


def _parse_optional_postgres_url(text: str) -> str:
    return values.parse_postgres_url(text) if text else ""


def _parse_optional_host_port(text: str) -> str:
    return str(values.parse_host_port(text)) if text else ""


_DURATION_FORMS = "a duration such as 250ms, 5s, 1h30m, 720h"
BOOL: Kind[bool] = Kind("switch", "true or false (t, f, 1, 0)", values.parse_bool, _show_bool, is_switch=True)
TEXT: Kind[str] = Kind("text", "any text", _same, _same)
PORT = integer(0, 65535)
COUNT = integer(0, _INT32_MAX)
POSITIVE = integer(1, _INT32_MAX)
PARTITIONS = integer(1, 64)
BYTES = integer(1, _INT64_MAX)
DURATION: Kind[float] = Kind("duration", _DURATION_FORMS, values.parse_duration, values.format_duration)
POSITIVE_DURATION = positive_duration()
OPTIONAL_DURATION: Kind[float | None] = Kind(
    "duration", _DURATION_FORMS, _parse_optional_duration, _show_optional_duration
)
RATIO: Kind[float] = Kind("number", "a number from 0 to 1", values.parse_trace_id_ratio, _show_float)
WORDS: Kind[tuple[str, ...]] = Kind(
    "list (spaces)", "words with spaces between them", values.split_spaces, " ".join, separator=" "
)
COMMA_LIST: Kind[tuple[str, ...]] = Kind(
    "list (commas)", "words with commas between them", values.split_commas, ",".join, separator=","
)
HTTP_URL: Kind[str] = Kind("URL", "a URL such as http://localhost:8080", _parse_optional_url, _same)
POSTGRES_URL: Kind[str] = Kind(
    "URL",
    "a URL such as postgres://user:password@host:5432/name, with an sslmode out of "
    + ", ".join(values.SSL_MODES),
    _parse_optional_postgres_url,
    _same,
)
COLLECTOR: Kind[str] = Kind(
    "host:port",
    "host:port without a scheme, the port from 1 to 65535, an IPv6 address in brackets ([::1]:4317)",
    values.parse_collector_address,
    _same,
)
HOST_PORT: Kind[str] = Kind(
    "host:port",
    "host:port without a scheme, the port from 1 to 65535",
    _parse_optional_host_port,
    _same,
)
LISTEN: Kind[values.HostPort] = Kind(
    "host:port",
    "host:port or :port, the port from 0 to 65535",
    _parse_listen_address,
    str,
)
BIND: Kind[str] = Kind("address", "an IP address or a host name", values.parse_bind_address, _same)
ID: Kind[UUID] = Kind("UUID", "a UUID", _parse_uuid, str)
LEVEL = choice(
    "trace", "debug", "info", "warn", "error", "fatal", "panic", "disabled", aliases={"warning": "warn"}
)
FORMAT = choice("json", "console", empty=True)
MIXED_LIST: Kind[tuple[str, ...]] = Kind(
    "list (spaces or commas)",
    "words with spaces or commas between them",
    lambda text: values.split_spaces(text.replace(",", " ")),
    " ".join,
    separator=" ",
)
RATE = number(0)
DAYS_AHEAD = integer(1, 366)
DATABASE_PORT = integer(1, 65535)
LEASE_BY = choice("lock", "time")
SERVICES = choices(
    "all",
    "grpc-api",
    "scheduler",
    "controllers",
    "health",
    # names of the older layout, which existing files still carry
    "ticker",
    "queue",
    "jobscontroller",
    "workflowscontroller",
    "retention",
    "grpc",
)
TLS_STRATEGY = choice("tls", "mtls", "none")
TLS_VERSION = choice("1.2", "1.3")
QUEUE_KIND = choice("postgres", "rabbitmq")
PUBSUB_KIND = choice("postgres", "rabbitmq", "nats", empty=True)
COMPRESSION = choice("none", "gzip")
GRPC_TRANSPORT = choice("grpcio", "lean")
EMAIL_KIND = choice("postmark", "smtp")
SSL_MODE = choice(*values.SSL_MODES)


def _parse_path(text: str) -> str:
    if not text.startswith("/") or any(character in text for character in " ?#"):
        raise ValueError("not a path")
    return text


URL_PATH: Kind[str] = Kind("path", "a path that begins with /", _parse_path, _same)
