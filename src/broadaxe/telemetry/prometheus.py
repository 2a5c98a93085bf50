"""The Prometheus view: the text format 0.0.4, written from the same collected data that OTLP gets.

Names come from the contract and not from the SDK's exporter, because operators' dashboards know them:
`hatchet_assigned_tasks` is a counter without `_total`, and outcomes are counters of their own.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping

from opentelemetry.sdk.metrics.export import (
    HistogramDataPoint,
    MetricsData,
    NumberDataPoint,
    Sum,
)
from opentelemetry.sdk.metrics.export import Metric as Collected

from broadaxe.telemetry.names import METRICS
from broadaxe.telemetry.vocabulary import Label, Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_DECLARED: Mapping[str, Metric] = {metric.name: metric for metric in METRICS}
_BAD_CHARACTER = re.compile(r"[^a-zA-Z0-9_]")


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _labels(pairs: Mapping[str, object]) -> str:
    if not pairs:
        return ""
    shown = []
    for key, value in pairs.items():
        text = str(value).lower() if isinstance(value, bool) else str(value)
        quoted = _escape(text).replace('"', '\\"')
        shown.append(f'{_BAD_CHARACTER.sub("_", key)}="{quoted}"')
    return "{" + ",".join(shown) + "}"


def _number(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else repr(float(value))


def _histogram(name: str, point: HistogramDataPoint) -> Iterator[str]:
    attributes = dict(point.attributes or {})
    running = 0
    for bound, count in zip((*point.explicit_bounds, math.inf), point.bucket_counts, strict=True):
        running += count
        yield f"{name}_bucket{_labels({**attributes, 'le': _number(bound)})} {running}"
    yield f"{name}_sum{_labels(attributes)} {_number(point.sum)}"
    yield f"{name}_count{_labels(attributes)} {point.count}"


def _head(name: str, kind: str, metric: Metric) -> list[str]:
    return [f"# HELP {name} {_escape(metric.description)}", f"# TYPE {name} {kind}"]


def _split(metric: Metric, points: list[NumberDataPoint]) -> Iterator[str]:
    """One Prometheus counter for each value of the split label; other values stay under the common name."""
    assert metric.split_label is not None
    key = metric.split_label.name
    groups: dict[str, list[str]] = {}
    for point in points:
        attributes = dict(point.attributes or {})
        name = metric.split_names.get(str(attributes.get(key)))
        if name is None:
            name = metric.prometheus
        else:
            del attributes[key]
        groups.setdefault(name, []).append(f"{name}{_labels(attributes)} {_number(point.value)}")
    for name, lines in groups.items():
        yield from _head(name, "counter", metric)
        yield from lines


def _metric(collected: Collected) -> Iterator[str]:
    metric = _DECLARED.get(collected.name)
    if metric is None:
        return
    data = collected.data
    numbers = [point for point in data.data_points if isinstance(point, NumberDataPoint)]
    if metric.split_label is not None:
        yield from _split(metric, numbers)
        return
    name = metric.prometheus
    histograms = [point for point in data.data_points if isinstance(point, HistogramDataPoint)]
    if histograms:
        yield from _head(name, "histogram", metric)
        for histogram in histograms:
            yield from _histogram(name, histogram)
    elif numbers:
        counter = isinstance(data, Sum) and data.is_monotonic
        yield from _head(name, "counter" if counter else "gauge", metric)
        for point in numbers:
            yield f"{name}{_labels(dict(point.attributes or {}))} {_number(point.value)}"


def write_gauges(readings: Mapping[Metric, Iterable[tuple[float, Mapping[Label, str]]]]) -> str:
    """Gauges that were read elsewhere than from instruments, as Prometheus text."""
    lines: list[str] = []
    for metric, points in readings.items():
        lines += _head(metric.prometheus, "gauge", metric)
        for value, labels in points:
            pairs = {label.name: text for label, text in labels.items()}
            lines.append(f"{metric.prometheus}{_labels(pairs)} {_number(value)}")
    return "\n".join(lines) + "\n"


def render(data: MetricsData | None) -> str:
    """All instruments as Prometheus text, with the resource as `target_info`."""
    lines: list[str] = []
    for resource_metrics in data.resource_metrics if data is not None else ():
        attributes = dict(resource_metrics.resource.attributes)
        lines += ["# HELP target_info The process that is scraped.", "# TYPE target_info gauge"]
        lines.append(f"target_info{_labels(attributes)} 1")
        for scope in resource_metrics.scope_metrics:
            for collected in scope.metrics:
                lines += _metric(collected)
    return "\n".join(lines) + "\n"
