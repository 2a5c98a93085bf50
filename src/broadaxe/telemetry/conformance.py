"""Holds received telemetry to the contract: names, kinds, attributes, and the shape of whole traces.

`Tracer(strict=True)` checks at the call site; this checks what arrived, so it also covers other processes.
"""

import re
from collections.abc import Iterable, Mapping
from functools import cache

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from broadaxe.telemetry.names import ATTRS, EVENTS, METRICS, PREFIX, SCOPE, SPANS, TEMPLATES
from broadaxe.telemetry.receiver import ReceivedSpan
from broadaxe.telemetry.trace_tree import group_by_trace
from broadaxe.telemetry.vocabulary import Metric, SpanKind

_TYPES: Mapping[str, type] = {attr.name: attr.type for attr in ATTRS}
_EVENT_NAMES = frozenset(event.name for event in EVENTS)
_METRICS: Mapping[str, Metric] = {metric.name: metric for metric in METRICS}


@cache
def _static() -> Mapping[str, tuple[SpanKind, frozenset[str]]]:
    return {span.name: (span.kind, frozenset(attr.name for attr in span.attributes)) for span in SPANS}


def _declared(span: ReceivedSpan) -> tuple[SpanKind, frozenset[str]] | None:
    """Kind and attributes the contract gives this span; None when it is not declared."""
    found = _static().get(span.name)
    if found is not None:
        return found
    for template in TEMPLATES:
        if span.kind == template.kind.name and re.fullmatch(template.pattern, span.name):
            return template.kind, frozenset(attr.name for attr in template.attributes)
    return None


def _attribute_violations(span: ReceivedSpan, allowed: frozenset[str]) -> Iterable[str]:
    for key, value in span.attributes.items():
        if key not in allowed:
            yield f"{span.name} may not carry {key}"
        elif type(value) is not _TYPES[key]:
            yield f"{span.name}: {key} is {_TYPES[key].__name__}, got {value!r}"


def span_violations(spans: Iterable[ReceivedSpan]) -> list[str]:
    """What in these spans of ours the contract does not declare; spans of other scopes are left out."""
    out: list[str] = []
    for span in spans:
        if span.scope != SCOPE:
            continue
        declared = _declared(span)
        if declared is None:
            out.append(f"{span.name} ({span.kind}) is not declared")
            continue
        kind, allowed = declared
        if span.kind != kind.name:
            out.append(f"{span.name} is {kind.name}, got {span.kind}")
        if not span.name.startswith(PREFIX):
            out.append(f"{span.name} lacks the prefix")
        if span.error != ("error.type" in span.attributes):
            out.append(f"{span.name}: status error and error.type must go together")
        if span.end_ns < span.start_ns or span.start_ns == 0:
            out.append(f"{span.name} has impossible times")
        out += [
            f"{span.name} may not have the event {name}"
            for name, _ in span.events
            if name not in _EVENT_NAMES
        ]
        out += _attribute_violations(span, allowed)
    return out


def trace_violations(spans: Iterable[ReceivedSpan]) -> list[str]:
    """What breaks the shape of traces: several roots, missing parents, double ids, circles.

    A parent outside the given spans counts as missing, so hand in all services' spans, the caller's included.
    """
    out: list[str] = []
    for trace_id, group in group_by_trace(spans).items():
        ids = [span.span_id for span in group]
        known = set(ids)
        if len(known) != len(ids):
            double = sorted({span.name for span in group if ids.count(span.span_id) > 1})
            out.append(f"{trace_id}: span ids used twice: {', '.join(double)}")
        roots = [span.name for span in group if not span.parent_id]
        if len(roots) > 1:
            out.append(f"{trace_id}: {len(roots)} roots: {', '.join(roots)}")
        for span in group:
            if span.parent_id and span.parent_id not in known:
                out.append(f"{trace_id}: {span.name} has no parent")
            if span.parent_id == span.span_id:
                out.append(f"{trace_id}: {span.name} is its own parent")
    return out


def metric_violations(request: ExportMetricsServiceRequest) -> list[str]:
    """What in a metrics request the contract does not declare."""
    out: list[str] = []
    for resource_metrics in request.resource_metrics:
        for scope_metrics in resource_metrics.scope_metrics:
            for message in scope_metrics.metrics:
                metric = _METRICS.get(message.name)
                if metric is None:
                    out.append(f"{message.name} is not declared")
                elif message.unit != metric.unit:
                    out.append(f"{message.name} is in {metric.unit}, got {message.unit}")
    return out
