"""Logs: one JSON object a line, or plain lines on a terminal, each with the ids of the current span."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

from broadaxe.clock import Clock
from broadaxe.telemetry.span import Span
from broadaxe.telemetry.tracer import current_span

LogFormat = Literal["json", "console", "auto"]
LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "fatal": logging.CRITICAL,
}

_LEVEL_NAMES = {
    logging.DEBUG: "debug",
    logging.INFO: "info",
    logging.WARNING: "warn",
    logging.ERROR: "error",
    logging.CRITICAL: "fatal",
}
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {
    "message",
    "asctime",
    "taskName",
    "trace_id",
    "span_id",
}
_LEFT_OUT = _STANDARD | {"color_message"}
_RESERVED = frozenset(("time", "level", "logger", "message", "trace_id", "span_id", "error"))


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    """What the caller passed as `extra`, without the coloured copies that uvicorn adds of its texts."""
    return {key: value for key, value in vars(record).items() if key not in _LEFT_OUT}


def _trace_ids() -> tuple[str, str] | None:
    span = current_span()
    return (span.trace_id.hex(), span.span_id.hex()) if isinstance(span, Span) else None


def _time(record: logging.LogRecord) -> str:
    return (
        datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, the extra fields, trace_id and span_id."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "time": _time(record),
            "level": _LEVEL_NAMES.get(record.levelno, record.levelname.lower()),
            "logger": record.name,
            "message": record.getMessage(),
        }
        for key, value in _fields(record).items():
            entry[f"field_{key}" if key in _RESERVED else key] = value
        if (ids := _trace_ids()) is not None:
            entry["trace_id"], entry["span_id"] = ids
        if record.exc_info:
            entry["error"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str, ensure_ascii=False)


class ConsoleFormatter(logging.Formatter):
    """A line for people: time, level, message, fields; the trace id when there is one."""

    def format(self, record: logging.LogRecord) -> str:
        level = _LEVEL_NAMES.get(record.levelno, record.levelname.lower())
        parts = [_time(record)[11:23], f"{level:<5}", record.getMessage()]
        parts += [f"{key}={value}" for key, value in _fields(record).items()]
        if (ids := _trace_ids()) is not None:
            parts.append(f"trace={ids[0]}")
        line = " ".join(parts)
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class _Handler(logging.StreamHandler[TextIO]):
    """The one handler that `configure` installs, so that it can be told from others."""


def configure(level: str = "info", fmt: LogFormat = "auto", stream: TextIO | None = None) -> None:
    """Sends all logs to `stream` (standard error). `auto` is console on a terminal and JSON elsewhere.

    Raises ValueError with one line on an unknown level. Calling it again replaces the former set-up.
    """
    number = LEVELS.get(level.strip().lower())
    if number is None:
        raise ValueError(f"unknown log level {level!r}: one of {', '.join(LEVELS)}")
    target = stream if stream is not None else sys.stderr
    console = fmt == "console" or (fmt == "auto" and target.isatty())
    handler = _Handler(target)
    handler.setFormatter(ConsoleFormatter() if console else JsonFormatter())
    root = logging.getLogger()
    for former in [one for one in root.handlers if isinstance(one, _Handler)]:
        root.removeHandler(former)
    root.addHandler(handler)
    root.setLevel(number)


class RateLimited:
    """Logs at most one line in an interval and says in the next how many it kept back."""

    def __init__(self, logger: logging.Logger, clock: Clock, interval: float = 60.0) -> None:
        self._logger = logger
        self._clock = clock
        self._interval = interval
        self._next: float | None = None
        self._kept_back = 0

    def warning(self, message: str, *args: object) -> None:
        """Logs a warning, unless the interval (seconds) since the last line has not passed."""
        self._tell(logging.WARNING, message, args)

    def exception(self, message: str, *args: object) -> None:
        """The same for an error, with the traceback of the exception that is being handled."""
        self._tell(logging.ERROR, message, args)

    def _tell(self, level: int, message: str, args: tuple[object, ...]) -> None:
        now = self._clock.monotonic()
        if self._next is not None and now < self._next:
            self._kept_back += 1
            return
        self._next = now + self._interval
        if self._kept_back:
            message += f" ({self._kept_back} like it since the last line)"
        self._kept_back = 0
        self._logger.log(level, message, *args, exc_info=level >= logging.ERROR)

    def reset(self) -> None:
        """Starts afresh: what was kept back is forgotten. The interval still holds."""
        self._kept_back = 0
