"""Timelines, read off what the state machine leaves behind."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from broadaxe.domain.ids import RunId, StepId, TaskId, TenantId, VersionId, WorkerId, WorkflowId
from broadaxe.domain.task import (
    Assigned,
    AttemptRecord,
    CancelRequested,
    Completed,
    ExecutionTimedOut,
    Failed,
    Note,
    Replayed,
    RetryDue,
    ScheduleTimedOut,
    SendFailed,
    SlotReleased,
    Started,
    StepPolicy,
    TaskEvent,
    TaskFacts,
    TaskState,
    TaskStatus,
    TimeoutRefreshed,
    WorkerLost,
)
from broadaxe.domain.transitions import decide
from broadaxe.store.reads import TaskHistory, TaskRow
from broadaxe.views.model import TimelineEntry
from broadaxe.views.timeline import build_timeline

START = datetime(2026, 1, 1, tzinfo=UTC)
WORKER = WorkerId(uuid4())
ID = uuid4()


def play(events: list[TaskEvent], policy: StepPolicy) -> list[TimelineEntry]:
    """The timeline after these events, a second apart."""
    status = TaskStatus(TaskState.QUEUED, 0, START)
    records: list[AttemptRecord] = []
    notes: list[Note] = []
    for second, event in enumerate(events, 1):
        decision = decide(status, policy, event, START + timedelta(seconds=second))
        assert decision is not None, event
        status = decision.status
        notes += decision.notes
        if decision.record is not None:
            records.append(decision.record)
    facts = TaskFacts(
        TenantId(ID), TaskId(ID), RunId(ID), WorkflowId(ID), VersionId(ID), StepId(ID), 1, START,
        b"{}", b"{}", bytes(25),
    )  # fmt: skip
    return build_timeline(TaskRow(facts, status), TaskHistory(tuple(records), tuple(notes)), "s-1")


def kinds(events: list[TaskEvent], **policy: int) -> list[str]:
    return [entry.kind.value for entry in play(events, replace(StepPolicy(timeout=0.5), **policy))]


BEGIN = ["CREATED", "QUEUED"]
RUN = ["ASSIGNED", "STARTED"]


def test_simple_run() -> None:
    events: list[TaskEvent] = [Assigned(WORKER), Started(0), Completed(0, b"{}")]
    assert kinds(events) == [*BEGIN, *RUN, "FINISHED"]


def test_retry_then_final_failure() -> None:
    events: list[TaskEvent] = [
        Assigned(WORKER), Started(0), Failed(0, b"one"), Assigned(WORKER), Started(1), Failed(1, b"two")
    ]  # fmt: skip
    assert kinds(events, retries=1) == [*BEGIN, *RUN, "FAILED", "RETRYING", "QUEUED", *RUN, "FAILED"]
    entries = play(events, StepPolicy(retries=1))
    assert [(e.attempt, e.error) for e in entries if e.kind == "FAILED"] == [(0, "one"), (1, "two")]
    assert [entry.number for entry in entries] == list(range(1, len(entries) + 1))


def test_delayed_retry_is_not_queued_before_it_is_due() -> None:
    events: list[TaskEvent] = [Assigned(WORKER), Failed(0, b"x", retry_after=2.0)]
    shown = kinds(events, retries=1)
    assert shown == [*BEGIN, "ASSIGNED", "FAILED", "RETRYING"]
    assert kinds([*events, RetryDue(1)], retries=1) == [*shown, "QUEUED"]


def test_execution_time_out_with_and_without_retry() -> None:
    events: list[TaskEvent] = [Assigned(WORKER), Started(0), ExecutionTimedOut(0)]
    assert kinds(events) == [*BEGIN, *RUN, "TIMED_OUT"]
    assert kinds(events, retries=1) == [*BEGIN, *RUN, "TIMED_OUT", "RETRYING", "QUEUED"]
    (entry,) = [e for e in play(events, StepPolicy(timeout=0.5)) if e.kind == "TIMED_OUT"]
    assert entry.error == "Task exceeded timeout of 500ms"


def test_schedule_time_out() -> None:
    assert kinds([ScheduleTimedOut(0)]) == [*BEGIN, "SCHEDULING_TIMED_OUT"]


def test_cancelled_with_and_without_reason_once() -> None:
    assert kinds([CancelRequested()]) == [*BEGIN, "CANCELLED"]
    assert kinds([Assigned(WORKER), CancelRequested(reason="why")]) == [*BEGIN, "ASSIGNED", "CANCELLED"]


def test_lost_worker_reassigned() -> None:
    events: list[TaskEvent] = [Assigned(WORKER), WorkerLost(0, "gone"), Assigned(WORKER)]
    assert kinds(events) == [*BEGIN, "ASSIGNED", "REASSIGNED", "QUEUED", "ASSIGNED"]


def test_send_failure_keeps_the_attempt() -> None:
    events: list[TaskEvent] = [Assigned(WORKER), SendFailed(), Assigned(WORKER)]
    assert kinds(events) == [*BEGIN, "COULD_NOT_SEND_TO_WORKER", "ASSIGNED"]


def test_notes_of_a_running_task() -> None:
    events: list[TaskEvent] = [Assigned(WORKER), Started(0), TimeoutRefreshed(5.0), SlotReleased()]
    assert kinds(events) == [*BEGIN, *RUN, "TIMEOUT_REFRESHED", "SLOT_RELEASED"]


def test_replay_keeps_how_it_ended_before() -> None:
    done: list[TaskEvent] = [Assigned(WORKER), Started(0), Completed(0, b'{"a":1}')]
    again: list[TaskEvent] = [Replayed(), Assigned(WORKER), Started(1), Failed(1, b"x")]
    end = ["FINISHED", "RETRIED_BY_USER", "QUEUED", *RUN, "FAILED"]
    assert kinds([*done, *again]) == [*BEGIN, *RUN, *end]
    (entry,) = [e for e in play([*done, *again], StepPolicy()) if e.kind == "FINISHED"]
    assert (entry.output, entry.worker_id) == ('{"a":1}', WORKER)


def test_replay_of_timed_out_and_cancelled_tells_the_end_once() -> None:
    timed_out: list[TaskEvent] = [Assigned(WORKER), ExecutionTimedOut(0), Replayed()]
    assert kinds(timed_out) == [*BEGIN, "ASSIGNED", "TIMED_OUT", "RETRIED_BY_USER", "QUEUED"]
    cancelled: list[TaskEvent] = [ScheduleTimedOut(0), Replayed()]
    assert kinds(cancelled) == [*BEGIN, "SCHEDULING_TIMED_OUT", "RETRIED_BY_USER", "QUEUED"]


def test_ids_are_of_the_task() -> None:
    assert {entry.task_id for entry in play([], StepPolicy())} == {UUID(int=ID.int)}
