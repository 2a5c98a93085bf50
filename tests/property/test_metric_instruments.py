"""Our instruments give the data points that the official SDK's give for the same measurements."""

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import AlwaysOffExemplarFilter, MeterProvider
from opentelemetry.sdk.metrics.export import (
    Gauge,
    HistogramDataPoint,
    InMemoryMetricReader,
    MetricsData,
    NumberDataPoint,
    Sum,
)
from opentelemetry.sdk.resources import Resource

from broadaxe.telemetry.metrics import Labels, Metrics
from broadaxe.telemetry.names import SCHEMA_URL, SCOPE
from broadaxe.telemetry.vocabulary import AttrValue, Label, Metric, MetricKind
from broadaxe.testkit.virtual_time import VirtualClock

RESOURCE: dict[str, AttrValue] = {"service.name": "server", "process.pid": 7}
SHAPE, SIZE, STRANGE = Label("shape", 3), Label("size", 2), Label("strange", 9)
BOUNDS = (0.01, 0.5, 1, 2.5)


def declare(name: str, kind: MetricKind, *labels: Label, series: int = 4) -> Metric:
    bounds = BOUNDS if kind is MetricKind.HISTOGRAM else ()
    return Metric(
        name, kind, "s", f"About {name}.", labels=labels, bounds=bounds, prometheus=name, series=series
    )


PLAIN = declare("plain", MetricKind.COUNTER)
COUNTER = declare("counter", MetricKind.COUNTER, SHAPE, SIZE)
UPDOWN = declare("updown", MetricKind.UPDOWN, SHAPE)
HISTOGRAM = declare("histogram", MetricKind.HISTOGRAM, SHAPE, SIZE)
GAUGE = declare("gauge", MetricKind.OBSERVED_GAUGE, SHAPE, series=2)
TOTAL = declare("total", MetricKind.OBSERVED_COUNTER, SHAPE)
DECLARED = (PLAIN, COUNTER, UPDOWN, HISTOGRAM, GAUGE, TOTAL)

SHAPES = st.tuples(st.just(SHAPE), st.sampled_from("abcd"))
SIZES = st.tuples(st.just(SIZE), st.integers(0, 2))
STRANGERS = st.tuples(st.just(STRANGE), st.just("x"))
LABELS: st.SearchStrategy[Labels] = st.one_of(
    st.just(()),
    st.tuples(SHAPES),
    st.tuples(SIZES),
    st.tuples(SHAPES, SIZES),
    st.tuples(SIZES, SHAPES),
    st.tuples(SHAPES, STRANGERS),
)
REFUSED = st.sampled_from([float("nan"), float("inf"), float("-inf"), -1, -0.5])
# Sums of these are exact, whatever the order in which they are added.
EXACT = st.one_of(st.integers(-100, 1000), st.integers(-100_000, 1_000_000).map(lambda n: n / 1024), REFUSED)
DURATIONS = st.one_of(st.floats(0, 10), st.integers(0, 5), st.sampled_from(BOUNDS), st.just(-0.0), REFUSED)

Step = tuple[str, Any, Any, Any]
STEPS: st.SearchStrategy[Step] = st.one_of(
    st.tuples(st.just("add"), st.sampled_from([PLAIN, COUNTER, UPDOWN]), EXACT, LABELS),
    st.tuples(st.just("record"), st.just(HISTOGRAM), DURATIONS, LABELS),
    st.tuples(st.just("total"), st.none(), st.integers(0, 100), st.tuples(SHAPES)),
    st.tuples(
        st.just("gauge"), st.none(), st.lists(st.tuples(EXACT, st.tuples(SHAPES)), max_size=6), st.none()
    ),
    st.tuples(st.just("wait"), st.none(), st.floats(0.001, 60), st.none()),
    st.tuples(st.just("collect"), st.none(), st.none(), st.none()),
)


class Caps:
    """The rule for label sets, said once more: what the SDK is given for them."""

    def __init__(self, metric: Metric) -> None:
        self.metric = metric
        self.sets: set[Labels] = set()

    def attributes(self, labels: Labels) -> Mapping[str, AttrValue]:
        if labels not in self.sets and not self._fits(labels):
            return {"otel.metric.overflow": True}
        self.sets.add(labels)
        return {label.name: value for label, value in labels}

    def _fits(self, labels: Labels) -> bool:
        if any(label not in self.metric.labels for label, _ in labels):
            return False
        after = {pair for known in (*self.sets, labels) for pair in known}
        few = all(sum(one is label for one, _ in after) <= label.cardinality for label, _ in labels)
        return few and len(self.sets) < self.metric.series


class Official:
    """The same instruments from the official SDK."""

    def __init__(self) -> None:
        self.reader = InMemoryMetricReader()
        provider = MeterProvider(
            [self.reader], Resource(dict(RESOURCE)), AlwaysOffExemplarFilter(), shutdown_on_exit=False
        )
        meter = provider.get_meter(SCOPE, "1", SCHEMA_URL)
        self.caps = {metric: Caps(metric) for metric in DECLARED}
        self.counters = {
            metric: meter.create_counter(metric.name, metric.unit, metric.description)
            for metric in (PLAIN, COUNTER)
        }
        self.updown = meter.create_up_down_counter(UPDOWN.name, UPDOWN.unit, UPDOWN.description)
        self.histogram = meter.create_histogram(
            HISTOGRAM.name,
            HISTOGRAM.unit,
            HISTOGRAM.description,
            explicit_bucket_boundaries_advisory=list(HISTOGRAM.bounds),
        )
        self.gauge: list[tuple[float, Labels]] = []
        self.total: dict[Labels, float] = {}
        meter.create_observable_gauge(GAUGE.name, [self._read_gauge], GAUGE.unit, GAUGE.description)
        meter.create_observable_counter(TOTAL.name, [self._read_total], TOTAL.unit, TOTAL.description)
        self.counters[PLAIN].add(0)

    def add(self, metric: Metric, value: float, labels: Labels) -> None:
        instrument = self.updown if metric is UPDOWN else self.counters[metric]
        if taken(metric, value):
            instrument.add(value, self.caps[metric].attributes(labels))
        else:
            instrument.add(value)

    def record(self, value: float, labels: Labels) -> None:
        if taken(HISTOGRAM, value):
            self.histogram.record(value, self.caps[HISTOGRAM].attributes(labels))
        else:
            self.histogram.record(value)

    def _read_gauge(self, options: CallbackOptions) -> Iterable[Observation]:
        return observations(GAUGE, self.gauge)

    def _read_total(self, options: CallbackOptions) -> Iterable[Observation]:
        return observations(TOTAL, [(value, labels) for labels, value in self.total.items()])


def taken(metric: Metric, value: float) -> bool:
    """Whether a label set may be made for it; the SDK is asked all the same, and refuses by itself."""
    return abs(value) < float("inf") and (value >= 0 or metric is UPDOWN)


def observations(metric: Metric, values: list[tuple[float, Labels]]) -> list[Observation]:
    """What the SDK is told: values of one label set added up, the caps afresh for each collection."""
    caps, sums = Caps(metric), dict[tuple[tuple[str, AttrValue], ...], float]()
    for value, labels in values:
        key = tuple(caps.attributes(labels).items())
        sums[key] = sums.get(key, 0) + value
    return [Observation(value, dict(key)) for key, value in sums.items()]


def shown(data: MetricsData | None) -> dict[str, object]:
    """A collection but for the order of metrics and points, and the start of gauges, which is not sent."""
    assert data is not None
    (resource,) = data.resource_metrics
    (scope,) = resource.scope_metrics
    out: dict[str, object] = {
        "resource": dict(resource.resource.attributes),
        "schemas": (resource.schema_url, resource.resource.schema_url, scope.schema_url),
        "scope": scope.scope,
    }
    for metric in scope.metrics:
        found = metric.data
        out[f"{metric.name} kind"] = (
            metric.description,
            metric.unit,
            type(found),
            getattr(found, "aggregation_temporality", None),
            found.is_monotonic if isinstance(found, Sum) else None,
        )
        points = {}
        for point in found.data_points:
            assert isinstance(point, NumberDataPoint | HistogramDataPoint)
            attributes = frozenset((point.attributes or {}).items())
            assert attributes not in points
            start = 0 if isinstance(found, Gauge) else point.start_time_unix_nano
            points[attributes] = (start, point.time_unix_nano, list(point.exemplars), *numbers(point))
        out[metric.name] = points
    return out


def numbers(point: NumberDataPoint | HistogramDataPoint) -> tuple[object, ...]:
    if isinstance(point, NumberDataPoint):
        return type(point.value), point.value  # the type decides between as_int and as_double
    total = pytest.approx(point.sum, rel=1e-12)  # the SDK adds up by collections
    return point.count, total, tuple(point.bucket_counts), tuple(point.explicit_bounds), point.min, point.max


def take(step: Step, ours: Metrics, theirs: Official, clock: VirtualClock) -> None:
    action, metric, value, labels = step
    if action == "add":
        ours.add(metric, value, labels)
        theirs.add(metric, value, labels)
    elif action == "record":
        ours.record(metric, value, labels)
        theirs.record(value, labels)
    elif action == "total":
        theirs.total[labels] = theirs.total.get(labels, 0) + value
    elif action == "gauge":
        theirs.gauge = value
    elif action == "wait":
        clock.advance(value)
    else:
        assert shown(ours.collect()) == shown(theirs.reader.get_metrics_data())


@given(st.lists(STEPS, max_size=60))
def test_the_same_measurements_give_the_official_sdks_data_points(steps: list[Step]) -> None:
    clock = VirtualClock()
    internal = "opentelemetry.sdk.metrics._internal"
    with ExitStack() as stack:
        for module in ("_view_instrument_match", "metric_reader_storage"):
            stack.enter_context(patch(f"{internal}.{module}.time_ns", clock.now_ns))
        theirs = Official()
        ours = Metrics(RESOURCE, "1", enabled=True, clock=clock, declared=DECLARED)
        ours.observe(GAUGE, lambda: theirs.gauge)
        ours.observe(TOTAL, lambda: [(value, labels) for labels, value in theirs.total.items()])
        for step in [*steps, ("collect", None, None, None)]:
            take(step, ours, theirs, clock)
