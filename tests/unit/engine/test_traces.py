"""The spans of runs: one tree, ids that follow from rows, nothing twice, nothing orphaned."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans, Span

from broadaxe.domain.schedule import Pause
from broadaxe.domain.task import TaskState
from broadaxe.domain.workflow import StepDefinition
from broadaxe.engine.api import EventKind, Origin, Trigger, WorkerEvent
from broadaxe.engine.scheduler.writes import USUAL_COMMIT
from broadaxe.engine.schedules.requests import CronRequest, ScheduleRequest
from broadaxe.telemetry.context import (
    TraceContext,
    attempt_span_id,
    format_traceparent,
    queue_span_id,
    run_span_id,
    run_trace_id,
)

from .dags import NO_ID, make_dag, on_parent, step
from .harness import TENANT, Bench, make_bench
from .test_sessions import crash_and_take_over

CALLER = TraceContext(b"\x11" * 16, b"\x22" * 8, True)


def spans_of(bench: Bench, trace_id: bytes) -> list[Span]:
    spans = ScopeSpans.FromString(b"".join(bench.spans)).spans
    return [span for span in spans if span.trace_id == trace_id]


def named(spans: list[Span], name: str) -> list[Span]:
    return [span for span in spans if span.name == f"hatchet.run/{name}"]


def attributes(span: Span) -> dict[str, object]:
    return {pair.key: getattr(pair.value, str(pair.value.WhichOneof("value"))) for pair in span.attributes}


def assert_whole(spans: list[Span], outside: bytes = b"") -> None:
    ids = [span.span_id for span in spans]
    assert len(ids) == len(set(ids)), "a span id was used twice"
    orphans = [span.name for span in spans if span.parent_span_id not in (*ids, outside)]
    assert orphans == []
    assert all(span.start_time_unix_nano <= span.end_time_unix_nano for span in spans)


async def test_run_is_one_tree_under_its_callers_span() -> None:
    bench = await make_bench(ratio=1.0)
    await bench.register()
    worker = await bench.worker()
    origin = Origin(caller=CALLER)
    run = await bench.engine.trigger(TENANT, Trigger("flow", b"{}"), origin)
    await bench.settle()
    assert origin.parent == TraceContext(CALLER.trace_id, run_span_id(run), True)
    bench.clock.advance(0.5)
    report = Origin()
    await bench.engine.worker_event(TENANT, WorkerEvent(EventKind.COMPLETED, run, 0, b"1"), report)
    assert report.parent == TraceContext(CALLER.trace_id, attempt_span_id(run, 0), True)
    subscription = bench.engine.subscribe_runs(TENANT, Origin())
    subscription.add(run)
    await anext(aiter(subscription))
    spans = spans_of(bench, CALLER.trace_id)
    assert_whole(spans, CALLER.span_id)
    assert sorted(span.name.removeprefix("hatchet.run/") for span in spans) == [
        "assign",
        "attempt",
        "deliver-result",
        "queue-wait",
        "run",
        "send",
    ]
    [root] = named(spans, "run")
    assert (root.span_id, root.parent_span_id) == (run_span_id(run), CALLER.span_id)
    [attempt] = named(spans, "attempt")
    assert (attempt.span_id, attempt.parent_span_id) == (attempt_span_id(run, 0), run_span_id(run))
    assert attempt.end_time_unix_nano - attempt.start_time_unix_nano == 500_000_000
    assert attributes(attempt)["hatchet.run/outcome"] == "completed"
    [send] = named(spans, "send")
    assert (send.kind, send.parent_span_id) == (Span.SPAN_KIND_PRODUCER, attempt.span_id)
    assert named(spans, "queue-wait")[0].span_id == queue_span_id(run, 0)
    # The worker hangs its spans under the attempt; what is stored is the caller's affair.
    sent = json.loads(worker.starts[0].metadata or b"{}")["traceparent"]
    assert sent == format_traceparent(TraceContext(CALLER.trace_id, attempt_span_id(run, 0), True))
    await bench.close()


async def test_run_with_a_retry_links_its_attempts_and_tells_the_failure() -> None:
    bench = await make_bench(ratio=1.0)
    await bench.register(step={"retries": 1})
    await bench.worker()
    run = await bench.trigger()
    await bench.report(EventKind.FAILED, run, b"ValueError: secret\nsecret", attempt=0)
    await bench.report(EventKind.FAILED, run, b"secret again", attempt=1)
    spans = spans_of(bench, run_trace_id(run))
    assert_whole(spans)
    first, second = named(spans, "attempt")
    assert second.links[0].span_id == first.span_id
    # The class of an error is told, its text is the user's data.
    assert first.status.message == "ValueError"
    assert attributes(first)["hatchet.run/retry.reason"] == "failure"
    [root] = named(spans, "run")
    assert root.parent_span_id == b""
    assert root.status.message == ""
    assert b"secret" not in b"".join(bench.spans)
    assert len(named(spans, "queue-wait")) == 2
    await bench.close()


async def test_run_cancelled_while_it_runs_tells_the_cancel_that_was_sent() -> None:
    bench = await make_bench(ratio=1.0)
    await bench.register()
    await bench.worker()
    run = await bench.trigger()
    await bench.engine.cancel(TENANT, [run], None, Origin())
    await bench.settle()
    spans = spans_of(bench, run_trace_id(run))
    assert_whole(spans)
    [cancel] = named(spans, "send-cancel")
    assert cancel.parent_span_id == attempt_span_id(run, 0)
    assert attributes(named(spans, "run")[0])["hatchet.run/outcome"] == "cancelled"
    await bench.close()


async def test_run_that_never_found_a_worker_has_a_wait_and_no_attempt() -> None:
    bench = await make_bench(ratio=1.0)
    await bench.register(step={"schedule_timeout": 2.0})
    run = await bench.trigger()
    await bench.advance(3)
    spans = spans_of(bench, run_trace_id(run))
    assert_whole(spans)
    assert sorted(span.name for span in spans) == ["hatchet.run/queue-wait", "hatchet.run/run"]
    await bench.close()


async def test_run_replayed_adds_attempts_and_no_second_root() -> None:
    bench = await make_bench(ratio=1.0)
    await bench.register()
    await bench.worker()
    run = await bench.trigger()
    await bench.report(EventKind.COMPLETED, run, b"1", attempt=0)
    await bench.engine.replay(TENANT, [run], None, Origin())
    await bench.settle()
    await bench.report(EventKind.COMPLETED, run, b"2", attempt=1)
    spans = spans_of(bench, run_trace_id(run))
    assert_whole(spans)
    assert len(named(spans, "run")) == 1
    assert len(named(spans, "attempt")) == 2
    await bench.close()


async def test_child_hangs_under_the_attempt_that_spawned_it() -> None:
    bench = await make_bench(ratio=1.0)
    await bench.register()
    await bench.register(name="child", step={"action": "child:step"})
    await bench.worker(actions=("flow:step", "child:step"))
    parent = await bench.trigger()
    run = await bench.trigger(workflow="child", parent_task_id=parent, child_index=0)
    await bench.report(EventKind.COMPLETED, run, b"1", attempt=0)
    await bench.report(EventKind.COMPLETED, parent, b"1", attempt=0)
    spans = spans_of(bench, run_trace_id(parent))
    assert_whole(spans)
    [child] = [span for span in named(spans, "run") if span.span_id == run_span_id(run)]
    assert child.parent_span_id == attempt_span_id(parent, 0)
    assert attributes(child)["hatchet.run/trigger.kind"] == "child"
    await bench.close()


async def test_child_whose_key_is_taken_leaves_a_place_for_what_was_recorded_of_its_trigger() -> None:
    bench = await make_bench(ratio=1.0)
    await bench.register()
    await bench.worker()
    parent = await bench.trigger()
    again = Trigger("flow", b"{}", parent_task_id=parent, child_key="k")
    places = [Origin(), Origin()]
    first, second = [await bench.engine.trigger(TENANT, again, origin) for origin in places]
    assert first == second
    await bench.report(EventKind.COMPLETED, first, b"1", attempt=0)
    await bench.report(EventKind.COMPLETED, parent, b"1", attempt=0)
    spans = spans_of(bench, run_trace_id(parent))
    assert_whole(spans)
    [taken] = named(spans, "ingest")
    assert attributes(taken)["hatchet.run/outcome"] == "deduplicated"
    assert places[1].parent is not None
    assert taken.span_id == places[1].parent.span_id
    assert taken.parent_span_id == attempt_span_id(parent, 0)
    await bench.close()


@pytest.mark.parametrize("refused_by", ["ratio", "caller"])
async def test_run_that_is_not_sampled_leaves_no_span_and_the_callers_bytes(refused_by: str) -> None:
    bench = await make_bench(ratio=0.0 if refused_by == "ratio" else 1.0)
    await bench.register()
    worker = await bench.worker()
    own = CALLER._replace(sampled=refused_by == "ratio")
    metadata = json.dumps({"traceparent": format_traceparent(own)}).encode()
    origin = Origin()
    run = await bench.engine.trigger(TENANT, Trigger("flow", b"{}", metadata), origin)
    await bench.settle()
    await bench.report(EventKind.COMPLETED, run, b"1", attempt=0)
    assert spans_of(bench, CALLER.trace_id) == []
    assert worker.starts[0].metadata == metadata
    assert origin.parent == TraceContext(CALLER.trace_id, run_span_id(run), False)
    await bench.close()


async def test_run_without_a_caller_gives_workers_the_deterministic_traceparent_when_off() -> None:
    bench = await make_bench()
    await bench.register()
    worker = await bench.worker()
    run = await bench.trigger()
    sent = json.loads(worker.starts[0].metadata or b"{}")["traceparent"]
    assert sent == f"00-{run_trace_id(run).hex()}-{run_span_id(run).hex()}-01"
    await bench.close()


async def test_propagation_switched_off_leaves_the_stored_traceparent() -> None:
    bench = await make_bench(ratio=1.0, propagate=False)
    await bench.register()
    worker = await bench.worker()
    run = await bench.trigger()
    assert worker.starts[0].metadata == bench.row(run).facts.metadata
    await bench.close()


async def test_take_over_tells_the_spans_again_that_the_dead_process_may_have_kept() -> None:
    first = await make_bench(ratio=1.0)
    await first.register()
    await first.worker()
    run = await first.trigger()
    first.tables.confirmed_until = first.clock.now()
    await first.report(EventKind.COMPLETED, run, b"1", attempt=0)
    first.ledger.crash()
    await first.engine.timers_service.stop()
    second = await make_bench(first.tables, first.clock, ratio=1.0, seed=3)
    await second.settle()
    spans = spans_of(second, run_trace_id(run))
    assert {span.name.removeprefix("hatchet.run/") for span in spans} == {"run", "attempt", "queue-wait"}
    assert {span.span_id for span in spans} == {
        run_span_id(run),
        attempt_span_id(run, 0),
        queue_span_id(run, 0),
    }
    assert all(attributes(span)["hatchet.run/replayed"] for span in spans)
    recovered = named(list(ScopeSpans.FromString(b"".join(second.spans)).spans), "recover")
    assert len(recovered) == 1
    await second.close()


async def test_take_over_tells_the_attempts_of_steps_with_the_links_that_they_had() -> None:
    first = await make_bench(ratio=1.0)
    mend = StepDefinition(id=NO_ID, name="mend", action="flow:mend", slots={})
    dag = await make_dag(
        first,
        step("one", retries=1),
        step("skipped", "one", conditions=(on_parent("one", 3),)),
        step("two", "one", "skipped"),
        step("last", "one", "two"),
        on_failure=mend,
    )
    first.tables.confirmed_until = first.clock.now()
    run = await dag.start()
    await first.report(EventKind.FAILED, dag.id("one"), b"ValueError: no", attempt=0)
    await dag.complete("one")
    await dag.complete("two")
    await dag.fail("last")
    await dag.complete("mend")
    assert dag.end() == "FAILED"
    first.ledger.crash()
    await first.engine.timers_service.stop()
    second = await make_bench(first.tables, first.clock, ratio=1.0, seed=3)
    await second.settle()

    def links(bench: Bench) -> dict[object, list[bytes]]:
        attempts = named(spans_of(bench, run_trace_id(run)), "attempt")
        return {span.span_id: [link.span_id for link in span.links] for span in attempts}

    one, two, last = (attempt_span_id(dag.id(name), at) for name, at in (("one", 1), ("two", 0), ("last", 0)))
    assert links(second)[attempt_span_id(dag.id("mend"), 0)] == [one, two, last]
    assert links(second)[last] == [one, two]
    assert links(second)[two] == [one], "a skipped step has no attempt"
    assert links(second) == links(first)
    await second.close()


@pytest.mark.parametrize("ends", [1, 2])
async def test_take_over_tells_the_first_end_of_a_run_that_was_replayed_before_the_crash(ends: int) -> None:
    """What a person ran again is told from its attempts: the run's span has the time of its first end."""
    first = await make_bench(ratio=1.0)
    await first.register(step={"retries": 1})
    worker = await first.worker()
    run = await first.trigger()
    first.tables.confirmed_until = first.clock.now()
    await first.report(EventKind.FAILED, run, b"ValueError: no", attempt=0)
    for attempt in range(1, 1 + ends):
        await first.advance(1)
        await first.report(EventKind.COMPLETED, run, b"1", attempt=attempt)
        await first.engine.replay(TENANT, [run], None, Origin())
    await first.settle()
    assert [action.attempt for action in worker.starts] == list(range(ends + 2))
    first.ledger.crash()
    await first.engine.timers_service.stop()
    second = await make_bench(first.tables, first.clock, ratio=1.0, seed=3)
    await second.settle()

    def told(bench: Bench) -> set[tuple[object, ...]]:
        spans = [
            span
            for name in ("run", "attempt", "queue-wait")
            for span in named(spans_of(bench, run_trace_id(run)), name)
        ]
        return {
            (
                span.name, span.span_id, span.parent_span_id, span.start_time_unix_nano,
                span.end_time_unix_nano, span.status.message, attributes(span).get("hatchet.run/outcome"),
            )
            for span in spans
        }  # fmt: skip

    assert told(second) == told(first)
    assert len(named(spans_of(second, run_trace_id(run)), "run")) == 1
    assert len(named(spans_of(second, run_trace_id(run)), "attempt")) == ends + 1
    await second.close()


async def test_write_that_was_held_long_keeps_its_end_from_being_told_as_sent() -> None:
    """Judged, held while the database is away, committed, and then a kill: its span may not have left."""
    left = [datetime(2000, 1, 1, tzinfo=UTC)]
    bench = await make_bench(ratio=1.0, confirmed_until=lambda: left[-1], dead_after=3_600.0)
    await bench.register(step={"timeout": 3_600.0})
    await bench.worker()
    run = await bench.trigger()
    await bench.advance(30)
    judged = bench.clock.now()
    bench.ledger.go_away()
    report = asyncio.ensure_future(
        bench.engine.worker_event(TENANT, WorkerEvent(EventKind.COMPLETED, run, 0, b"1"), Origin())
    )
    await bench.settle()
    for _ in range(3):
        await bench.advance(20)
        left.append(bench.clock.now())
        mark = bench.engine.ownership.confirmed_until()
        assert mark is not None
        assert mark <= judged
    bench.ledger.come_back()
    await report
    await bench.settle()
    assert bench.row(run).status.finished_at == judged
    committed = bench.clock.now()
    left.append(committed)
    assert bench.engine.ownership.confirmed_until() == judged, "its span has just been made"
    await bench.advance(1)
    left.append(bench.clock.now())
    assert bench.engine.ownership.confirmed_until() == left[-1] - USUAL_COMMIT
    await bench.close()


async def test_run_reassigned_after_a_crash_is_one_tree() -> None:
    first = await make_bench(ratio=1.0)
    await first.register()
    worker = await first.worker()
    run = await first.trigger()
    second = await crash_and_take_over(first, ratio=1.0)
    again = await second.listen(worker.id)
    await second.advance(3)
    assert [action.attempt for action in again.starts] == [1]
    await second.report(EventKind.COMPLETED, run, b"1", attempt=1)
    assert second.state(run) is TaskState.COMPLETED
    second.spans[:0] = first.spans
    spans = spans_of(second, run_trace_id(run))
    assert_whole(spans)
    lost, good = named(spans, "attempt")
    assert attributes(lost)["hatchet.run/outcome"] == "reassigned"
    assert good.links[0].span_id == lost.span_id
    assert len(named(spans, "reassign")) == 1
    await second.close()


def test_span_ids_differ_between_runs() -> None:
    assert run_span_id(UUID(int=1)) != run_span_id(UUID(int=2))


async def test_fired_cron_is_a_trace_of_its_own_that_links_to_where_it_was_asked_for() -> None:
    bench = await make_bench(ratio=1.0)
    await bench.register()
    worker = await bench.worker()
    metadata = json.dumps({"traceparent": format_traceparent(CALLER)}).encode()
    request = CronRequest("flow", "* * * * * *", "mine", b"{}", metadata)
    await bench.engine.schedules.create_cron(TENANT, request, Origin())
    await bench.advance(2)
    runs = list(bench.tables.tasks)
    assert len(runs) == 2
    for run in runs:
        await bench.report(EventKind.COMPLETED, run, b"1", attempt=0)
        spans = spans_of(bench, run_trace_id(run))
        assert_whole(spans, outside=b"")
        [root] = named(spans, "run")
        assert root.parent_span_id == b""
        assert attributes(root)["hatchet.run/trigger.kind"] == "cron"
        [fire] = named(spans, "schedule-fire")
        assert fire.parent_span_id == root.span_id
        assert fire.start_time_unix_nano >= root.start_time_unix_nano
        assert [(link.trace_id, link.span_id) for link in fire.links] == [(CALLER.trace_id, CALLER.span_id)]
        assert attributes(fire)["hatchet.run/outcome"] == "fired"
        assert attributes(fire)["hatchet.run/cron.expression"] == "* * * * * *"
    assert len(worker.starts) == 2
    await bench.close()


async def test_dropped_due_time_is_a_root_with_a_link() -> None:
    bench = await make_bench(ratio=1.0)
    await bench.register()
    request = ScheduleRequest("flow", (bench.clock.now() + timedelta(seconds=5),), b"{}", b"{}")
    await bench.engine.schedules.schedule(TENANT, request, Origin(caller=CALLER))
    workflow = bench.tables.newest[(TENANT, "flow")].workflow_id
    await bench.engine.schedules.pause(TENANT, workflow, Pause(ttl=60))
    await bench.advance(6)
    everything = ScopeSpans.FromString(b"".join(bench.spans)).spans
    [fire] = named(list(everything), "schedule-fire")
    assert fire.parent_span_id == b""
    assert attributes(fire)["hatchet.run/outcome"] == "skipped"
    assert attributes(fire)["hatchet.run/trigger.kind"] == "scheduled"
    assert [link.span_id for link in fire.links] == [CALLER.span_id]
    await bench.close()
