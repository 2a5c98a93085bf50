"""Checks that traces are whole, and shows them when they are not."""

import io
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from rich.console import Console

from broadaxe.telemetry.receiver import ReceivedSpan
from broadaxe.telemetry.render import render_trace
from broadaxe.telemetry.trace_tree import group_by_trace

SpanKey = tuple[str, str]
"""Trace id and span id."""

_SECOND = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Rules:
    """What may be; the defaults are strict."""

    services: frozenset[str] = frozenset()
    """Services whose spans must find their parent; all when empty."""
    outside: frozenset[str] = frozenset()
    """Span ids that exist elsewhere (a caller that exports to nobody): fine as parent or link."""
    skew_ns: int = 2_000_000
    """How far clocks of two services may differ."""
    longest_ns: int = 60 * _SECOND
    longest_by_name: Mapping[str, int] = field(default_factory=dict)
    """Nanoseconds a span of this name may take, instead of `longest_ns`."""
    may_start_late: frozenset[str] = frozenset()
    """Names of spans that may begin after their parent ended; so may one that links to its parent."""
    kinds_may_start_late: frozenset[str] = frozenset()
    """Likewise by kind, such as SERVER: a call about something that is over."""
    may_outlive: frozenset[str] | None = None
    """Names of spans that may end after their parent; None: all may."""
    one_root: bool = True
    """Whether each trace has exactly one span without a parent."""
    repeated: bool = False
    """Whether a span may arrive again with the same content (as after a crash)."""


class Forest:
    """Spans of any number of traces."""

    def __init__(self, spans: Iterable[ReceivedSpan]) -> None:
        self.spans = list(spans)
        self.traces = group_by_trace(self.spans)
        """Spans by trace id."""
        self._index: dict[SpanKey, ReceivedSpan] = {}
        for span in self.spans:
            self._index.setdefault((span.trace_id, span.span_id), span)

    def parent(self, span: ReceivedSpan) -> ReceivedSpan | None:
        """Its parent, None for a root or when it is not here."""
        return self._index.get((span.trace_id, span.parent_id)) if span.parent_id else None

    def children(self, span: ReceivedSpan) -> list[ReceivedSpan]:
        """Its children in order of their start."""
        return [other for other in self.traces[span.trace_id] if other.parent_id == span.span_id]

    def path(self, span: ReceivedSpan) -> tuple[str, ...]:
        """Names from the root down to it."""
        names, seen, at = [span.name], {span.span_id}, self.parent(span)
        while at is not None and at.span_id not in seen:
            names.append(at.name)
            seen.add(at.span_id)
            at = self.parent(at)
        return tuple(reversed(names))

    def problems(self, rules: Rules | None = None) -> list[str]:
        """Everything that breaks the rules, in words; empty when all is well."""
        rules = rules or Rules()
        found = self._repeats(rules)
        for trace_id, spans in self.traces.items():
            unique = {span.span_id: span for span in spans}.values()
            roots = [span for span in unique if not span.parent_id]
            if rules.one_root and len(roots) != 1 and not self._hangs_outside(spans, rules):
                names = ", ".join(span.name for span in roots) or "none"
                found.append(f"trace {trace_id} has {len(roots)} roots: {names}")
            for span in unique:
                found += self._of_span(span, rules)
        return found

    def check(self, rules: Rules | None = None) -> None:
        """AssertionError with every problem and a drawing of the traces that have one."""
        found = self.problems(rules)
        if found:
            concerned = [trace_id for trace_id in self.traces if any(trace_id in text for text in found)]
            drawn = "\n".join(self.draw(trace_id) for trace_id in concerned[:3])
            more = f"\n({len(concerned) - 3} more traces)" if len(concerned) > 3 else ""
            raise AssertionError("\n".join(["traces are not whole:", *found[:40], drawn + more]))

    def draw(self, trace_id: str) -> str:
        """One trace as a tree, in plain text."""
        out = io.StringIO()
        Console(file=out, width=160, color_system=None).print(render_trace(self.traces[trace_id], self.spans))
        return out.getvalue()

    def _hangs_outside(self, spans: list[ReceivedSpan], rules: Rules) -> bool:
        """Whether the root is a caller that is not here: then one outside parent takes its place."""
        return len({span.parent_id for span in spans if span.parent_id in rules.outside}) == 1 and all(
            span.parent_id for span in spans
        )

    def _repeats(self, rules: Rules) -> list[str]:
        count = Counter((span.trace_id, span.span_id) for span in self.spans)
        found = []
        for (trace_id, span_id), times in count.items():
            if times == 1:
                continue
            same = [span for span in self.traces[trace_id] if span.span_id == span_id]
            alike = len({(span.name, span.start_ns, span.parent_id) for span in same}) == 1
            if not (rules.repeated and alike):
                names = ", ".join(sorted({span.name for span in same}))
                found.append(f"span id {span_id} ({names}) was sent {times} times in trace {trace_id}")
        return found

    def _of_span(self, span: ReceivedSpan, rules: Rules) -> list[str]:
        where = f"{span.name} [{span.service} {span.span_id}] in trace {span.trace_id}"
        found = []
        if span.end_ns < span.start_ns:
            found.append(f"{where} ends {span.start_ns - span.end_ns} ns before it starts")
        longest = rules.longest_by_name.get(span.name, rules.longest_ns)
        if span.duration_ns > longest:
            found.append(f"{where} took {span.duration_ns / 1e6:.1f} ms, more than {longest / 1e6:.1f}")
        for link in span.links:
            if link not in self._index and link[1] not in rules.outside:
                found.append(f"{where} links to {link[0]}/{link[1]}, which is not here")
        parent = self.parent(span)
        if parent is not None:
            found += self._against_parent(span, parent, where, rules)
        elif (
            span.parent_id
            and span.parent_id not in rules.outside
            and (not rules.services or span.service in rules.services)
        ):
            found.append(f"{where} is an orphan: parent {span.parent_id} is not here")
        return found

    def _against_parent(
        self, span: ReceivedSpan, parent: ReceivedSpan, where: str, rules: Rules
    ) -> list[str]:
        found = []
        skew = rules.skew_ns if span.service != parent.service else 0
        # What a call made begins within the call, although the call's span hangs below it.
        made_it = span.kind == "SERVER" and span.end_ns + skew >= parent.start_ns
        if span.start_ns + skew < parent.start_ns and not made_it:
            early = (parent.start_ns - span.start_ns) / 1e6
            found.append(f"{where} starts {early:.3f} ms before its parent {parent.name}")
        linked = (parent.trace_id, parent.span_id) in span.links
        late = span.name in rules.may_start_late or span.kind in rules.kinds_may_start_late
        if span.start_ns > parent.end_ns + skew and not late and not linked:
            after = (span.start_ns - parent.end_ns) / 1e6
            found.append(f"{where} starts {after:.3f} ms after its parent {parent.name} ended")
        bounded = rules.may_outlive is not None and span.name not in rules.may_outlive
        if bounded and span.end_ns > parent.end_ns + skew:
            beyond = (span.end_ns - parent.end_ns) / 1e6
            found.append(f"{where} ends {beyond:.3f} ms after its parent {parent.name}")
        return found


def assert_whole(spans: Iterable[ReceivedSpan], rules: Rules | None = None) -> Forest:
    """The spans as a forest; AssertionError with a drawing when they break the rules."""
    forest = Forest(spans)
    forest.check(rules)
    return forest
