"""The Prometheus view: the text format 0.0.4, written from the cells of the instruments.

Names come from the contract and not from the SDK's exporter, because operators' dashboards know them:
`hatchet_assigned_tasks` is a counter without `_total`, and outcomes are counters of their own.

The page is written on the event loop, and most of it are the buckets of histograms. So what stays the same is
made once: the labels of a cell, which are kept with it and go with it, and the bounds of buckets.
"""

import math
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from itertools import accumulate
from typing import Final, assert_never

from broadaxe.telemetry.cells import Attributes, Count, Reading, Spread
from broadaxe.telemetry.vocabulary import Label, Metric, MetricKind

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_BAD_CHARACTER = re.compile(r"[^a-zA-Z0-9_]")
_EXACT: Final = 1e15
"""Whole numbers below it are written without an exponent."""


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


@lru_cache(maxsize=256)
def _key(name: str) -> str:
    """A label's name as Prometheus allows it; the contract and the resource have a few dozen."""
    return _BAD_CHARACTER.sub("_", name)


def _labels(pairs: Mapping[str, object]) -> str:
    if not pairs:
        return ""
    shown = []
    for key, value in pairs.items():
        text = str(value).lower() if isinstance(value, bool) else str(value)
        quoted = _escape(text).replace('"', '\\"')
        shown.append(f'{_key(key)}="{quoted}"')
    return "{" + ",".join(shown) + "}"


def _number(value: float) -> str:
    if isinstance(value, int) and -_EXACT < value < _EXACT:
        return f"{value:d}"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if float(value).is_integer() and abs(value) < _EXACT else repr(float(value))


@lru_cache(maxsize=64)
def _bounds(bounds: tuple[float, ...]) -> tuple[str, ...]:
    """The end of each bucket's labels; histograms share a few lists of bounds."""
    return tuple(f'le="{_number(bound)}"}} ' for bound in (*bounds, math.inf))


def _head(name: str, kind: str, metric: Metric) -> list[str]:
    return [f"# HELP {name} {_escape(metric.description)}", f"# TYPE {name} {kind}"]


def _histogram(metric: Metric, cells: Iterable[Spread]) -> list[str]:
    name, bounds = metric.prometheus, _bounds(metric.bounds)
    lines: list[str] = []
    for cell in cells:
        labels = cell.page_labels
        if labels is None:
            labels = cell.page_labels = _labels(cell.attributes)
        bucket = f"{name}_bucket{labels[:-1]}," if labels else f"{name}_bucket{{"
        totals = list(accumulate(cell.counts))
        lines += [f"{bucket}{bound}{total}" for bound, total in zip(bounds, totals, strict=True)]
        lines.append(f"{name}_sum{labels} {_number(cell.sum)}")
        lines.append(f"{name}_count{labels} {totals[-1]}")
    return [*_head(name, "histogram", metric), *lines] if lines else []


def _split_labels(attributes: Attributes, metric: Metric) -> str:
    """Without the split label where its value is in the name."""
    split = metric.split_label
    if split is not None and str(attributes.get(split.name)) in metric.split_names:
        attributes = {key: value for key, value in attributes.items() if key != split.name}
    return _labels(attributes)


def _numbers(metric: Metric, cells: Iterable[Count]) -> list[str]:
    """One Prometheus counter for each value of the split label; other values stay under the common name."""
    names, key = metric.split_names, metric.split_label.name if metric.split_label is not None else None
    groups: dict[str, list[str]] = {}
    for cell in cells:
        labels = cell.page_labels
        if labels is None:
            labels = cell.page_labels = _split_labels(cell.attributes, metric)
        name = metric.prometheus
        if key is not None:
            name = names.get(str(cell.attributes.get(key)), name)
        groups.setdefault(name, []).append(f"{name}{labels} {_number(cell.value)}")
    kind = _kind(metric.kind)
    return [line for name, lines in groups.items() for line in (*_head(name, kind, metric), *lines)]


def _kind(kind: MetricKind) -> str:
    match kind:
        case MetricKind.COUNTER | MetricKind.OBSERVED_COUNTER:
            return "counter"
        case MetricKind.UPDOWN | MetricKind.OBSERVED_GAUGE:
            return "gauge"
        case MetricKind.HISTOGRAM:
            return "histogram"
        case _:
            assert_never(kind)


def write_gauges(readings: Mapping[Metric, Iterable[tuple[float, Mapping[Label, str]]]]) -> str:
    """Gauges that were read elsewhere than from instruments, as Prometheus text."""
    lines: list[str] = []
    for metric, points in readings.items():
        lines += _head(metric.prometheus, "gauge", metric)
        for value, labels in points:
            pairs = {label.name: text for label, text in labels.items()}
            lines.append(f"{metric.prometheus}{_labels(pairs)} {_number(value)}")
    return "\n".join(lines) + "\n"


def render(reading: Reading | None) -> str:
    """All instruments as Prometheus text, with the resource as `target_info`."""
    lines: list[str] = []
    if reading is not None:
        lines += ["# HELP target_info The process that is scraped.", "# TYPE target_info gauge"]
        lines.append(f"target_info{_labels(reading.resource)} 1")
        for metric, cells in reading.counts:
            lines += _numbers(metric, cells)
        for metric, spreads in reading.spreads:
            lines += _histogram(metric, spreads)
        for metric, cells in reading.observed:
            lines += _numbers(metric, cells)
    return "\n".join(lines) + "\n"
