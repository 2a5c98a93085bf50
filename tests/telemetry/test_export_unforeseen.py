"""An error that nobody foresaw costs one batch or one interval, is told once a minute, and ends nothing."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

import pytest

from broadaxe.clock import Clock, Ids, SystemClock
from broadaxe.telemetry import names as T
from broadaxe.telemetry.attempt import Attempt
from broadaxe.telemetry.collector import CollectorClient
from broadaxe.telemetry.encode import Envelope
from broadaxe.telemetry.export import SpanExporter
from broadaxe.telemetry.metric_export import MetricExporter
from broadaxe.telemetry.metrics import Labels, Metrics
from broadaxe.telemetry.receiver import Receiver
from broadaxe.telemetry.runtime import TelemetryOptions, Tuning
from tests.telemetry.conftest import QUICK, SeededIds, conserved, make_telemetry, running
from tests.telemetry.test_export_faults import emit

BEYOND_OTLP = 2**70
"""A whole number that does not fit into OTLP's 64 bits."""


def faults(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The errors that were logged; each has its traceback."""
    told = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert all(record.exc_info for record in told)
    return [record.getMessage() for record in told]


class Raises(CollectorClient):
    """A client with a bug."""

    def __init__(self, options: TelemetryOptions, clock: Clock, ids: Ids) -> None:
        super().__init__(options, clock, ids)
        self.asked = 0
        self.asked_three_times = asyncio.Event()

    async def export(
        self, method: str, request: bytes, attempt: Attempt, *, within: float | None = None
    ) -> bytes:
        self.asked += 1
        if self.asked == 3:
            self.asked_three_times.set()
        raise KeyError("bug")


class GivesText(CollectorClient):
    """A client whose answer is of a type that nobody expects."""

    async def export(
        self, method: str, request: bytes, attempt: Attempt, *, within: float | None = None
    ) -> Any:
        return "text"


def complaints(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


async def test_metrics_that_cannot_be_encoded_are_told_once_and_sent_when_they_can(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    asked = 0

    def ask() -> list[tuple[float, Labels]]:
        nonlocal asked
        asked += 1
        return [(BEYOND_OTLP if asked <= 3 else 1, ())]

    tuning = Tuning(delay=0.01, metric_interval=0.01)
    async with running(make_telemetry(receiver.target, metrics_enabled=True, tuning=tuning)) as telemetry:
        telemetry.metrics.observe(T.METRIC_GRPC_CONNECTIONS, ask)
        assert await receiver.wait_for(lambda: len(receiver.metrics) >= 1, 30)
    assert asked > 3
    (told,) = complaints(caplog)
    assert T.METRIC_GRPC_CONNECTIONS.name in told
    assert "Value out of range" in told
    assert len(told) < 400
    assert "\n" not in told


async def test_metrics_that_cannot_be_encoded_do_not_stop_a_shutdown(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    telemetry = make_telemetry(receiver.target, metrics_enabled=True)
    await telemetry.start()
    telemetry.metrics.observe(T.METRIC_GRPC_CONNECTIONS, lambda: [(BEYOND_OTLP, ())])
    await telemetry.shutdown(30)
    assert len(complaints(caplog)) == 1
    assert not receiver.metrics


async def test_metrics_go_on_after_a_bug_of_the_client(caplog: pytest.LogCaptureFixture) -> None:
    tuning = Tuning(metric_interval=0.01)
    options = TelemetryOptions(collector_url="127.0.0.1:1", insecure=True, tuning=tuning)
    client = Raises(options, SystemClock(), SeededIds())
    metrics = Metrics({}, "1", enabled=True)
    exporter = MetricExporter(options, client, metrics, SystemClock())
    exporter.start()
    async with asyncio.timeout(30):
        await client.asked_three_times.wait()
    await exporter.shutdown(30)
    assert exporter.exported == 0
    assert faults(caplog) == ["could not export metrics (KeyError: 'bug')"]


@pytest.mark.parametrize(("kind", "reason"), [(Raises, "KeyError: 'bug'"), (GivesText, "TypeError: ")])
async def test_batches_that_cannot_be_sent_are_counted_and_told_once(
    kind: type[CollectorClient], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    options = TelemetryOptions(collector_url="127.0.0.1:1", insecure=True, tuning=QUICK)
    client = kind(options, SystemClock(), SeededIds())
    exporter = SpanExporter(options, client, Envelope({}, "a", "1", ""), SystemClock())
    for _ in range(3 * QUICK.batch_size):
        exporter.offer(b"\x12\x00")
    exporter.start()
    assert await exporter.flush(30)
    stats = exporter.stats()
    assert stats.dropped["export_failed"] == stats.created == 3 * QUICK.batch_size
    (told,) = faults(caplog)
    assert told.startswith(f"could not send spans ({reason}")
    await exporter.shutdown(1)


async def test_the_export_of_spans_goes_on_after_a_fault_of_its_loop(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    loop = asyncio.get_running_loop()
    refused = 0

    def refuse_one(
        of: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any], **settings: Any
    ) -> asyncio.Task[Any]:
        nonlocal refused
        if work.__name__ == "_deliver" and not refused:
            refused += 1
            work.close()
            raise RuntimeError("no more tasks")
        return asyncio.Task(work, loop=of, **settings)

    async with running(make_telemetry(receiver.target, tuning=Tuning(delay=0.01, concurrency=1))) as one:
        loop.set_task_factory(refuse_one)
        try:
            emit(one, 2)
            assert await one.flush(30)
            emit(one, 3)
            assert await one.flush(30)
        finally:
            loop.set_task_factory(None)
        assert (one.stats().dropped["export_failed"], one.stats().exported) == (2, 3)
        assert conserved(one)
    assert faults(caplog) == ["could not send spans (RuntimeError: no more tasks)"]
