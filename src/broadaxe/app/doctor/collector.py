"""The collector: a test span and a test metric, and what became of them."""

from broadaxe.app.doctor.findings import Finding, Level
from broadaxe.clock import Clock, Ids
from broadaxe.telemetry.options import TelemetryOptions
from broadaxe.telemetry.reach import Outcome, Told
from broadaxe.telemetry.self_test import send_test


async def examine(options: TelemetryOptions, clock: Clock, ids: Ids, within: float) -> list[Finding]:
    """Sends both, when a collector is set."""
    if not options.target:
        text = "no collector is set (SERVER_OTEL_COLLECTOR_URL): traces and metrics are exported nowhere"
        return [Finding("collector", "span", Level.OK, text)]
    test = await send_test(options, clock, ids, within)
    span = _finding("span", test.span, needed=True)
    if test.span.outcome is Outcome.TAKEN:
        where = f"{span.text}; look for trace {test.trace_id} of service {test.service_name}"
        span = Finding(span.area, span.name, span.level, where)
    if test.span.outcome is not Outcome.TAKEN and test.metric.outcome is test.span.outcome:
        return [span]  # the same sentence twice helps nobody
    return [span, _finding("metric", test.metric, needed=options.metrics_enabled)]


def _finding(name: str, told: Told, *, needed: bool) -> Finding:
    if told.outcome is Outcome.TAKEN:
        return Finding("collector", name, Level.OK, told.text)
    if needed:
        return Finding("collector", name, Level.PROBLEM, told.text)
    text = f"{told.text} (SERVER_OTEL_METRICS_ENABLED is false, so nothing is lost)"
    return Finding("collector", name, Level.WARNING, text)
