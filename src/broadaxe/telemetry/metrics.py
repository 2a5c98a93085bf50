"""Instruments: the official SDK behind the names of the contract, with a cap on label sets.

One set of instruments serves both views, OTLP and Prometheus. With neither on, every call returns at once.
Collection happens on the event loop's thread, so observed callbacks may read the engine's memory as it is.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from opentelemetry.metrics import CallbackOptions, Counter, Histogram, Observation, UpDownCounter
from opentelemetry.sdk.metrics import AlwaysOffExemplarFilter, MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, MetricsData
from opentelemetry.sdk.resources import Resource

from broadaxe.telemetry.names import METRICS, SCHEMA_URL, SCOPE
from broadaxe.telemetry.vocabulary import AttrValue, Label, Metric, MetricKind

LabelValue = str | int
Labels = tuple[tuple[Label, LabelValue], ...]
Observed = Callable[[], Iterable[tuple[float, Labels]]]
"""Gives an observed instrument's present values with their labels."""

OVERFLOW: Mapping[str, AttrValue] = {"otel.metric.overflow": True}


class UndeclaredLabelError(AssertionError):
    """A label that the contract does not give this instrument; raised in strict mode only."""


class LabelSets:
    """The label sets of one instrument, as the SDK wants them; beyond the cap they share one overflow set."""

    __slots__ = ("_metric", "_sets", "_strict", "_values")

    def __init__(self, metric: Metric, strict: bool) -> None:
        self._metric = metric
        self._strict = strict
        self._sets: dict[Labels, Mapping[str, AttrValue]] = {}
        self._values: dict[Label, set[LabelValue]] = {label: set() for label in metric.labels}

    def __len__(self) -> int:
        return len(self._sets)

    def get(self, labels: Labels) -> Mapping[str, AttrValue]:
        """The attributes for these labels, or the overflow set."""
        found = self._sets.get(labels)
        return found if found is not None else self._add(labels)

    def _add(self, labels: Labels) -> Mapping[str, AttrValue]:
        for label, value in labels:
            known = self._values.get(label)
            if known is None:
                if self._strict:
                    raise UndeclaredLabelError(f"{self._metric.name} has no label {label.name}")
                return OVERFLOW
            if value not in known and len(known) >= label.cardinality:
                return OVERFLOW
        if len(self._sets) >= self._metric.series:
            return OVERFLOW
        for label, value in labels:
            self._values[label].add(value)
        attributes: dict[str, AttrValue] = {label.name: value for label, value in labels}
        self._sets[labels] = attributes
        return attributes


@dataclass(slots=True)
class _Counter:
    instrument: Counter | UpDownCounter
    sets: LabelSets


@dataclass(slots=True)
class _Histogram:
    instrument: Histogram
    sets: LabelSets


class _Provider(MeterProvider):
    """The SDK's provider without its switch: OTEL_SDK_DISABLED, injected by a cluster, must not act."""

    def __init__(self, reader: InMemoryMetricReader, resource: Resource) -> None:
        super().__init__([reader], resource, AlwaysOffExemplarFilter(), shutdown_on_exit=False)
        self._disabled = False


class Metrics:
    """Counts and measures. `enabled` False (neither OTLP nor Prometheus) makes every call return at once."""

    def __init__(
        self,
        resource: Mapping[str, AttrValue],
        version: str,
        *,
        enabled: bool,
        strict: bool = False,
    ) -> None:
        self.enabled = enabled
        self._strict = strict
        self._counters: dict[Metric, _Counter] = {}
        self._histograms: dict[Metric, _Histogram] = {}
        self._observed: dict[Metric, list[Observed]] = {}
        if not enabled:
            return
        self._reader = InMemoryMetricReader()
        self._provider = _Provider(self._reader, Resource(dict(resource)))
        self._meter = self._provider.get_meter(SCOPE, version, SCHEMA_URL)
        for metric in METRICS:
            self._declare(metric)

    def _declare(self, metric: Metric) -> None:
        sets = LabelSets(metric, self._strict)
        name, unit, text = metric.name, metric.unit, metric.description
        if metric.kind is MetricKind.COUNTER:
            self._counters[metric] = _Counter(self._meter.create_counter(name, unit, text), sets)
            self._zero(metric)
        elif metric.kind is MetricKind.UPDOWN:
            self._counters[metric] = _Counter(self._meter.create_up_down_counter(name, unit, text), sets)
        elif metric.kind is MetricKind.HISTOGRAM:
            instrument = self._meter.create_histogram(
                name, unit, text, explicit_bucket_boundaries_advisory=list(metric.bounds)
            )
            self._histograms[metric] = _Histogram(instrument, sets)

    def _zero(self, metric: Metric) -> None:
        """A counter that exists reads 0 before the first event, so that a rate over it is never a gap."""
        if not metric.labels:
            self.add(metric, 0)
        elif (label := metric.split_label) is not None and metric.labels == (label,):
            for value in metric.split_names:
                self.add(metric, 0, ((label, value),))

    def add(self, metric: Metric, value: float = 1, labels: Labels = ()) -> None:
        """Adds to a counter; labels as pairs of declared label and value, always in the same order."""
        if self.enabled:
            counter = self._counters[metric]
            counter.instrument.add(value, counter.sets.get(labels))

    def record(self, metric: Metric, value: float, labels: Labels = ()) -> None:
        """Puts a measurement (durations in seconds) into a histogram."""
        if self.enabled:
            histogram = self._histograms[metric]
            histogram.instrument.record(value, histogram.sets.get(labels))

    def observe(self, metric: Metric, callback: Observed) -> None:
        """Has an observed instrument ask `callback` at each collection; several callbacks add up to one."""
        if not self.enabled:
            return
        callbacks = self._observed.get(metric)
        if callbacks is not None:
            callbacks.append(callback)
            return
        self._observed[metric] = [callback]
        name, unit, text = metric.name, metric.unit, metric.description

        def collect(options: CallbackOptions) -> Iterable[Observation]:
            return self._observations(metric)

        if metric.kind is MetricKind.OBSERVED_COUNTER:
            self._meter.create_observable_counter(name, [collect], unit, text)
        elif metric.kind is MetricKind.OBSERVED_GAUGE:
            self._meter.create_observable_gauge(name, [collect], unit, text)
        else:
            raise ValueError(f"{metric.name} is not an observed instrument")

    def _observations(self, metric: Metric) -> list[Observation]:
        # The cap holds for each collection by itself: tenants and queues come and go.
        sets = LabelSets(metric, self._strict)
        sums: dict[int, tuple[float, Mapping[str, AttrValue]]] = {}
        for callback in self._observed[metric]:
            for value, labels in callback():
                attributes = sets.get(labels)
                before = sums.get(id(attributes))
                sums[id(attributes)] = (value + (before[0] if before else 0), attributes)
        return [Observation(value, attributes) for value, attributes in sums.values()]

    @property
    def series(self) -> int:
        """Label sets that counters and histograms hold at present."""
        kept = sum(len(counter.sets) for counter in self._counters.values())
        return kept + sum(len(histogram.sets) for histogram in self._histograms.values())

    def collect(self) -> MetricsData | None:
        """The present state of all instruments, cumulative since the start; None when off."""
        return self._reader.get_metrics_data() if self.enabled else None
