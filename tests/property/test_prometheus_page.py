"""The Prometheus page, which keeps what it wrote before, is that of a plain rendering that keeps nothing."""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.metrics.export import Histogram, HistogramDataPoint, MetricsData, NumberDataPoint, Sum

from broadaxe.telemetry.metrics import Labels, Metrics
from broadaxe.telemetry.prometheus import render
from broadaxe.telemetry.vocabulary import AttrValue, Label, Metric, MetricKind

SHAPE, SIZE, END = Label("shape.name", 5), Label("size-in", 3), Label("end", 4)
BOUNDS = (0.005, 0.5, 1.0, 2, 1e15, 1e16)


def declare(
    name: str,
    kind: MetricKind,
    *labels: Label,
    bounds: tuple[float, ...] = (),
    split: tuple[tuple[str, str], ...] = (),
) -> Metric:
    return Metric(
        f"a.{name}",
        kind,
        "s",
        f"About \\ {name}.\nAnd more.",
        labels=labels,
        bounds=bounds,
        prometheus=f"a_{name}",
        split_label=END if split else None,
        split_names=split,
        series=6,
    )


ENDS = (("good", "a_good_total"), ("bad", "a_bad_total"))
PLAIN = declare("plain", MetricKind.COUNTER)
COUNTER = declare("counter", MetricKind.COUNTER, SHAPE, SIZE)
SPLIT = declare("split", MetricKind.COUNTER, END, split=ENDS)
SPLIT_MORE = declare("split_more", MetricKind.COUNTER, SHAPE, END, split=ENDS)
UPDOWN = declare("updown", MetricKind.UPDOWN, SHAPE)
HISTOGRAM = declare("histogram", MetricKind.HISTOGRAM, SHAPE, SIZE, bounds=BOUNDS)
ONE_BUCKET = declare("one_bucket", MetricKind.HISTOGRAM, SHAPE)
GAUGE = declare("gauge", MetricKind.OBSERVED_GAUGE, SHAPE)
TOTAL = declare("total", MetricKind.OBSERVED_COUNTER, SHAPE, END, split=ENDS)
DECLARED = (PLAIN, COUNTER, SPLIT, SPLIT_MORE, UPDOWN, HISTOGRAM, ONE_BUCKET, GAUGE, TOTAL)
NAMED: Mapping[str, Metric] = {metric.name: metric for metric in DECLARED}

TEXTS = st.one_of(st.sampled_from(["a", "b", "", 'q"', "\\", "\n", "\\n", "é", "%s", "{}", ","]), st.text())
SHAPES = st.tuples(st.just(SHAPE), TEXTS)
SIZES = st.tuples(st.just(SIZE), st.integers(-1, 3))
END_VALUES = st.tuples(st.just(END), st.sampled_from(["good", "bad", "odd", "None"]))
LABELS: st.SearchStrategy[Labels] = st.one_of(
    st.just(()),
    st.tuples(SHAPES),
    st.tuples(SIZES),
    st.tuples(SHAPES, SIZES),
    st.tuples(END_VALUES),
    st.tuples(END_VALUES, SHAPES),
)
VALUES = st.one_of(
    st.integers(0, 5),
    st.integers(-(10**18), 10**18),
    st.floats(allow_nan=False),
    st.sampled_from([1e15, 1e15 - 1, 10**15, 10**15 - 1, -0.0, 2.0, *BOUNDS]),
)
READINGS = st.lists(st.tuples(VALUES, LABELS), max_size=5)
RESOURCE = st.dictionaries(
    st.sampled_from(["service.name", "process.pid", "k8s.pod-name"]),
    st.one_of(TEXTS, st.integers(), st.booleans(), st.floats(allow_nan=False)),
)

Step = tuple[Any, Any, Any]
STEPS: st.SearchStrategy[Step] = st.one_of(
    st.tuples(st.sampled_from(DECLARED[:5]), VALUES, LABELS),
    st.tuples(st.sampled_from([HISTOGRAM, ONE_BUCKET]), VALUES, LABELS),
    st.tuples(st.sampled_from([GAUGE, TOTAL]), READINGS, st.none()),
    st.tuples(st.none(), st.none(), st.none()),
)


def escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def labels_of(pairs: Mapping[str, object]) -> str:
    shown = []
    for key, value in pairs.items():
        text = str(value).lower() if isinstance(value, bool) else str(value)
        quoted = escaped(text).replace('"', '\\"')
        shown.append(f'{re.sub("[^a-zA-Z0-9_]", "_", key)}="{quoted}"')
    return "{" + ",".join(shown) + "}" if shown else ""


def number(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else repr(float(value))


def buckets(name: str, point: HistogramDataPoint) -> Iterator[str]:
    attributes = dict(point.attributes or {})
    running = 0
    for bound, count in zip((*point.explicit_bounds, math.inf), point.bucket_counts, strict=True):
        running += count
        yield f"{name}_bucket{labels_of({**attributes, 'le': number(bound)})} {running}"
    yield f"{name}_sum{labels_of(attributes)} {number(point.sum)}"
    yield f"{name}_count{labels_of(attributes)} {point.count}"


def head(name: str, kind: str, metric: Metric) -> list[str]:
    return [f"# HELP {name} {escaped(metric.description)}", f"# TYPE {name} {kind}"]


def split(metric: Metric, points: Iterable[NumberDataPoint]) -> Iterator[str]:
    groups: dict[str, list[str]] = {}
    for point in points:
        attributes = dict(point.attributes or {})
        name = metric.split_names.get(str(attributes.get(END.name)), metric.prometheus)
        if name != metric.prometheus:
            del attributes[END.name]
        groups.setdefault(name, []).append(f"{name}{labels_of(attributes)} {number(point.value)}")
    for name, lines in groups.items():
        yield from (*head(name, "counter", metric), *lines)


def plain(data: MetricsData | None) -> str:
    """The page from the official SDK's data classes, each line by itself."""
    assert data is not None
    (resource,) = data.resource_metrics
    lines = ["# HELP target_info The process that is scraped.", "# TYPE target_info gauge"]
    lines.append(f"target_info{labels_of(resource.resource.attributes)} 1")
    for collected in resource.scope_metrics[0].metrics:
        metric, found = NAMED[collected.name], collected.data
        numbers = [point for point in found.data_points if isinstance(point, NumberDataPoint)]
        if isinstance(found, Histogram):
            lines += head(metric.prometheus, "histogram", metric)
            lines += [line for point in found.data_points for line in buckets(metric.prometheus, point)]
        elif metric.split_label is not None:
            lines += split(metric, numbers)
        else:
            kind = "counter" if isinstance(found, Sum) and found.is_monotonic else "gauge"
            lines += head(metric.prometheus, kind, metric)
            lines += [
                f"{metric.prometheus}{labels_of(point.attributes or {})} {number(point.value)}"
                for point in numbers
            ]
    return "\n".join(lines) + "\n"


@given(st.lists(STEPS, max_size=40), RESOURCE)
def test_the_page_is_that_of_a_plain_rendering(steps: list[Step], resource: dict[str, AttrValue]) -> None:
    metrics = Metrics(resource, "1", enabled=True, declared=DECLARED)
    observed: dict[Metric, list[tuple[float, Labels]]] = {GAUGE: [], TOTAL: []}
    metrics.observe(GAUGE, lambda: observed[GAUGE])
    metrics.observe(TOTAL, lambda: observed[TOTAL])
    for metric, value, labels in [*steps, (None, None, None)]:
        if metric is None:
            assert render(metrics.read()) == plain(metrics.collect())
        elif metric in observed:
            observed[metric] = value
        elif metric.kind is MetricKind.HISTOGRAM:
            metrics.record(metric, value, labels)
        else:
            metrics.add(metric, value, labels)
