import io
import json
import logging
from collections.abc import Iterator

import pytest

from broadaxe.clock import SystemClock, SystemIds
from broadaxe.telemetry import logs
from broadaxe.telemetry import names as T
from broadaxe.telemetry.sampler import Sampler
from broadaxe.telemetry.span import Span
from broadaxe.telemetry.tracer import Tracer


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    yield io.StringIO()
    root.setLevel(level)
    root.handlers[:] = handlers


def test_json_line_has_fields_and_no_trace_without_span(stream: io.StringIO) -> None:
    logs.configure("info", "auto", stream)
    logging.getLogger("broadaxe.x").info("hello %s", "you", extra={"tenant": "t", "level": "mine"})
    entry = json.loads(stream.getvalue())
    assert entry["message"] == "hello you"
    assert (entry["level"], entry["logger"], entry["tenant"]) == ("info", "broadaxe.x", "t")
    assert entry["field_level"] == "mine"
    assert "trace_id" not in entry


def test_json_line_under_a_span_has_its_ids(stream: io.StringIO) -> None:
    logs.configure("info", "json", stream)
    tracer = Tracer(SystemClock(), SystemIds(), lambda span: None, Sampler(1.0))
    span = tracer.start(T.SPAN_FLUSH)
    assert isinstance(span, Span)
    with tracer.use(span):
        logging.getLogger("broadaxe.x").warning("inside")
    entry = json.loads(stream.getvalue())
    assert entry["trace_id"] == span.trace_id.hex()
    assert entry["span_id"] == span.span_id.hex()
    assert entry["level"] == "warn"


def test_json_line_with_exception_stays_one_line(stream: io.StringIO) -> None:
    logs.configure("info", "json", stream)
    try:
        raise ValueError("a\nb")
    except ValueError:
        logging.getLogger("broadaxe.x").exception("failed")
    assert stream.getvalue().count("\n") == 1
    assert "ValueError" in json.loads(stream.getvalue())["error"]


def test_console_line_is_for_people(stream: io.StringIO) -> None:
    logs.configure("debug", "console", stream)
    logging.getLogger("broadaxe.x").debug("hello", extra={"n": 1})
    assert stream.getvalue().endswith("debug hello n=1\n")


def test_configure_twice_writes_each_line_once(stream: io.StringIO) -> None:
    logs.configure("info", "json", io.StringIO())
    logs.configure("warn", "json", stream)
    logging.getLogger("broadaxe.x").info("quiet")
    logging.getLogger("broadaxe.x").warning("loud")
    assert stream.getvalue().count("\n") == 1


def test_configure_unknown_level_raises() -> None:
    with pytest.raises(ValueError, match="unknown log level"):
        logs.configure("loud")


def test_rate_limited_second_line_waits_and_counts(caplog: pytest.LogCaptureFixture) -> None:
    class Clock(SystemClock):
        now_s = 0.0

        def monotonic(self) -> float:
            return self.now_s

    clock = Clock()
    limited = logs.RateLimited(logging.getLogger("broadaxe.x"), clock, 60.0)
    for _ in range(5):
        limited.warning("no %s", "way")
    clock.now_s = 61.0
    limited.warning("no %s", "way")
    assert [record.getMessage() for record in caplog.records] == [
        "no way",
        "no way (4 like it since the last line)",
    ]
