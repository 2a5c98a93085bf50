"""A trace as a tree of lines: parents above children, what a link leads to below, similar siblings once."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from broadaxe.telemetry.names import (
    ATTR_ACTION_ID,
    ATTR_EVENT_TYPE,
    ATTR_OUTCOME,
    ATTR_WORKFLOW_NAME,
    SPAN_COMMIT_WAIT,
    SPAN_FLUSH,
)
from broadaxe.telemetry.receiver import ReceivedSpan

SpanKey = tuple[str, str]

_LINK_DEPTH = 1
_ALIKE_LIMIT = 2
"""So many similar siblings are drawn one by one."""
_TELLING = (ATTR_OUTCOME.name, ATTR_EVENT_TYPE.name, ATTR_ACTION_ID.name, ATTR_WORKFLOW_NAME.name)
"""Attributes in which similar spans agree."""
_SHARED = frozenset((SPAN_FLUSH.name, SPAN_COMMIT_WAIT.name))
"""Which member of a commit its flush hangs under is chance, so these say nothing about a shape."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a drawn trace."""

    span: ReceivedSpan
    guide: str
    """The branches to its left."""
    note: str = ""
    """`""`, `linked` (drawn because a span above links to it), `orphan` (its parent is missing) or `more`."""
    more: tuple[ReceivedSpan, ...] = ()
    """With `more`: the siblings, and what is below them, that this one line stands for."""


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
            # What took no time at all goes before what began with it: a wait before what was waited for.
            children.sort(key=lambda span: (span.start_ns, span.duration_ns > 0, -span.end_ns))

    @property
    def roots(self) -> list[ReceivedSpan]:
        """Spans without a parent, and orphans."""
        return [span for span in self.spans if span.parent_id not in self._own]

    @property
    def orphans(self) -> list[ReceivedSpan]:
        """Spans whose parent did not arrive."""
        return [span for span in self.roots if span.parent_id]

    def lines(self, *, whole: bool = False) -> list[Line]:
        """The tree from top to bottom; every span once, also when ids form a circle.

        More than two siblings that look alike are one of them and a line for the rest, unless `whole`.
        """
        seen: set[SpanKey] = set()
        out: list[Line] = []
        shapes: dict[SpanKey, int] = {} if whole else self._shapes()
        for span in self.roots:
            self._walk(span, "orphan" if span.parent_id else "", shapes, seen, out)
        for span in self.spans:
            if (span.trace_id, span.span_id) not in seen:
                self._walk(span, "orphan", shapes, seen, out)
        return out

    def _shapes(self) -> dict[SpanKey, int]:
        """A number for each span of the trace, the same for those that look alike with all below them."""
        numbers: dict[tuple[object, ...], int] = {}
        shapes: dict[SpanKey, int] = {}
        # Children come before parents when the order of a walk from the top is turned round.
        order: list[ReceivedSpan] = []
        stack, met = list(self.roots), set[SpanKey]()
        while stack:
            span = stack.pop()
            key = (span.trace_id, span.span_id)
            if key not in met:
                met.add(key)
                order.append(span)
                stack += self._children[key]
        for span in reversed(order):
            key = (span.trace_id, span.span_id)
            below = frozenset(
                shapes[(child.trace_id, child.span_id)]
                for child in self._children[key]
                if child.name not in _SHARED and child.kind != "SERVER"
            )
            told = tuple(span.attributes.get(name) for name in _TELLING)
            shape = (span.name, span.service, span.error, told, below)
            shapes[key] = numbers.setdefault(shape, len(numbers))
        return shapes

    def _below(self, span: ReceivedSpan, depth: int, shapes: dict[SpanKey, int]) -> list[Line]:
        """What hangs below a span, its branches not drawn yet."""
        alike: dict[int, list[ReceivedSpan]] = defaultdict(list)
        children = self._children[(span.trace_id, span.span_id)]
        for child in children:
            shape = shapes.get((child.trace_id, child.span_id))
            if shape is not None:
                alike[shape].append(child)
        below: list[Line] = []
        for child in children:
            group = alike[shapes.get((child.trace_id, child.span_id), -1)]
            if len(group) <= _ALIKE_LIMIT:
                below.append(Line(child, ""))
            elif child is group[0]:
                below += [Line(child, ""), Line(child, "", "more", tuple(group[1:]))]
        if depth < _LINK_DEPTH:
            linked = (self._index.get(link) for link in span.links)
            below += [
                Line(one, "", "linked") for one in linked if one is not None and one.trace_id != span.trace_id
            ]
        return below

    def _hide(self, spans: Iterable[ReceivedSpan], seen: set[SpanKey]) -> None:
        stack = list(spans)
        while stack:
            key = (span := stack.pop()).trace_id, span.span_id
            if key not in seen:
                seen.add(key)
                stack += self._children[key]

    def _walk(
        self, root: ReceivedSpan, note: str, shapes: dict[SpanKey, int], seen: set[SpanKey], out: list[Line]
    ) -> None:
        # A stack of its own instead of recursion: chains of child runs may be deeper than Python's limit.
        stack = [(Line(root, "", note), "", 0)]
        while stack:
            line, indent, depth = stack.pop()
            if line.note == "more":
                self._hide(line.more, seen)
                out.append(line)
                continue
            key = (line.span.trace_id, line.span.span_id)
            if key in seen:
                continue
            seen.add(key)
            out.append(line)
            below = self._below(line.span, depth, shapes)
            for number in range(len(below) - 1, -1, -1):
                one = below[number]
                last = number == len(below) - 1
                placed = Line(one.span, indent + ("└─ " if last else "├─ "), one.note, one.more)
                stack.append((placed, indent + ("   " if last else "│  "), depth + (one.note == "linked")))
