"""The spans of a group commit: one `flush`, and a short `commit-wait` for each recorded member."""

from collections.abc import Sequence

from broadaxe.store.pending import Fence, Pending
from broadaxe.telemetry import names as T
from broadaxe.telemetry.span import LINK_LIMIT
from broadaxe.telemetry.tracer import NOOP, AnySpan, Tracer

_KIND = "task"


class CommitTrace:
    """Spans of one attempt to commit. The flush hangs under its first recorded member."""

    __slots__ = ("_members", "_ops", "_tracer", "parent", "rows")

    def __init__(self, tracer: Tracer, ops: Sequence[Pending], fence: Fence | None) -> None:
        """`fence`: the one lease that holds it, None for several or none."""
        self._tracer = tracer
        self._ops = ops
        self._members = 0
        self.rows = 0
        self.parent: AnySpan = NOOP
        """What the statements hang under."""
        if not tracer.enabled:
            return
        for op in ops:
            if op.parents:
                if not self._members:
                    self.parent = tracer.start(T.SPAN_FLUSH, op.parents[0][0])
                self._members += len(op.parents)
        if self.parent.recording:
            self.parent.set(T.ATTR_FLUSH_KIND, _KIND)
            self.parent.set(T.ATTR_BATCH_SIZE, sum(op.count for op in ops))
            self.parent.set(T.ATTR_BATCH_MEMBERS, self._members)
            if fence is not None:
                self.parent.set(T.ATTR_EPOCH, fence.epoch)
                self.parent.set(T.ATTR_PARTITION, fence.partition)

    def committed(self, ended_ns: int) -> None:
        """Ends the flush, and tells each member how long it waited."""
        flush = self.parent
        if not flush.recording:
            return
        waits: list[AnySpan] = []
        for op in self._ops:
            for parent, task_id in op.parents:
                wait = self._tracer.start(T.SPAN_COMMIT_WAIT, parent, start_ns=op.submitted_ns)
                wait.set(T.ATTR_TASK_ID, str(task_id))
                wait.set(T.ATTR_FLUSH_KIND, _KIND)
                wait.link(flush.context)
                waits.append(wait)
        for wait in waits[:LINK_LIMIT]:
            flush.link(wait.context)
        flush.set(T.ATTR_ROWS_CHANGED, self.rows)
        # First what the others point to: a process that is killed has sent the beginning of what it recorded.
        flush.end(ended_ns)
        for wait in waits:
            wait.end(ended_ns)

    def failed(self, reason: str) -> None:
        """Ends the flush of an attempt that did not commit."""
        self.parent.end(error_type=reason.partition(" ")[0])
