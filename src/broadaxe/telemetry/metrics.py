"""Instruments: counts and measurements under the names of the contract, with a cap on label sets.

One set of instruments serves both views, OTLP and Prometheus. With neither on, every call returns at once.
A measurement changes a cell in place. The Prometheus page is written from the cells; for OTLP they are read
into the official SDK's data classes. All calls come on the event loop's thread: cells have no locks, and
observed callbacks may read the engine's memory as it is.
"""

import logging
import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping

from opentelemetry.sdk.metrics.export import MetricsData

from broadaxe.clock import Clock, SystemClock
from broadaxe.telemetry.cells import (
    MOST,
    Attributes,
    Cells,
    Count,
    Labels,
    LabelValue,
    Reading,
    Spread,
    UndeclaredLabelError,
)
from broadaxe.telemetry.logs import RateLimited
from broadaxe.telemetry.names import METRICS
from broadaxe.telemetry.readout import Envelope
from broadaxe.telemetry.vocabulary import AttrValue, Metric, MetricKind

__all__ = ["LabelValue", "Labels", "Metrics", "Observed", "UndeclaredLabelError"]

_logger = logging.getLogger("broadaxe.telemetry")

Observed = Callable[[], Iterable[tuple[float, Labels]]]
"""Gives an observed instrument's present values with their labels."""


class _Observed:
    """An instrument that is asked at each collection."""

    def __init__(self, metric: Metric, clock: Clock, strict: bool) -> None:
        self.callbacks: list[Observed] = []
        self._metric = metric
        self._clock = clock
        self._strict = strict
        self._starts: dict[frozenset[tuple[str, AttrValue]], int] = {}

    def _new(self, attributes: Attributes) -> Count:
        start = self._starts.get(frozenset(attributes.items()))
        return Count(attributes, self._clock.now_ns() if start is None else start)

    def ask(self) -> list[Count]:
        """The present values; none when a callback fails, which must not take the other instruments along."""
        # The cap holds for each collection by itself: tenants and queues come and go.
        cells: Cells[Count] = Cells(self._metric, self._new, self._strict)
        try:
            for callback in self.callbacks:
                for value, labels in callback():
                    cells.get(labels).value += value
        except Exception:
            _logger.exception("%s could not be read", self._metric.name)
            return []
        counts = [cell for cell in cells if self._finite(cell.value)]
        self._starts = {frozenset(cell.attributes.items()): cell.start_ns for cell in counts}
        return counts

    def _finite(self, value: float) -> bool:
        if math.isfinite(value):
            return True
        _logger.warning("%s reads %r: the value was left out", self._metric.name, value)
        return False


class Metrics:
    """Counts and measures. `enabled` False (neither OTLP nor Prometheus) makes every call return at once.

    `declared` are the instruments there are; only tests have others than the contract's.
    """

    def __init__(
        self,
        resource: Mapping[str, AttrValue],
        version: str,
        *,
        enabled: bool,
        strict: bool = False,
        clock: Clock | None = None,
        declared: Iterable[Metric] = METRICS,
    ) -> None:
        self.enabled = enabled
        self._strict = strict
        self._clock = clock or SystemClock()
        self._complaint = RateLimited(_logger, self._clock)
        self._resource = dict(resource)
        self._envelope = Envelope(resource, version)
        self._counters: dict[Metric, Cells[Count]] = {}
        self._histograms: dict[Metric, Cells[Spread]] = {}
        self._observed: dict[Metric, _Observed] = {}
        if enabled:
            for metric in declared:
                self._declare(metric)

    def _declare(self, metric: Metric) -> None:
        if metric.kind is MetricKind.HISTOGRAM:
            buckets = len(metric.bounds) + 1
            self._histograms[metric] = Cells(
                metric, lambda attributes: Spread(attributes, self._clock.now_ns(), buckets), self._strict
            )
        elif metric.kind in (MetricKind.COUNTER, MetricKind.UPDOWN):
            self._counters[metric] = Cells(
                metric, lambda attributes: Count(attributes, self._clock.now_ns()), self._strict
            )
        if metric.kind is MetricKind.COUNTER:
            self._zero(metric)

    def _zero(self, metric: Metric) -> None:
        """A counter that exists reads 0 before the first event, so that a rate over it is never a gap."""
        if not metric.labels:
            self.add(metric, 0)
        elif (label := metric.split_label) is not None and metric.labels == (label,):
            for value in metric.split_names:
                self.add(metric, 0, ((label, value),))

    def add(self, metric: Metric, value: float = 1, labels: Labels = ()) -> None:
        """Adds to a counter; labels as pairs of declared label and value, always in the same order."""
        if not self.enabled:
            return
        cells = self._counters[metric]
        if not cells.least <= value <= MOST:
            self._refuse(metric, value)
            return
        cell = cells.known.get(labels)
        if cell is None:
            cell = cells.admit(labels)
        cell.value += value

    def record(self, metric: Metric, value: float, labels: Labels = ()) -> None:
        """Puts a measurement (durations in seconds) into a histogram."""
        if not self.enabled:
            return
        cells = self._histograms[metric]
        if not 0 <= value <= MOST:
            self._refuse(metric, value)
            return
        cell = cells.known.get(labels)
        if cell is None:
            cell = cells.admit(labels)
        cell.sum += value
        cell.counts[bisect_left(metric.bounds, value)] += 1
        if value < cell.least:
            cell.least = value
        if value > cell.greatest:
            cell.greatest = value

    def _refuse(self, metric: Metric, value: float) -> None:
        self._complaint.warning("%s takes no %r: the measurement was left out", metric.name, value)

    def observe(self, metric: Metric, callback: Observed) -> None:
        """Has an observed instrument ask `callback` at each collection; several callbacks add up to one."""
        if not self.enabled:
            return
        if metric.kind not in (MetricKind.OBSERVED_COUNTER, MetricKind.OBSERVED_GAUGE):
            raise ValueError(f"{metric.name} is not an observed instrument")
        instrument = self._observed.get(metric)
        if instrument is None:
            instrument = self._observed[metric] = _Observed(metric, self._clock, self._strict)
        instrument.callbacks.append(callback)

    @property
    def series(self) -> int:
        """Label sets that counters and histograms hold at present."""
        kept = sum(len(cells) for cells in self._counters.values())
        return kept + sum(len(cells) for cells in self._histograms.values())

    def read(self) -> Reading | None:
        """The present state of all instruments, cumulative since the start; None when off."""
        if not self.enabled:
            return None
        observed = [(metric, instrument.ask()) for metric, instrument in self._observed.items()]
        now = self._clock.now_ns()
        counts, spreads = list(self._counters.items()), list(self._histograms.items())
        return Reading(self._resource, now, counts, spreads, observed)

    def collect(self) -> MetricsData | None:
        """What `read` gives as the official SDK's data classes."""
        reading = self.read()
        return self._envelope.wrap(reading) if reading is not None else None
