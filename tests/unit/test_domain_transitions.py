"""The task's state machine, row by row."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import get_args
from uuid import UUID

import pytest

from broadaxe.domain.backoff import MAX_WAIT, retry_delay
from broadaxe.domain.diagram import render_page
from broadaxe.domain.ids import WorkerId
from broadaxe.domain.task import (
    Assigned,
    AttemptOutcome,
    CancelRequested,
    Completed,
    Decision,
    ExecutionTimedOut,
    Failed,
    NoteKind,
    PassedOver,
    Readied,
    Replayed,
    Reset,
    RetryDue,
    RuledOut,
    ScheduleTimedOut,
    SendCancel,
    SendFailed,
    SlotReleased,
    Started,
    StepPolicy,
    TaskEvent,
    TaskState,
    TaskStatus,
    TimeoutRefreshed,
    WorkerLost,
)
from broadaxe.domain.transitions import TRANSITIONS, decide

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
WORKER = WorkerId(UUID(int=7))
POLICY = StepPolicy(timeout=90.0)
RETRYING = StepPolicy(retries=2, timeout=90.0)
QUEUED = TaskStatus(TaskState.QUEUED, 0, NOW)


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def apply(status: TaskStatus, event: TaskEvent, at: float = 0, policy: StepPolicy = POLICY) -> Decision:
    decision = decide(status, policy, event, after(at))
    assert decision is not None
    return decision


ASSIGNED = apply(QUEUED, Assigned(WORKER)).status
RUNNING = apply(ASSIGNED, Started(0), 1).status
DELAYED = apply(RUNNING, Failed(0, b"x", retry_after=5), 2, RETRYING).status
DONE = apply(RUNNING, Completed(0, b'{"a":1}'), 2).status
LOST = apply(RUNNING, Failed(0, b"boom"), 2).status
GONE = apply(RUNNING, CancelRequested(), 2).status
UNDECIDED = apply(DONE, Reset(), 3).status
STATUSES = (QUEUED, DELAYED, RUNNING, DONE, LOST, GONE, UNDECIDED)

EVENTS: tuple[TaskEvent, ...] = (
    Assigned(WORKER),
    SendFailed(),
    Started(0),
    Completed(0, b"{}"),
    Failed(0, b"x"),
    CancelRequested(),
    ExecutionTimedOut(0),
    ScheduleTimedOut(0),
    WorkerLost(0, "gone"),
    RetryDue(0),
    TimeoutRefreshed(1),
    SlotReleased(),
    Replayed(),
    Reset(),
    Readied(),
    PassedOver(b'{"skipped":true}'),
    RuledOut(),
)


def test_table_covers_every_event_and_state() -> None:
    assert {event for _, event in TRANSITIONS} == set(get_args(TaskEvent)) == {type(e) for e in EVENTS}
    assert {state for state, _ in TRANSITIONS} == set(TaskState)


@pytest.mark.parametrize("status", STATUSES, ids=lambda s: s.state.name)
@pytest.mark.parametrize("event", EVENTS, ids=lambda e: type(e).__name__)
def test_decide_event_without_row_is_stale(status: TaskStatus, event: TaskEvent) -> None:
    if (status.state, type(event)) not in TRANSITIONS:
        assert decide(status, RETRYING, event, after(500)) is None


def test_decide_final_state_changes_only_by_replay() -> None:
    rows = {event for state, event in TRANSITIONS if state.final}
    assert rows == {Replayed, Reset}


def test_decide_reset_step_waits_for_its_parents_and_is_decided_by_them() -> None:
    assert (UNDECIDED.state, UNDECIDED.attempt, UNDECIDED.output) == (TaskState.PENDING, 1, None)
    ready = apply(UNDECIDED, Readied(), 9).status
    assert (ready.state, ready.attempt, ready.queued_at) == (TaskState.QUEUED, 1, after(9))
    passed = apply(UNDECIDED, PassedOver(b"1"), 9).status
    assert (passed.state, passed.output, passed.finished_at) == (TaskState.COMPLETED, b"1", after(9))
    out = apply(UNDECIDED, RuledOut("why"), 9)
    assert (out.status.state, out.status.finished_at) == (TaskState.CANCELLED, after(9))
    assert [note.message for note in out.notes] == ["why"]
    assert decide(UNDECIDED, POLICY, CancelRequested(), after(9)) is None


def test_decide_assigned_sets_deadline() -> None:
    assert ASSIGNED.state is TaskState.ASSIGNED
    assert (ASSIGNED.worker_id, ASSIGNED.assigned_at, ASSIGNED.started_at) == (WORKER, NOW, None)
    assert ASSIGNED.timeout_at == after(90)


def test_decide_send_failed_keeps_attempt_and_place() -> None:
    decision = apply(ASSIGNED, SendFailed(), 3)
    assert decision.status == QUEUED
    assert decision.record is None
    assert [n.kind for n in decision.notes] == [NoteKind.COULD_NOT_SEND]


@pytest.mark.parametrize("status", [RUNNING, replace(ASSIGNED, slot_released=True)])
def test_decide_send_failed_after_worker_saw_it_is_stale(status: TaskStatus) -> None:
    assert decide(status, POLICY, SendFailed(), NOW) is None


def test_decide_started_twice_is_stale() -> None:
    assert RUNNING.started_at == after(1)
    assert decide(RUNNING, POLICY, Started(0), after(2)) is None


def test_decide_completed_before_started_is_accepted() -> None:
    status = apply(ASSIGNED, Completed(0, b"[1]"), 2).status
    assert (status.state, status.output, status.started_at) == (TaskState.COMPLETED, b"[1]", None)
    assert status.finished_at == after(2)


def test_decide_completed_empty_output_is_none() -> None:
    assert apply(RUNNING, Completed(0, b""), 2).status.output is None


@pytest.mark.parametrize(
    "event",
    [
        Started(1),
        Completed(1, b""),
        Failed(1, b""),
        CancelRequested(1),
        ExecutionTimedOut(1),
        WorkerLost(1, ""),
    ],
)
def test_decide_other_attempt_is_stale(event: TaskEvent) -> None:
    assert decide(ASSIGNED, RETRYING, event, after(500)) is None


def test_decide_failed_without_retries_is_final() -> None:
    assert (LOST.state, LOST.error, LOST.finished_at) == (TaskState.FAILED, b"boom", after(2))


def test_decide_failed_non_retryable_is_final() -> None:
    decision = apply(RUNNING, Failed(0, b"boom", should_not_retry=True), 2, RETRYING)
    assert decision.status.state is TaskState.FAILED
    assert (decision.record, decision.notes) == (None, ())


def test_decide_failed_with_retry_left_is_queued_at_once() -> None:
    decision = apply(RUNNING, Failed(0, b"boom"), 2, RETRYING)
    status, record = decision.status, decision.record
    assert status == TaskStatus(TaskState.QUEUED, 1, after(2), app_retries=1)
    assert record is not None
    assert (record.attempt, record.outcome, record.error) == (0, AttemptOutcome.FAILED, b"boom")
    assert (record.assigned_at, record.started_at, record.ended_at) == (NOW, after(1), after(2))
    assert record.worker_id == WORKER
    assert [(n.kind, n.attempt) for n in decision.notes] == [(NoteKind.RETRYING, 1)]
    assert decision.cancel is None


def test_decide_failed_with_backoff_waits_until_due() -> None:
    policy = StepPolicy(retries=5, backoff_factor=3.0, backoff_max=20.0)
    waits = []
    status = QUEUED
    for attempt in range(4):
        status = apply(status, Assigned(WORKER), policy=policy).status
        status = apply(status, Failed(attempt, b""), policy=policy).status
        assert status.state is TaskState.DELAYED
        assert status.retry_at == status.queued_at
        assert status.retry_at is not None
        waits.append((status.retry_at - NOW).total_seconds())
        status = apply(status, RetryDue(attempt + 1), policy=policy).status
    assert waits == [3, 9, 20, 20]


@pytest.mark.parametrize(
    ("factor", "number", "retry_after", "delay"),
    [
        (None, 1, None, 0),
        (2.0, 1, None, 2),
        (2.0, 1, 0.25, 0.25),
        (2.0, 1, 0.0, 0),
        (2.0, 1, -1.0, 0),
        (2.0, 1, float("nan"), 0),
        (None, 1, float("inf"), MAX_WAIT),
        (1000.0, 5_000, None, 86_400),
    ],
)
def test_retry_delay_cases(
    factor: float | None, number: int, retry_after: float | None, delay: float
) -> None:
    assert retry_delay(StepPolicy(backoff_factor=factor), number, retry_after) == delay


def test_decide_execution_timeout_with_retry_cancels_and_retries() -> None:
    decision = apply(RUNNING, ExecutionTimedOut(0), 90, RETRYING)
    assert decision.status.state is TaskState.QUEUED
    assert decision.cancel == SendCancel(WORKER, 0)
    assert decision.record is not None
    assert decision.record.outcome is AttemptOutcome.TIMED_OUT
    assert decision.record.error == b"Task exceeded timeout of 1m30s"
    assert [n.kind for n in decision.notes] == [NoteKind.TIMED_OUT, NoteKind.RETRYING]


def test_decide_execution_timeout_last_attempt_fails() -> None:
    decision = apply(RUNNING, ExecutionTimedOut(0), 90)
    assert decision.status.state is TaskState.FAILED
    assert decision.status.error == b"Task exceeded timeout of 1m30s"
    assert decision.cancel == SendCancel(WORKER, 0)


def test_decide_execution_timeout_after_refresh_is_stale() -> None:
    refreshed = apply(RUNNING, TimeoutRefreshed(10.0), 50)
    assert refreshed.status.timeout_at == after(100)
    assert [n.kind for n in refreshed.notes] == [NoteKind.TIMEOUT_REFRESHED]
    assert decide(refreshed.status, POLICY, ExecutionTimedOut(0), after(99.9)) is None
    assert apply(refreshed.status, ExecutionTimedOut(0), 100).status.error == (
        b"Task exceeded timeout of 1m40s"
    )


def test_decide_schedule_timeout_cancels_with_note() -> None:
    decision = apply(QUEUED, ScheduleTimedOut(0), 300)
    assert (decision.status.state, decision.status.error) == (TaskState.CANCELLED, None)
    assert [n.kind for n in decision.notes] == [NoteKind.SCHEDULING_TIMED_OUT]
    assert decision.cancel is None


@pytest.mark.parametrize("status", [ASSIGNED, RUNNING, replace(RUNNING, slot_released=True)])
def test_decide_cancel_on_worker_sends_cancel(status: TaskStatus) -> None:
    decision = apply(status, CancelRequested(0, "by a person"), 5)
    assert (decision.status.state, decision.status.error) == (TaskState.CANCELLED, None)
    assert decision.cancel == SendCancel(WORKER, 0)
    assert [(n.kind, n.message) for n in decision.notes] == [(NoteKind.CANCELLED, "by a person")]


@pytest.mark.parametrize("status", [QUEUED, DELAYED])
def test_decide_cancel_off_worker_sends_nothing(status: TaskStatus) -> None:
    decision = apply(status, CancelRequested(), 5)
    assert decision.status.state is TaskState.CANCELLED
    assert (decision.cancel, decision.notes) == (None, ())
    assert decision.status.retry_at is None


def test_decide_worker_lost_is_an_internal_retry() -> None:
    decision = apply(RUNNING, WorkerLost(0, "no heartbeat"), 40)
    assert decision.status == TaskStatus(TaskState.QUEUED, 1, after(40), internal_retries=1)
    assert decision.record is not None
    assert decision.record.outcome is AttemptOutcome.REASSIGNED
    assert [(n.kind, n.attempt) for n in decision.notes] == [(NoteKind.REASSIGNED, 1)]
    assert decision.cancel == SendCancel(WORKER, 0)


def test_decide_worker_lost_too_often_fails() -> None:
    status = replace(RUNNING, internal_retries=10)
    decision = apply(status, WorkerLost(0, "no heartbeat"), 40)
    assert decision.status.state is TaskState.FAILED
    assert b"maximum reassignment count" in (decision.status.error or b"")


def test_decide_worker_lost_with_released_slot_is_left_alone() -> None:
    assert decide(replace(RUNNING, slot_released=True), POLICY, WorkerLost(0, ""), after(40)) is None


def test_decide_retry_due_is_queued_from_now() -> None:
    status = apply(DELAYED, RetryDue(1), 9).status
    assert status == TaskStatus(TaskState.QUEUED, 1, after(9), app_retries=1)


def test_decide_slot_released_keeps_worker_and_is_once() -> None:
    decision = apply(RUNNING, SlotReleased(), 3)
    assert decision.status == replace(RUNNING, slot_released=True)
    assert decide(decision.status, POLICY, SlotReleased(), after(4)) is None


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (DONE, AttemptOutcome.REPLAYED_COMPLETED),
        (LOST, AttemptOutcome.REPLAYED_FAILED),
        (GONE, AttemptOutcome.REPLAYED_CANCELLED),
    ],
)
def test_decide_replay_starts_afresh(status: TaskStatus, outcome: AttemptOutcome) -> None:
    status = replace(status, app_retries=2, internal_retries=3)
    decision = apply(status, Replayed(), 60)
    assert decision.status == TaskStatus(TaskState.QUEUED, 1, after(60))
    assert decision.record is not None
    assert (decision.record.outcome, decision.record.ended_at) == (outcome, after(2))
    assert (decision.record.output, decision.record.error) == (status.output, status.error)
    assert [(n.kind, n.attempt) for n in decision.notes] == [(NoteKind.RETRIED_BY_USER, 1)]


def test_decide_clock_steps_back_times_stay_ordered() -> None:
    status = apply(RUNNING, Completed(0, b""), -100).status
    assert status.finished_at == RUNNING.started_at


def test_decide_refresh_beyond_the_calendar_is_held() -> None:
    status = apply(RUNNING, TimeoutRefreshed(1e12), 1).status
    assert status.timeout_at is not None
    assert status.timeout_at.year == 9999


def test_diagram_page_is_current() -> None:
    page = Path(__file__).parents[2] / "docs/architecture/task-states.md"
    assert page.read_text() == render_page(), "run python -m broadaxe.domain.diagram > " + str(page)
