from hypothesis import given
from hypothesis import strategies as st

from broadaxe.clock import SystemClock
from broadaxe.telemetry.span_queue import DROP_EXPORT_FAILED, Batch, SpanQueue
from broadaxe.telemetry.tuning import Tuning


class TickingClock(SystemClock):
    def __init__(self) -> None:
        self.ns = 0

    def now_ns(self) -> int:
        self.ns += 1
        return self.ns


def make(**tuning: int) -> tuple[SpanQueue, TickingClock]:
    clock = TickingClock()
    return SpanQueue(Tuning(**tuning), clock, lambda: None), clock


def conserved(queue: SpanQueue) -> bool:
    return queue.created == queue.exported + sum(queue.dropped.values()) + queue.pending


def test_offer_beyond_count_is_dropped_and_counted() -> None:
    queue, _ = make(queue_size=3, batch_size=2)
    for _ in range(5):
        queue.offer(b"x")
    assert (queue.pending, queue.dropped["queue_full"]) == (3, 2)
    assert conserved(queue)


def test_offer_beyond_bytes_is_dropped_and_counted() -> None:
    queue, _ = make(queue_bytes=10)
    for _ in range(3):
        queue.offer(b"1234")
    assert (queue.bytes, queue.dropped["queue_full"]) == (8, 1)


def test_take_gives_full_batches_first_and_memory_stays_counted_until_settled() -> None:
    queue, _ = make(queue_size=4, batch_size=2)
    for number in range(4):
        queue.offer(str(number).encode())
    first = queue.take()
    assert first is not None
    assert first.spans == [b"0", b"1"]
    queue.offer(b"4")
    assert queue.dropped["queue_full"] == 1
    queue.settle(first)
    queue.offer(b"5")
    assert queue.pending == 3


def test_offer_beyond_batch_bytes_starts_another_batch() -> None:
    queue, _ = make(batch_bytes=5)
    for _ in range(3):
        queue.offer(b"123")
    batches = [queue.take(), queue.take(), queue.take(), queue.take()]
    assert [len(batch.spans) if batch else 0 for batch in batches] == [1, 1, 1, 0]


def test_settle_partly_rejected_counts_both_and_only_once() -> None:
    queue, _ = make()
    for _ in range(5):
        queue.offer(b"x")
    batch = queue.take()
    assert batch is not None
    queue.settle(batch, rejected=2)
    queue.settle(batch, lost=DROP_EXPORT_FAILED)
    assert (queue.exported, queue.dropped["rejected"], queue.dropped["export_failed"]) == (3, 2, 0)
    assert conserved(queue)


def test_settle_more_rejected_than_sent_is_capped() -> None:
    queue, _ = make()
    queue.offer(b"x")
    batch = queue.take()
    assert batch is not None
    queue.settle(batch, rejected=99)
    assert (queue.exported, queue.dropped["rejected"]) == (0, 1)


def test_close_and_abandon_count_the_rest_as_shutdown() -> None:
    queue, _ = make(batch_size=2)
    for _ in range(5):
        queue.offer(b"x")
    queue.take()
    queue.close()
    queue.offer(b"x")
    queue.abandon()
    assert queue.dropped["shutdown"] == 6
    assert (queue.pending, queue.bytes, queue.waiting) == (0, 0, False)
    assert conserved(queue)


def test_confirmed_before_is_the_oldest_unsettled_batch() -> None:
    queue, clock = make(batch_size=1)
    assert queue.confirmed_before() == clock.ns
    queue.offer(b"a")
    started = clock.ns
    queue.offer(b"b")
    assert queue.confirmed_before() == started
    first, second = queue.take(), queue.take()
    assert first is not None
    assert second is not None
    queue.settle(second)
    assert queue.confirmed_before() == started
    queue.settle(first)
    assert queue.confirmed_before() == clock.ns


@given(st.lists(st.sampled_from(["offer", "take", "ok", "partial", "lost", "abandon"]), max_size=80))
def test_queue_any_order_of_calls_conserves_spans(calls: list[str]) -> None:
    queue, _ = make(queue_size=7, batch_size=3)
    out: list[Batch] = []
    for call in calls:
        if call == "offer":
            queue.offer(b"span")
        elif call == "take":
            batch = queue.take()
            if batch is not None:
                out.append(batch)
        elif call == "abandon":
            queue.abandon()
        elif out:
            batch = out.pop()
            queue.settle(
                batch,
                rejected=1 if call == "partial" else 0,
                lost="export_failed" if call == "lost" else None,
            )
        assert conserved(queue)
        assert 0 <= queue.pending <= 7
        assert queue.bytes == 4 * queue.pending
