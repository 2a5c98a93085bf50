"""The background export of metrics to the collector that also takes the traces."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.sdk.metrics.export import MetricsData

from broadaxe.clock import Clock
from broadaxe.telemetry.attempt import METRICS_METHOD, Attempt, ExportError
from broadaxe.telemetry.logs import RateLimited
from broadaxe.telemetry.metrics import Metrics
from broadaxe.telemetry.options import TelemetryOptions

if TYPE_CHECKING:
    from broadaxe.telemetry.collector import CollectorClient

_log = logging.getLogger("broadaxe.telemetry")


def _encode(data: MetricsData) -> bytes:
    try:
        return encode_metrics(data).SerializeToString()
    except Exception as error:
        # The encoder's text begins with the instrument and all its data, and ends with what is wrong.
        text = " ".join(str(error).split())
        told = text if len(text) <= 200 else f"{text[:80]} ... {text[-120:]}"
        raise ExportError(f"not to be written as OTLP: {type(error).__name__}: {told}") from error


class MetricExporter(Attempt):
    """Collects and sends all instruments every interval. A failure loses nothing: the state is cumulative."""

    def __init__(
        self, options: TelemetryOptions, client: CollectorClient, metrics: Metrics, clock: Clock
    ) -> None:
        self._options = options
        self._client = client
        self._metrics = metrics
        self._complaint = RateLimited(_log, clock, 60.0)
        self._fault_logger = RateLimited(_log, clock, 60.0)
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.exported = 0
        """Requests that the collector took."""

    def start(self) -> None:
        """Begins to export; needs a running event loop."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="telemetry-metrics")

    async def _run(self) -> None:
        while not self._stop.is_set():
            try:
                async with asyncio.timeout(self._options.tuning.metric_interval):
                    await self._stop.wait()
            except TimeoutError:
                await self.send()

    async def send(self) -> None:
        """Sends the present state once. It never raises: the next interval tries again."""
        try:
            data = self._metrics.collect()
            if data is None:
                return
            request = _encode(data)
            within = self._options.tuning.metric_timeout
            await self._client.export(METRICS_METHOD, request, self, within=within)
        except ExportError as error:
            self.failed(str(error))
        except Exception as error:
            # A fault of ours must not end the export for good.
            self._fault_logger.exception("could not export metrics (%s: %.200s)", type(error).__name__, error)
        else:
            self.exported += 1

    def failed(self, reason: str) -> None:
        self._complaint.warning(
            "cannot export metrics to the collector at %s (%s)", self._options.target, reason
        )

    async def shutdown(self, deadline: float) -> None:
        """Sends the last state within `deadline` seconds and ends."""
        self._stop.set()
        if self._task is None:
            return
        try:
            async with asyncio.timeout(deadline):
                await self._task
                await self.send()
        except TimeoutError:
            self.failed("no answer before the shutdown's deadline")
        self._task = None
