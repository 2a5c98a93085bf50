"""The background export of spans: whatever the collector does, callers notice nothing but a counter."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from broadaxe.clock import Clock
from broadaxe.telemetry.attempt import TRACES_METHOD, Attempt, ExportError
from broadaxe.telemetry.encode import Envelope
from broadaxe.telemetry.logs import RateLimited
from broadaxe.telemetry.options import TelemetryOptions
from broadaxe.telemetry.span_queue import DROP_EXPORT_FAILED, Batch, SpanQueue

if TYPE_CHECKING:
    from broadaxe.telemetry.collector import CollectorClient

_logger = logging.getLogger("broadaxe.telemetry")

_AFTER_FAULT = 1.0
"""Seconds that the export pauses after an error that nobody foresaw."""


@dataclass(frozen=True, slots=True)
class ExportStats:
    """What became of every span; `created` is `exported` + the sum of `dropped` + `pending`."""

    created: int
    exported: int
    dropped: dict[str, int]
    pending: int
    bytes: int


class SpanExporter(Attempt):
    """Takes ended spans and sends them in batches from a task of its own."""

    def __init__(
        self, options: TelemetryOptions, client: CollectorClient, envelope: Envelope, clock: Clock
    ) -> None:
        self._options = options
        self._client = client
        self._envelope = envelope
        self._wake = asyncio.Event()
        self._settled = asyncio.Event()
        self._gate = asyncio.Semaphore(options.tuning.concurrency)
        self._queue = SpanQueue(options.tuning, clock, self._wake.set)
        self._complaint = RateLimited(_logger, clock, 60.0)
        self._fault_logger = RateLimited(_logger, clock, 60.0)
        self._pump_task: asyncio.Task[None] | None = None
        self._sends: set[asyncio.Task[None]] = set()
        self._flushing = False
        self._failing = False
        self.offer = self._queue.offer
        """The tracer's sink."""

    def start(self) -> None:
        """Begins to export; needs a running event loop. Spans that ended before are waiting."""
        if self._pump_task is None:
            self._pump_task = asyncio.get_running_loop().create_task(self._pump(), name="telemetry-export")

    def stats(self) -> ExportStats:
        """The counters of this moment."""
        queue = self._queue
        return ExportStats(queue.created, queue.exported, dict(queue.dropped), queue.pending, queue.bytes)

    def confirmed_before(self) -> int:
        """Wall clock in nanoseconds before which every ended span has been exported or counted as dropped.

        The engine stores it, so that after a crash it re-emits from rows only what may be missing.
        """
        return self._queue.confirmed_before()

    async def flush(self, timeout: float) -> bool:
        """Sends what is waiting now; True when nothing is pending any more within `timeout` seconds."""
        self._flushing = True
        self._wake.set()
        try:
            async with asyncio.timeout(timeout):
                while self._queue.pending:
                    self._settled.clear()
                    await self._settled.wait()
        except TimeoutError:
            return False
        finally:
            self._flushing = False
        return True

    async def shutdown(self, deadline: float) -> None:
        """Sends what is waiting for at most `deadline` seconds, counts the rest as dropped, and ends."""
        self._queue.close()
        self._client.hurry()
        if self._pump_task is not None:
            await self.flush(deadline)
            for task in (self._pump_task, *self._sends):
                task.cancel()
            await asyncio.gather(self._pump_task, *self._sends, return_exceptions=True)
            self._pump_task = None
        self._queue.abandon()

    async def _pump(self) -> None:
        while True:
            try:
                await self._company()
                await self._hand_over()
            except Exception as error:
                # The export must not end in silence; and a fault that stays must not take the processor.
                self._fault_logger.exception("could not send spans (%s: %.200s)", type(error).__name__, error)
                await asyncio.sleep(_AFTER_FAULT)

    async def _hand_over(self) -> None:
        """Gives a batch to a task that sends it, as soon as one more may be under way."""
        await self._gate.acquire()
        batch: Batch | None = None
        task: asyncio.Task[None] | None = None
        try:
            batch = self._queue.take()
            if batch is not None:
                task = asyncio.get_running_loop().create_task(self._deliver(batch), name="telemetry-send")
                self._sends.add(task)
                task.add_done_callback(self._sends.discard)
        finally:
            if task is None:
                self._gate.release()
                if batch is not None:
                    self._queue.settle(batch, lost=DROP_EXPORT_FAILED)
                    self._settled.set()

    async def _company(self) -> None:
        """Waits until a batch is full, or the first span of one has waited long enough; idle, it sleeps."""
        while not self._queue.waiting:
            self._wake.clear()
            await self._wake.wait()
        try:
            async with asyncio.timeout(self._options.tuning.delay):
                while not self._queue.full_batches and not self._flushing:
                    self._wake.clear()
                    await self._wake.wait()
        except TimeoutError:
            return

    async def _deliver(self, batch: Batch) -> None:
        try:
            request = self._envelope.wrap(batch.spans)
            response = await self._client.export(TRACES_METHOD, request, self)
            rejected = self._rejected(response)
        except ExportError as error:
            self.failed(str(error))
            self._queue.settle(batch, lost=DROP_EXPORT_FAILED)
        except Exception as error:
            # A fault of ours must not leave the batch pending for ever.
            self._fault_logger.exception("could not send spans (%s: %.200s)", type(error).__name__, error)
            self._queue.settle(batch, lost=DROP_EXPORT_FAILED)
        else:
            self._queue.settle(batch, rejected=rejected)
            self._recovered()
        finally:
            self._gate.release()
            self._settled.set()

    def _rejected(self, response: bytes) -> int:
        if not response:
            return 0
        try:
            partial = ExportTraceServiceResponse.FromString(response).partial_success
        except DecodeError:
            self._complaint.warning("the collector at %s sent an unreadable response", self._options.target)
            return 0
        if partial.rejected_spans or partial.error_message:
            self._complaint.warning(
                "the collector at %s rejected %d spans: %.200s",
                self._options.target,
                partial.rejected_spans,
                partial.error_message,
            )
        return int(partial.rejected_spans)

    def failed(self, reason: str) -> None:
        self._failing = True
        lost = sum(self._queue.dropped.values())
        self._complaint.warning(
            "cannot export traces to the collector at %s (%s); the server runs on, %d spans lost so far",
            self._options.target,
            reason,
            lost,
        )

    def _recovered(self) -> None:
        if self._failing:
            self._failing = False
            self._complaint.reset()
            _logger.info("the collector at %s takes traces again", self._options.target)
