"""All of a process's telemetry in one object: build it, start it, use its parts, shut it down."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from broadaxe.clock import Clock, Ids
from broadaxe.telemetry import names as T
from broadaxe.telemetry.encode import Envelope
from broadaxe.telemetry.export import ExportStats, SpanExporter
from broadaxe.telemetry.health import HttpListener, Reply
from broadaxe.telemetry.metrics import Labels, Metrics
from broadaxe.telemetry.options import (
    TelemetryOptions,
    check_auth,
    check_collector_url,
    check_listen_address,
    check_ratio,
)
from broadaxe.telemetry.prometheus import CONTENT_TYPE, render
from broadaxe.telemetry.resource import build_resource, product_version
from broadaxe.telemetry.sampler import Sampler
from broadaxe.telemetry.tracer import Tracer
from broadaxe.telemetry.tuning import Tuning

if TYPE_CHECKING:
    from broadaxe.telemetry.collector import CollectorClient
    from broadaxe.telemetry.metric_export import MetricExporter

__all__ = [
    "Telemetry",
    "TelemetryOptions",
    "Tuning",
    "check_auth",
    "check_collector_url",
    "check_listen_address",
    "check_ratio",
]

_log = logging.getLogger("broadaxe.telemetry")


class Telemetry:
    """Tracer, metrics and their exporters of one process.

    `tracer` and `metrics` work from the beginning; spans wait in the queue until `start`. `strict` makes both
    raise on what the contract does not declare; tests use it.
    """

    def __init__(self, options: TelemetryOptions, clock: Clock, ids: Ids, *, strict: bool = False) -> None:
        self.options = options
        self._clock = clock
        version = product_version()
        self.resource = build_resource(options, ids)
        on = bool(options.target)
        self._client = _client(options, clock, ids) if on else None
        self._exporter: SpanExporter | None = None
        self._metric_exporter: MetricExporter | None = None
        self._listener: HttpListener | None = None
        otlp_metrics = on and options.metrics_enabled
        self.metrics = Metrics(
            self.resource,
            version,
            enabled=otlp_metrics or options.prometheus_enabled,
            strict=strict,
            clock=clock,
        )
        if self._client is not None:
            envelope = Envelope(self.resource, T.SCOPE, version, T.SCHEMA_URL)
            self._exporter = SpanExporter(options, self._client, envelope, clock)
            if otlp_metrics:
                self._metric_exporter = _metric_exporter(options, self._client, self.metrics, clock)
        sink = self._exporter.offer if self._exporter is not None else None
        self.tracer = Tracer(clock, ids, sink, Sampler(options.ratio), strict=strict)
        self._observe_self()

    def _observe_self(self) -> None:
        """Telemetry's own losses are metrics too."""
        metrics = self.metrics
        metrics.observe(T.METRIC_METRIC_SERIES, lambda: [(metrics.series, ())])
        if self._exporter is None:
            return
        stats = self._exporter.stats
        metrics.observe(T.METRIC_SPANS_CREATED, lambda: [(stats().created, ())])
        metrics.observe(T.METRIC_SPANS_EXPORTED, lambda: [(stats().exported, ())])
        metrics.observe(T.METRIC_SPANS_DROPPED, lambda: _by_reason(stats()))
        metrics.observe(T.METRIC_SPANS_PENDING, lambda: [(stats().pending, ())])
        metrics.observe(T.METRIC_SPAN_QUEUE_BYTES, lambda: [(stats().bytes, ())])

    async def start(self) -> None:
        """Begins to export, and opens the Prometheus listener when it is enabled (OSError when it cannot)."""
        if self._exporter is not None:
            self._exporter.start()
            options = self.options
            _log.info(
                "exporting traces to %s (%s, ratio %s%s)",
                options.target,
                "plaintext" if options.insecure else "TLS",
                options.ratio,
                ", with metrics" if self._metric_exporter else "",
            )
        if self._metric_exporter is not None:
            self._metric_exporter.start()
        if self.options.prometheus_enabled:
            host, port = check_listen_address(self.options.prometheus_address)
            self._listener = HttpListener(host, port, {self.options.prometheus_path: self.scrape})
            await self._listener.start()

    @property
    def prometheus_port(self) -> int | None:
        """The port of the Prometheus listener, when it is open."""
        return self._listener.port if self._listener is not None else None

    def scrape(self) -> Reply:
        """The Prometheus page; a route for a `HttpListener`."""
        return Reply(200, render(self.metrics.read()).encode(), CONTENT_TYPE)

    def stats(self) -> ExportStats:
        """What became of every span so far."""
        if self._exporter is None:
            return ExportStats(0, 0, {}, 0, 0)
        return self._exporter.stats()

    def confirmed_before(self) -> int:
        """Wall clock in nanoseconds before which every ended span has been exported or counted as dropped."""
        return self._exporter.confirmed_before() if self._exporter is not None else self._clock.now_ns()

    async def flush(self, timeout: float) -> bool:
        """Sends all waiting spans now; True when none is pending any more within `timeout` seconds."""
        return await self._exporter.flush(timeout) if self._exporter is not None else True

    async def shutdown(self, deadline: float) -> None:
        """Sends what is waiting within `deadline` seconds, counts the rest as dropped, and closes."""
        end = self._clock.monotonic() + deadline
        if self._listener is not None:
            await self._listener.stop()
            self._listener = None
        if self._exporter is not None:
            await self._exporter.shutdown(deadline)
        if self._metric_exporter is not None:
            await self._metric_exporter.shutdown(max(0.05, end - self._clock.monotonic()))
        if self._client is not None:
            await self._client.close()
        if (lost := sum(self.stats().dropped.values())) > 0:
            _log.warning(
                "%d of %d spans were not exported: %s", lost, self.stats().created, self.stats().dropped
            )


def _by_reason(stats: ExportStats) -> list[tuple[float, Labels]]:
    return [(count, ((T.LABEL_REASON, reason),)) for reason, count in stats.dropped.items()]


def _client(options: TelemetryOptions, clock: Clock, ids: Ids) -> CollectorClient:
    """Loaded only where there is a collector: grpcio takes 20 MB."""
    from broadaxe.telemetry.collector import CollectorClient

    return CollectorClient(options, clock, ids)


def _metric_exporter(
    options: TelemetryOptions, client: CollectorClient, metrics: Metrics, clock: Clock
) -> MetricExporter:
    from broadaxe.telemetry.metric_export import MetricExporter

    return MetricExporter(options, client, metrics, clock)
