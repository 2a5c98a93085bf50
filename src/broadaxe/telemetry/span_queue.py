"""Where ended spans wait for the exporter: bounded by count and bytes, already cut into batches."""

from collections import deque
from collections.abc import Callable

from broadaxe.clock import Clock
from broadaxe.telemetry.tuning import Tuning

DROP_QUEUE_FULL = "queue_full"
DROP_EXPORT_FAILED = "export_failed"
DROP_REJECTED = "rejected"
DROP_SHUTDOWN = "shutdown"
DROP_REASONS = (DROP_QUEUE_FULL, DROP_EXPORT_FAILED, DROP_REJECTED, DROP_SHUTDOWN)


class Batch:
    """Spans that leave together."""

    __slots__ = ("size", "spans", "started_ns")

    def __init__(self, started_ns: int) -> None:
        self.spans: list[bytes] = []
        self.size = 0
        self.started_ns = started_ns
        """Wall clock when its first span ended; no span in it ended before."""


class SpanQueue:
    """Takes spans, counts every one, and keeps at most a fixed number of them and of their bytes.

    At any moment `created` is `exported` + all of `dropped` + `pending`; batches handed out but not yet
    settled count as pending, so that memory is capped whatever the collector does.
    """

    __slots__ = (
        "_clock",
        "_closed",
        "_open",
        "_sealed",
        "_tuning",
        "_unsettled",
        "_wake",
        "bytes",
        "created",
        "dropped",
        "exported",
        "pending",
    )

    def __init__(self, tuning: Tuning, clock: Clock, wake: Callable[[], None]) -> None:
        self._tuning = tuning
        self._clock = clock
        self._wake = wake
        self._open: Batch | None = None
        self._sealed: deque[Batch] = deque()
        self._unsettled: dict[Batch, None] = {}
        self._closed = False
        self.created = 0
        self.exported = 0
        self.dropped = dict.fromkeys(DROP_REASONS, 0)
        self.pending = 0
        self.bytes = 0

    def offer(self, span: bytes) -> None:
        """Takes a span's bytes, or counts it as dropped; never blocks, never raises."""
        self.created += 1
        size = len(span)
        tuning = self._tuning
        if self.pending >= tuning.queue_size or self.bytes + size > tuning.queue_bytes or self._closed:
            self.dropped[DROP_SHUTDOWN if self._closed else DROP_QUEUE_FULL] += 1
            return
        batch = self._open
        if batch is None:
            batch = self._open = Batch(self._clock.now_ns())
            self._unsettled[batch] = None
            self._wake()
        elif batch.size + size > tuning.batch_bytes:
            self._seal(batch)
            batch = self._open = Batch(self._clock.now_ns())
            self._unsettled[batch] = None
        batch.spans.append(span)
        batch.size += size
        self.pending += 1
        self.bytes += size
        if len(batch.spans) >= tuning.batch_size:
            self._seal(batch)

    def _seal(self, batch: Batch) -> None:
        self._sealed.append(batch)
        self._open = None
        self._wake()

    @property
    def full_batches(self) -> int:
        """Batches that need not wait for company."""
        return len(self._sealed)

    @property
    def waiting(self) -> bool:
        """Whether there is anything to take."""
        return bool(self._sealed) or self._open is not None

    def take(self) -> Batch | None:
        """The oldest batch, full or not; it stays pending until `settle`."""
        if self._sealed:
            return self._sealed.popleft()
        batch, self._open = self._open, None
        return batch

    def settle(self, batch: Batch, *, rejected: int = 0, lost: str | None = None) -> None:
        """Counts a batch as exported but for `rejected` spans, or wholly as lost for a reason."""
        if batch not in self._unsettled:
            return  # shutdown has counted it already
        del self._unsettled[batch]
        count = len(batch.spans)
        self.pending -= count
        self.bytes -= batch.size
        if lost is not None:
            self.dropped[lost] += count
        else:
            rejected = min(max(rejected, 0), count)
            self.dropped[DROP_REJECTED] += rejected
            self.exported += count - rejected

    def close(self) -> None:
        """From now on every span is counted as dropped for shutdown."""
        self._closed = True

    def abandon(self) -> None:
        """Counts everything unsettled as dropped for shutdown."""
        for batch in list(self._unsettled):
            self.settle(batch, lost=DROP_SHUTDOWN)
        self._sealed.clear()
        self._open = None

    def confirmed_before(self) -> int:
        """Wall clock in nanoseconds before which every ended span is exported or counted as dropped."""
        # Not simply the first one: the wall clock may be set back between two batches.
        return min((batch.started_ns for batch in self._unsettled), default=self._clock.now_ns())
