"""The state of instruments as the official SDK's data classes, from which its encoder writes OTLP."""

from collections.abc import Iterable, Mapping

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.metrics.export import Metric as Collected
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from broadaxe.telemetry.cells import Count, Reading, Spread
from broadaxe.telemetry.names import SCHEMA_URL, SCOPE
from broadaxe.telemetry.vocabulary import AttrValue, Metric, MetricKind


def _counts(metric: Metric, cells: Iterable[Count], now_ns: int) -> Collected:
    """A counter, an up-down counter or an observed instrument as it is at this moment."""
    points = [NumberDataPoint(cell.attributes, cell.start_ns, now_ns, cell.value) for cell in cells]
    data: Gauge | Sum
    if metric.kind is MetricKind.OBSERVED_GAUGE:
        data = Gauge(points)
    else:
        data = Sum(points, AggregationTemporality.CUMULATIVE, metric.kind is not MetricKind.UPDOWN)
    return Collected(metric.name, metric.description, metric.unit, data)


def _spreads(metric: Metric, cells: Iterable[Spread], now_ns: int) -> Collected:
    """A histogram as it is at this moment."""
    points = [
        HistogramDataPoint(
            attributes=cell.attributes,
            start_time_unix_nano=cell.start_ns,
            time_unix_nano=now_ns,
            count=sum(cell.counts),
            sum=cell.sum,
            bucket_counts=tuple(cell.counts),
            explicit_bounds=metric.bounds,
            min=cell.least,
            max=cell.greatest,
        )
        for cell in cells
    ]
    data = Histogram(points, AggregationTemporality.CUMULATIVE)
    return Collected(metric.name, metric.description, metric.unit, data)


class Envelope:
    """Who speaks: the resource and the scope of every collection."""

    def __init__(self, resource: Mapping[str, AttrValue], version: str) -> None:
        self._resource = Resource(dict(resource))
        self._scope = InstrumentationScope(SCOPE, version, SCHEMA_URL)

    def wrap(self, reading: Reading) -> MetricsData:
        """One collection; instruments that have nothing to tell are left out."""
        now = reading.now_ns
        read = [_counts(metric, cells, now) for metric, cells in reading.counts]
        read += [_spreads(metric, cells, now) for metric, cells in reading.spreads]
        read += [_counts(metric, cells, now) for metric, cells in reading.observed]
        scope = ScopeMetrics(self._scope, [one for one in read if one.data.data_points], SCHEMA_URL)
        return MetricsData([ResourceMetrics(self._resource, [scope], self._resource.schema_url)])
