"""The spans of a group commit: one `flush`, and a `commit-wait` for each member that it is not under."""

from collections.abc import Sequence

from broadaxe.store.pending import Fence, Pending
from broadaxe.telemetry import names as T
from broadaxe.telemetry.context import TraceContext
from broadaxe.telemetry.span import LINK_LIMIT
from broadaxe.telemetry.tracer import NOOP, AnySpan, Tracer

_KIND = "task"
_NS_PER_US = 1000


class CommitTrace:
    """Spans of one attempt to commit. The flush hangs under its first recorded member."""

    __slots__ = ("_committing_ns", "_others", "_tracer", "parent", "rows")

    def __init__(self, tracer: Tracer, ops: Sequence[Pending], fence: Fence | None, began_ns: int) -> None:
        """`fence`: the one lease that holds it, None for several or none."""
        self._tracer = tracer
        self._others: list[tuple[Pending, TraceContext]] = []
        self._committing_ns = 0
        self.rows = 0
        self.parent: AnySpan = NOOP
        """What the statements hang under."""
        if not tracer.enabled:
            return
        members = [(op, trace) for op in ops for trace in op.parents]
        if not members:
            return
        first, trace = members[0]
        self._others = members[1:]
        self.parent = flush = tracer.start(T.SPAN_FLUSH, trace, start_ns=began_ns)
        if flush.recording:
            flush.set(T.ATTR_FLUSH_KIND, _KIND)
            flush.set(T.ATTR_FLUSH_WAITED_US, max(0, began_ns - first.submitted_ns) // _NS_PER_US)
            flush.set(T.ATTR_BATCH_SIZE, sum(op.count for op in ops))
            flush.set(T.ATTR_BATCH_MEMBERS, len(members))
            if fence is not None:
                flush.set(T.ATTR_EPOCH, fence.epoch)
                flush.set(T.ATTR_PARTITION, fence.partition)

    def committing(self, now_ns: int) -> None:
        """COMMIT is sent."""
        self._committing_ns = now_ns

    def committed(self, ended_ns: int) -> None:
        """Ends the flush, and tells the members that cannot see it in their trace how long they waited."""
        flush = self.parent
        if not flush.recording:
            return
        waits: list[AnySpan] = []
        for op, parent in self._others:
            wait = self._tracer.start(T.SPAN_COMMIT_WAIT, parent, start_ns=op.submitted_ns)
            wait.link(flush.context)
            waits.append(wait)
        for wait in waits[:LINK_LIMIT]:
            flush.link(wait.context)
        flush.set(T.ATTR_FLUSH_COMMIT_US, max(0, ended_ns - self._committing_ns) // _NS_PER_US)
        flush.set(T.ATTR_ROWS_CHANGED, self.rows)
        # First what the others point to: a process that is killed has sent the beginning of what it recorded.
        flush.end(ended_ns)
        for wait in waits:
            wait.end(ended_ns)

    def failed(self, reason: str) -> None:
        """Ends the flush of an attempt that did not commit."""
        self.parent.end(error_type=reason.partition(" ")[0])
