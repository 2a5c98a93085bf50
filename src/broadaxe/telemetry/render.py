"""Draws a trace for terminals: duration and time line first, so that nothing cuts them, then the tree."""

from collections.abc import Iterable, Sequence
from statistics import median

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.text import Text

from broadaxe.telemetry.names import PREFIX, SPAN_ATTEMPT, SPAN_FLUSH, SPAN_QUEUE_WAIT, SPAN_RUN
from broadaxe.telemetry.receiver import ReceivedSpan
from broadaxe.telemetry.trace_tree import Line, TraceTree

_DURATION = 7
_BAR = range(8, 29)
"""How wide the time line may be; a fifth of the line within these bounds."""
_SERVICE = 14
_TITLE = 24
"""With less room for names than this, services are left out."""
_DETAILS = {
    SPAN_RUN.name: ("workflow.name", "outcome"),
    SPAN_ATTEMPT.name: ("attempt", "outcome"),
    SPAN_QUEUE_WAIT.name: ("attempt",),
    SPAN_FLUSH.name: ("batch.size",),
}
_OTHER_DETAILS = ("event.type", "retry.reason", "worker.name")
_COLOURS = ("cyan", "green", "magenta", "yellow", "blue")


def format_duration(nanoseconds: float) -> str:
    """A duration with three digits at most: `850us`, `12.3ms`, `4.56s`."""
    if nanoseconds < 1_000_000:
        return f"{nanoseconds / 1_000:.0f}us"
    if nanoseconds < 100_000_000:
        return f"{nanoseconds / 1_000_000:.1f}ms"
    if nanoseconds < 1_000_000_000:
        return f"{nanoseconds / 1_000_000:.0f}ms"
    return f"{nanoseconds / 1_000_000_000:.2f}s"


def _details(span: ReceivedSpan) -> list[str]:
    keys = _DETAILS.get(span.name, _OTHER_DETAILS)
    shown = [str(span.attributes[PREFIX + key]) for key in keys if PREFIX + key in span.attributes]
    if span.name == SPAN_FLUSH.name:
        return [f"of {size}" for size in shown if size != "1"]
    return shown


def _title(line: Line, colour: str) -> Text:
    span = line.span
    title = Text(line.guide, style="dim")
    if line.note == "more":
        took = sorted(one.duration_ns for one in line.more)
        figures = "/".join(format_duration(value) for value in (took[0], median(took), took[-1]))
        return title.append(f"… {len(took)} more like it ({figures})", style="italic")
    if line.note == "linked":
        title.append("↗ ", style="dim")
    elif line.note == "orphan":
        title.append("? ", style="bold yellow")
    title.append(span.name.removeprefix(PREFIX), style="bold red" if span.error else colour)
    for detail in _details(span):
        title.append(f" {detail}", style="dim")
    if span.error:
        reason = span.message or span.attributes.get("error.type", "error")
        title.append(f" ✗ {reason}", style="red")
    return title


class DrawnTrace:
    """One trace as a tree; print it on a rich console. Lines are cut to the console's width, at their end."""

    def __init__(self, spans: Sequence[ReceivedSpan], others: Iterable[ReceivedSpan], limit: int) -> None:
        self._tree = TraceTree(spans, others)
        self._lines = self._tree.lines()
        self._limit = limit
        self._begin = min(span.start_ns for span in self._tree.spans)
        self._end = max(span.end_ns for span in self._tree.spans)
        services = dict.fromkeys(line.span.service for line in self._lines)
        self._colours = {name: _COLOURS[at % len(_COLOURS)] for at, name in enumerate(services)}

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = options.max_width
        bar = max(_BAR.start, min(_BAR.stop - 1, width // 5))
        service = min(_SERVICE, max(map(len, self._colours)))
        title = width - _DURATION - bar - service - 4
        if title < _TITLE:
            title, service = width - _DURATION - bar - 3, 0
        yield self._head()
        for line in self._lines[: self._limit]:
            yield self._drawn(line, bar, max(1, title), service)
        if len(self._lines) > self._limit:
            yield Text(f"… {len(self._lines) - self._limit} more lines", style="dim")

    def _head(self) -> Text:
        took = format_duration(self._end - self._begin)
        head = Text.assemble(
            ("trace ", "dim"),
            (self._tree.spans[0].trace_id, "bold"),
            (f"  {len(self._tree.spans)} spans, {took}", "dim"),
        )
        if self._tree.orphans:
            head.append(f", {len(self._tree.orphans)} without their parent", style="yellow")
        return head

    def _drawn(self, line: Line, bar: int, width: int, service: int) -> Text:
        colour = self._colours[line.span.service]
        spans = line.more or (line.span,)
        first = min(span.start_ns for span in spans)
        last = max(span.end_ns for span in spans)
        duration = "" if line.more else format_duration(line.span.duration_ns)
        style = "dim" if line.more else "red" if line.span.error else colour
        title = _title(line, colour)
        title.truncate(width, overflow="ellipsis", pad=service > 0)
        out = Text(f"{duration:>{_DURATION}} ", no_wrap=True, overflow="crop", end="\n")
        out.append(self._bar(first, last, bar), style=style).append(" ").append_text(title)
        if service:
            out.append("  ").append(line.span.service[:service], style="dim")
        return out

    def _bar(self, start_ns: int, end_ns: int, width: int) -> str:
        whole = max(1, self._end - self._begin)
        first = min(width - 1, max(0, (start_ns - self._begin) * width // whole))
        last = min(width, max(first + 1, -(-(end_ns - self._begin) * width // whole)))
        return "·" * first + "━" * (last - first) + "·" * (width - last)


def render_trace(
    spans: Sequence[ReceivedSpan], others: Iterable[ReceivedSpan] = (), *, limit: int = 200
) -> RenderableType:
    """One trace as a tree behind a column of durations and a time line, with the service of each span.

    `others` are spans of other traces, drawn where a link leads to them. Beyond `limit` lines it is cut.
    """
    return DrawnTrace(spans, others, limit)
