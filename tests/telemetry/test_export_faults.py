"""A collector that is down, slow, refusing or hanging changes nothing but a counter and a log line."""

import asyncio
import logging
import time

import grpc
import pytest
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)

from broadaxe.telemetry import names as T
from broadaxe.telemetry.context import TraceContext
from broadaxe.telemetry.receiver import Receiver
from broadaxe.telemetry.runtime import Telemetry, Tuning
from broadaxe.testkit.ports import closed_port, free_port
from tests.telemetry.conftest import MakeReceiver, conserved, make_telemetry, running

PLACE = TraceContext(b"\x01" * 16, b"\x02" * 8, True)


def emit(telemetry: Telemetry, count: int) -> None:
    for _ in range(count):
        telemetry.tracer.emit(T.SPAN_FLUSH, PLACE, 1, 2)


async def test_down_collector_loses_with_a_count_and_one_line(caplog: pytest.LogCaptureFixture) -> None:
    # Long enough for the first call to be refused, however slow this machine is.
    tuning = Tuning(delay=0.01, batch_size=50, export_timeout=2)
    async with running(make_telemetry(f"127.0.0.1:{closed_port()}", tuning=tuning)) as telemetry:
        emit(telemetry, 100)
        assert await telemetry.flush(30)
        assert telemetry.stats().dropped["export_failed"] == 100
        assert conserved(telemetry)
    complaints = [record for record in caplog.records if "cannot export" in record.getMessage()]
    assert len(complaints) == 1
    assert "UNAVAILABLE" in complaints[0].getMessage()
    assert "\n" not in complaints[0].getMessage()


async def test_unresolvable_collector_is_one_clear_line(caplog: pytest.LogCaptureFixture) -> None:
    tuning = Tuning(delay=0.01, export_timeout=2, call_timeout=20)
    async with running(make_telemetry("no-such-host.invalid:4317", tuning=tuning)) as telemetry:
        emit(telemetry, 1)
        assert await telemetry.flush(20)
        assert telemetry.stats().dropped["export_failed"] == 1
    complaints = [record for record in caplog.records if "no-such-host.invalid:4317" in record.getMessage()]
    (complaint,) = [one.getMessage() for one in complaints if one.levelno == logging.WARNING]
    assert "cannot be resolved" in complaint


async def test_hanging_collector_memory_is_capped_and_shutdown_keeps_its_deadline(
    make_receiver: MakeReceiver, never: asyncio.Event
) -> None:
    async def hang(request, context):
        await never.wait()
        return ExportTraceServiceResponse()

    receiver = await make_receiver(answer=hang)
    tuning = Tuning(delay=0.01, queue_size=500, batch_size=100, export_timeout=60, call_timeout=60)
    telemetry = make_telemetry(receiver.target, tuning=tuning)
    await telemetry.start()
    emit(telemetry, 5000)
    assert await receiver.wait_for(lambda: len(receiver.headers) == 2, 30)
    stats = telemetry.stats()
    assert stats.pending <= 500
    assert stats.dropped["queue_full"] == 4500
    assert telemetry.confirmed_before() < time.time_ns()
    began = time.monotonic()
    await telemetry.shutdown(0.3)
    assert time.monotonic() - began < 30, "not the minute that an export may take"
    stats = telemetry.stats()
    assert (stats.pending, stats.dropped["shutdown"]) == (0, 500)
    assert conserved(telemetry)


async def test_hanging_collector_call_times_out_and_is_lost(
    make_receiver: MakeReceiver, never: asyncio.Event
) -> None:
    async def hang(request, context):
        await never.wait()
        return ExportTraceServiceResponse()

    receiver = await make_receiver(answer=hang)
    tuning = Tuning(delay=0.01, call_timeout=0.1, export_timeout=0.2)
    async with running(make_telemetry(receiver.target, tuning=tuning)) as telemetry:
        emit(telemetry, 5)
        assert await telemetry.flush(30)
        assert telemetry.stats().dropped["export_failed"] == 5


async def test_slow_collector_does_not_slow_the_caller(make_receiver: MakeReceiver) -> None:
    gate = asyncio.Event()

    async def slow(request, context):
        await gate.wait()
        return ExportTraceServiceResponse()

    receiver = await make_receiver(answer=slow)
    async with running(
        make_telemetry(receiver.target, tuning=Tuning(delay=0.01, batch_size=50))
    ) as telemetry:
        spent = []
        for _ in range(5):
            began = time.thread_time()
            emit(telemetry, 400)
            spent.append((time.thread_time() - began) / 400)
        # The garbage of the whole process may be collected in one of them.
        assert min(spent) < 100e-6
        gate.set()
        assert await telemetry.flush(30)
        assert telemetry.stats().exported == 2000


async def test_refusing_collector_is_not_asked_again(make_receiver: MakeReceiver) -> None:
    async def refuse(request, context):
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, "no")

    receiver = await make_receiver(answer=refuse)
    async with running(make_telemetry(receiver.target)) as telemetry:
        emit(telemetry, 3)
        assert await telemetry.flush(30)
        assert telemetry.stats().dropped["export_failed"] == 3
    assert len(receiver.headers) == 1


async def test_unavailable_collector_is_asked_again(make_receiver: MakeReceiver) -> None:
    calls = 0

    async def later(request, context):
        nonlocal calls
        calls += 1
        if calls == 1:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "later")
        return ExportTraceServiceResponse()

    receiver = await make_receiver(answer=later)
    async with running(make_telemetry(receiver.target)) as telemetry:
        emit(telemetry, 3)
        assert await telemetry.flush(30)
        assert telemetry.stats().exported == 3
    assert calls == 2


def throttle(seconds: float | None):
    detail = Any()
    if seconds is not None:
        detail.Pack(RetryInfo(retry_delay=Duration(nanos=int(seconds * 1e9))))
    status = Status(code=8, message="slow down", details=[detail] if seconds is not None else [])
    return (("grpc-status-details-bin", status.SerializeToString()),)


@pytest.mark.parametrize(("seconds", "asked_again"), [(0.01, True), (None, False)])
async def test_exhausted_collector_is_asked_again_only_when_it_says_when(
    make_receiver: MakeReceiver, seconds: float | None, asked_again: bool
) -> None:
    calls = 0

    async def later(request, context):
        nonlocal calls
        calls += 1
        if calls == 1:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "slow down", throttle(seconds))
        return ExportTraceServiceResponse()

    receiver = await make_receiver(answer=later)
    async with running(make_telemetry(receiver.target)) as telemetry:
        emit(telemetry, 3)
        assert await telemetry.flush(30)
        assert telemetry.stats().exported == (3 if asked_again else 0)
        assert conserved(telemetry)


async def test_partial_success_counts_the_rejected(make_receiver: MakeReceiver) -> None:
    async def partly(request, context):
        return ExportTraceServiceResponse(
            partial_success=ExportTracePartialSuccess(rejected_spans=4, error_message="too many")
        )

    receiver = await make_receiver(answer=partly)
    async with running(make_telemetry(receiver.target)) as telemetry:
        emit(telemetry, 10)
        assert await telemetry.flush(30)
        stats = telemetry.stats()
    assert (stats.exported, stats.dropped["rejected"]) == (6, 4)
    assert len(receiver.spans) == 6


async def test_collector_that_comes_back_gets_what_waited_and_what_follows(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    port = free_port()
    tuning = Tuning(delay=0.01, export_timeout=30)
    async with running(make_telemetry(f"127.0.0.1:{port}", tuning=tuning)) as telemetry:
        emit(telemetry, 3)
        assert not await telemetry.flush(0.2)
        receiver = Receiver(port=port)
        await receiver.start()
        try:
            assert await telemetry.flush(20)
            emit(telemetry, 2)
            assert await telemetry.flush(30)
        finally:
            await receiver.stop()
        assert len(receiver.spans) == telemetry.stats().exported == 5
        assert conserved(telemetry)
    assert any("takes traces again" in record.getMessage() for record in caplog.records)


async def test_shutdown_with_dead_collector_is_clean_and_quick() -> None:
    telemetry = make_telemetry(f"127.0.0.1:{closed_port()}", metrics_enabled=True, tuning=Tuning(delay=3600))
    await telemetry.start()
    emit(telemetry, 10)
    began = time.monotonic()
    await telemetry.shutdown(60)
    assert time.monotonic() - began < 30
    stats = telemetry.stats()
    assert stats.pending == 0
    assert sum(stats.dropped.values()) == 10
