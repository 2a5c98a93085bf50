"""Draws a trace as a tree with durations and a time line, for terminals."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from broadaxe.telemetry.names import PREFIX
from broadaxe.telemetry.receiver import ReceivedSpan

SpanKey = tuple[str, str]

_BAR = 28
_DETAILS = ("outcome", "action.id", "attempt", "retry.reason", "batch.size", "worker.name")
_LINK_DEPTH = 1
_COLOURS = ("cyan", "green", "magenta", "yellow", "blue")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a drawn trace."""

    span: ReceivedSpan
    guide: str
    """The branches to its left."""
    note: str
    """`""`, `linked` (drawn because a span above links to it) or `orphan` (its parent is missing)."""


def group_by_trace(spans: Iterable[ReceivedSpan]) -> dict[str, list[ReceivedSpan]]:
    """Spans by trace id, traces in order of their first span, spans by start."""
    groups: dict[str, list[ReceivedSpan]] = defaultdict(list)
    for span in spans:
        groups[span.trace_id].append(span)
    for group in groups.values():
        group.sort(key=lambda span: (span.start_ns, -span.end_ns))
    return dict(sorted(groups.items(), key=lambda item: item[1][0].start_ns))


class TraceTree:
    """The spans of one trace in the order of a tree, with what they link to in other traces below them."""

    def __init__(self, spans: Iterable[ReceivedSpan], others: Iterable[ReceivedSpan] = ()) -> None:
        self.spans = sorted(spans, key=lambda span: (span.start_ns, -span.end_ns))
        self._own = {span.span_id for span in self.spans}
        self._index: dict[SpanKey, ReceivedSpan] = {}
        self._children: dict[SpanKey, list[ReceivedSpan]] = defaultdict(list)
        for span in (*others, *self.spans):
            if (key := (span.trace_id, span.span_id)) not in self._index:
                self._index[key] = span
                self._children[(span.trace_id, span.parent_id)].append(span)
        for children in self._children.values():
            children.sort(key=lambda span: (span.start_ns, -span.end_ns))

    @property
    def roots(self) -> list[ReceivedSpan]:
        """Spans without a parent, and orphans."""
        return [span for span in self.spans if span.parent_id not in self._own]

    @property
    def orphans(self) -> list[ReceivedSpan]:
        """Spans whose parent did not arrive."""
        return [span for span in self.roots if span.parent_id]

    def lines(self) -> list[Line]:
        """The tree from top to bottom; every span once, also when ids form a circle."""
        seen: set[SpanKey] = set()
        out: list[Line] = []
        for span in self.roots:
            self._walk(span, "orphan" if span.parent_id else "", seen, out)
        for span in self.spans:
            if (span.trace_id, span.span_id) not in seen:
                self._walk(span, "orphan", seen, out)
        return out

    def _below(self, span: ReceivedSpan, depth: int) -> list[tuple[ReceivedSpan, str]]:
        below = [(child, "") for child in self._children[(span.trace_id, span.span_id)]]
        if depth < _LINK_DEPTH:
            linked = (self._index.get(link) for link in span.links)
            below += [(one, "linked") for one in linked if one is not None and one.trace_id != span.trace_id]
        return below

    def _walk(self, root: ReceivedSpan, note: str, seen: set[SpanKey], out: list[Line]) -> None:
        # A stack of its own instead of recursion: chains of child runs may be deeper than Python's limit.
        stack = [(root, "", "", note, 0)]
        while stack:
            span, guide, indent, why, depth = stack.pop()
            key = (span.trace_id, span.span_id)
            if key in seen:
                continue
            seen.add(key)
            out.append(Line(span, guide, why))
            below = self._below(span, depth)
            for number in range(len(below) - 1, -1, -1):
                child, reason = below[number]
                last = number == len(below) - 1
                guide_below = indent + ("└─ " if last else "├─ ")
                indent_below = indent + ("   " if last else "│  ")
                stack.append((child, guide_below, indent_below, reason, depth + (reason == "linked")))


def format_duration(nanoseconds: int) -> str:
    """A duration with three digits at most: `850us`, `12.3ms`, `4.56s`."""
    if nanoseconds < 1_000_000:
        return f"{nanoseconds / 1_000:.0f}us"
    if nanoseconds < 100_000_000:
        return f"{nanoseconds / 1_000_000:.1f}ms"
    if nanoseconds < 1_000_000_000:
        return f"{nanoseconds / 1_000_000:.0f}ms"
    return f"{nanoseconds / 1_000_000_000:.2f}s"


def _bar(span: ReceivedSpan, begin: int, end: int) -> str:
    whole = max(1, end - begin)
    first = min(_BAR - 1, max(0, (span.start_ns - begin) * _BAR // whole))
    last = min(_BAR, max(first + 1, -(-(span.end_ns - begin) * _BAR // whole)))
    return " " * first + "━" * (last - first) + " " * (_BAR - last)


def _title(line: Line, colour: str) -> Text:
    span = line.span
    title = Text(line.guide, style="dim")
    if line.note == "linked":
        title.append("↗ ", style="dim")
    elif line.note == "orphan":
        title.append("? ", style="bold yellow")
    title.append(span.name.removeprefix(PREFIX), style="bold red" if span.error else colour)
    shown = [f"{span.attributes[PREFIX + key]}" for key in _DETAILS if PREFIX + key in span.attributes]
    if shown:
        title.append(" " + " ".join(shown), style="dim")
    if span.error:
        reason = span.message or span.attributes.get("error.type", "error")
        title.append(f" ✗ {reason}", style="red")
    return title


def render_trace(
    spans: Sequence[ReceivedSpan], others: Iterable[ReceivedSpan] = (), *, limit: int = 200
) -> RenderableType:
    """One trace as a tree with a column of durations, a time line and the service of each span.

    `others` are spans of other traces, drawn where a link leads to them. Beyond `limit` lines it is cut.
    """
    tree = TraceTree(spans, others)
    lines = tree.lines()
    begin = min(span.start_ns for span in tree.spans)
    end = max(span.end_ns for span in tree.spans)
    colours = _service_colours(line.span.service for line in lines)
    table = Table.grid(padding=(0, 2))
    for justify in ("left", "right", "left", "left"):
        table.add_column(justify="right" if justify == "right" else "left", no_wrap=True)
    for line in lines[:limit]:
        colour = colours[line.span.service]
        table.add_row(
            _title(line, colour),
            Text(format_duration(line.span.duration_ns)),
            Text(_bar(line.span, begin, end), style="red" if line.span.error else colour),
            Text(line.span.service, style=colour),
        )
    head = Text.assemble(
        ("trace ", "dim"),
        (tree.spans[0].trace_id, "bold"),
        (f"  {len(tree.spans)} spans, {format_duration(end - begin)}", "dim"),
    )
    if tree.orphans:
        head.append(f", {len(tree.orphans)} without their parent", style="yellow")
    parts: list[RenderableType] = [head, table]
    if len(lines) > limit:
        parts.append(Text(f"… {len(lines) - limit} more lines", style="dim"))
    return Group(*parts)


def _service_colours(services: Iterable[str]) -> Mapping[str, str]:
    names = list(dict.fromkeys(services))
    return {name: _COLOURS[number % len(_COLOURS)] for number, name in enumerate(names)}
