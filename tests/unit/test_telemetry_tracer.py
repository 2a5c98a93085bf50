import random

import pytest

from broadaxe.clock import SystemClock, SystemIds
from broadaxe.telemetry import names as T
from broadaxe.telemetry.context import ZERO_SPAN_ID, TraceContext
from broadaxe.telemetry.recording import Recording
from broadaxe.telemetry.sampler import Sampler
from broadaxe.telemetry.span import HELD_LIMIT
from broadaxe.telemetry.strict import ContractViolationError
from broadaxe.telemetry.tracer import NOOP, Tracer, current_span
from broadaxe.telemetry.vocabulary import Attr, SpanKind, SpanName


class SeededIds(SystemIds):
    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def random_bytes(self, count: int) -> bytes:
        return self._random.randbytes(count)


def record(ratio: float = 1.0, *, strict: bool = True, seed: int = 1) -> Recording:
    return Recording(ratio=ratio, strict=strict, ids=SeededIds(seed))


CALLER = TraceContext(b"\x11" * 16, b"\x22" * 8, True)


def test_start_without_parent_makes_a_root() -> None:
    recorder = record()
    recorder.tracer.start(T.SPAN_SWEEP).end()
    (span,) = recorder.spans
    assert span.parent_id == ""
    assert span.name == "hatchet.run/sweep"
    assert span.kind == "INTERNAL"


def test_start_under_span_and_context_keeps_the_trace() -> None:
    recorder = record()
    parent = recorder.tracer.start(T.SPAN_RUN, CALLER, span_id=b"\x33" * 8)
    child = recorder.tracer.start(T.SPAN_FLUSH, parent)
    child.end()
    parent.end()
    outer, inner = recorder.spans
    assert outer.trace_id == inner.trace_id == CALLER.trace_id.hex()
    assert outer.parent_id == CALLER.span_id.hex()
    assert inner.parent_id == outer.span_id == "33" * 8
    assert parent.context == TraceContext(CALLER.trace_id, b"\x33" * 8, True)


def test_span_that_ends_before_its_parent_leaves_after_it() -> None:
    recorder = record()
    parent = recorder.tracer.start(T.SPAN_FLUSH, CALLER)
    child = recorder.tracer.start(T.SPAN_CONNECT, parent)
    grandchild = recorder.tracer.start(T.SPAN_POOL_WAIT, child)
    grandchild.end()
    child.end()
    recorder.tracer.emit(T.SPAN_CONNECT, parent, 1, 2)
    assert not recorder.spans
    parent.end()
    recorder.tracer.start(T.SPAN_CONNECT, parent).end()
    names = [span.name.rpartition("/")[2] for span in recorder.spans]
    flush, connect, pool = (
        name.name.rpartition("/")[2] for name in (T.SPAN_FLUSH, T.SPAN_CONNECT, T.SPAN_POOL_WAIT)
    )
    assert names == [flush, connect, pool, connect, connect]


def test_spans_below_one_that_stays_open_are_held_up_to_a_limit() -> None:
    recorder = record()
    parent = recorder.tracer.start(T.SPAN_FLUSH, CALLER)
    for _ in range(HELD_LIMIT + 5):
        recorder.tracer.start(T.SPAN_CONNECT, parent).end()
    assert len(recorder.spans) == 5
    parent.end()
    assert len(recorder.spans) == HELD_LIMIT + 6


def test_start_under_unsampled_parent_is_noop_all_the_way_down() -> None:
    recorder = record()
    span = recorder.tracer.start(T.SPAN_RUN, CALLER._replace(sampled=False))
    assert span is NOOP
    assert recorder.tracer.start(T.SPAN_FLUSH, span) is NOOP
    span.set(T.ATTR_TENANT_ID, "x")
    span.link(CALLER)
    span.event(T.EVENT_STARTED)
    span.end(error_type="x")
    recorder.tracer.emit(T.SPAN_SEND, span, 1, 2)
    assert recorder.spans == []
    assert span.context.sampled is False


def test_tracer_off_records_nothing_and_decides_no() -> None:
    tracer = Tracer(SystemClock(), SystemIds(), None, Sampler(1.0))
    assert not tracer.enabled
    assert tracer.start(T.SPAN_RUN) is NOOP
    assert tracer.start(T.SPAN_RUN, CALLER) is NOOP
    assert not tracer.decide(CALLER.trace_id, CALLER)
    assert not tracer.new_root().sampled
    tracer.emit(T.SPAN_RUN, CALLER, 1, 2)


def test_end_with_error_sets_status_and_type_once() -> None:
    recorder = record()
    span = recorder.tracer.start(T.db_span("INSERT", "task"))
    span.end(error_type="23505", message="duplicate key")
    (shown,) = recorder.spans
    assert shown.error
    assert shown.attributes["error.type"] == "23505"
    assert shown.message == "duplicate key"


def test_end_twice_counts_once_outside_of_strict() -> None:
    recorder = record(strict=False)
    span = recorder.tracer.start(T.SPAN_FLUSH)
    span.end()
    span.end(error_type="late")
    assert len(recorder.spans) == 1
    assert not recorder.spans[0].error


def test_end_before_start_makes_no_negative_duration() -> None:
    recorder = record()
    recorder.tracer.start(T.SPAN_FLUSH, start_ns=1000).end(end_ns=500)
    assert recorder.spans[0].duration_ns == 0


def test_emit_back_dated_span_carries_everything() -> None:
    recorder = record()
    recorder.tracer.emit(
        T.SPAN_QUEUE_WAIT,
        CALLER,
        100,
        900,
        span_id=b"\x44" * 8,
        attrs=((T.ATTR_TASK_ID, "t"), (T.ATTR_ATTEMPT, 2)),
        links=(CALLER,),
        error_type="timeout",
        message="too late",
    )
    (span,) = recorder.spans
    assert (span.start_ns, span.end_ns, span.span_id) == (100, 900, "44" * 8)
    assert span.attributes == {"hatchet.run/task.id": "t", "hatchet.run/attempt": 2, "error.type": "timeout"}
    assert span.links == ((CALLER.trace_id.hex(), CALLER.span_id.hex()),)
    assert span.error


def test_links_and_events_beyond_the_limit_are_counted() -> None:
    recorder = record()
    span = recorder.tracer.start(T.SPAN_FLUSH)
    for _ in range(200):
        span.link(CALLER)
        span.event(T.EVENT_STARTED)
    span.end()
    recorder.tracer.emit(T.SPAN_FLUSH, CALLER, 1, 2, links=[CALLER] * 130)
    first, second = recorder.request.resource_spans[0].scope_spans[0].spans
    assert (len(first.links), first.dropped_links_count) == (128, 72)
    assert (len(first.events), first.dropped_events_count) == (128, 72)
    assert (len(second.links), second.dropped_links_count) == (128, 2)


def test_links_to_what_is_not_recorded_are_left_out() -> None:
    recorder = record()
    span = recorder.tracer.start(T.SPAN_FLUSH)
    span.link(NOOP.context)
    span.end()
    recorder.tracer.emit(T.SPAN_COMMIT_WAIT, None, 1, 2, links=(NOOP.context, CALLER))
    first, second = recorder.spans
    assert first.links == ()
    assert len(second.links) == 1
    assert second.parent_id == ""


def test_use_makes_the_span_current_for_the_block() -> None:
    recorder = record()
    span = recorder.tracer.start(T.SPAN_FLUSH)
    assert current_span() is NOOP
    with recorder.tracer.use(span):
        assert current_span() is span
        with recorder.tracer.use(NOOP):
            assert current_span() is NOOP
        assert current_span() is span
    assert current_span() is NOOP


def test_ids_are_never_zero_and_never_repeat() -> None:
    recorder = record(ratio=1.0)
    roots = [recorder.tracer.new_root() for _ in range(5000)]
    assert len({root.trace_id for root in roots}) == 5000
    assert all(root.span_id == ZERO_SPAN_ID and any(root.trace_id) for root in roots)


@pytest.mark.parametrize(
    "act",
    [
        lambda tracer: tracer.start(SpanName("hatchet.run/made-up", SpanKind.INTERNAL, frozenset())),
        lambda tracer: tracer.start(T.SPAN_RUN).set(T.ATTR_DB_QUERY_TEXT, "SELECT 1"),
        lambda tracer: tracer.start(T.SPAN_RUN).set(Attr("hatchet.run/run.id", str, False), "x"),
        lambda tracer: tracer.start(T.SPAN_ATTEMPT).set(T.ATTR_ATTEMPT, "1"),
        lambda tracer: tracer.start(T.SPAN_ATTEMPT).set(T.ATTR_ATTEMPT, True),
        lambda tracer: tracer.start(T.SPAN_RUN).event(T.EVENT_STARTED, (T.ATTR_RUN_ID, "x")),
        lambda tracer: tracer.start(T.SPAN_RUN).link(CALLER._replace(span_id=ZERO_SPAN_ID)),
        lambda tracer: tracer.start(T.SPAN_RUN).end(message="without a type"),
        lambda tracer: tracer.emit(T.SPAN_RUN, CALLER, 1, 2, attrs=((T.ATTR_DB_QUERY_TEXT, "x"),)),
    ],
)
def test_strict_tracer_undeclared_use_raises(act) -> None:
    with pytest.raises(ContractViolationError):
        act(record().tracer)


@pytest.mark.parametrize("ratio", [0.0, 0.25, 1.0])
def test_sampler_ratio_holds_to_three_sigma(ratio: float) -> None:
    tracer = record(ratio, seed=7).tracer
    count = 20_000
    taken = sum(tracer.new_root().sampled for _ in range(count))
    sigma = (count * ratio * (1 - ratio)) ** 0.5
    assert abs(taken - count * ratio) <= 3 * sigma


@pytest.mark.parametrize("ratio", [0.0, 0.25, 1.0])
def test_decide_caller_unsampled_is_respected_and_sampled_does_not_override(ratio: float) -> None:
    tracer = record(ratio, seed=9).tracer
    for _ in range(500):
        trace_id = tracer.new_root().trace_id
        plain = tracer.decide(trace_id)
        assert tracer.decide(trace_id, TraceContext(trace_id, b"\x01" * 8, True)) is plain
        assert not tracer.decide(trace_id, TraceContext(trace_id, b"\x01" * 8, False))


def test_sampler_agrees_with_the_official_rule() -> None:
    from opentelemetry.sdk.trace.sampling import Decision, TraceIdRatioBased

    ids = SeededIds(3)
    for ratio in (0.001, 0.25, 0.5, 0.999):
        official, ours = TraceIdRatioBased(ratio), Sampler(ratio)
        for _ in range(500):
            trace_id = ids.random_bytes(16)
            taken = official.should_sample(None, int.from_bytes(trace_id, "big"), "x").decision
            assert ours.decide(trace_id) is (taken is Decision.RECORD_AND_SAMPLE)


@pytest.mark.parametrize("ratio", [-0.1, 1.1, float("nan"), float("inf")])
def test_sampler_bad_ratio_raises(ratio: float) -> None:
    with pytest.raises(ValueError, match="ratio"):
        Sampler(ratio)


def test_adopt_caller_takes_over_place_and_own_decision() -> None:
    tracer = record(0.0).tracer
    assert tracer.adopt(CALLER) == CALLER._replace(sampled=False)
    assert tracer.adopt(None).span_id == ZERO_SPAN_ID
