"""The rules that the transition table names: what each event does to a task.

A rule is called only for the states its table rows name and for the live attempt; it answers None when a
finer condition says that the event is stale. Rules are pure: the time comes in, effects go out as data.
"""

from dataclasses import replace
from datetime import datetime

from broadaxe.domain.backoff import later, retry_delay
from broadaxe.domain.durations import format_duration
from broadaxe.domain.task import (
    Assigned,
    AttemptOutcome,
    AttemptRecord,
    CancelRequested,
    Completed,
    Decision,
    ExecutionTimedOut,
    Failed,
    Note,
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
    TaskState,
    TaskStatus,
    TimeoutRefreshed,
    WorkerLost,
)

_REPLAY_OUTCOMES = {
    TaskState.COMPLETED: AttemptOutcome.REPLAYED_COMPLETED,
    TaskState.FAILED: AttemptOutcome.REPLAYED_FAILED,
    TaskState.CANCELLED: AttemptOutcome.REPLAYED_CANCELLED,
}


def assign(status: TaskStatus, policy: StepPolicy, event: Assigned, now: datetime) -> Decision:
    """Give the task to a worker; its execution deadline is fixed here."""
    return Decision(
        replace(
            status,
            state=TaskState.ASSIGNED,
            worker_id=event.worker_id,
            assigned_at=now,
            started_at=None,
            timeout_at=later(now, policy.timeout),
            slot_released=False,
        )
    )


def unassign(status: TaskStatus, policy: StepPolicy, event: SendFailed, now: datetime) -> Decision | None:
    """Back to the queue, in its old place: the worker never saw this attempt, so it keeps its number.

    A worker that reported a start or gave its slot back has seen it: then the event is wrong, and stale.
    """
    if status.started_at is not None or status.slot_released:
        return None
    return Decision(
        replace(_released(status), state=TaskState.QUEUED),
        notes=(Note(NoteKind.COULD_NOT_SEND, status.attempt, now, "Could not send task to worker"),),
    )


def start(status: TaskStatus, policy: StepPolicy, event: Started, now: datetime) -> Decision | None:
    """Note when the worker began; a second report of it changes nothing."""
    if status.started_at is not None:
        return None
    return Decision(replace(status, started_at=_not_before(status, now)))


def complete(status: TaskStatus, policy: StepPolicy, event: Completed, now: datetime) -> Decision:
    """Keep the output. The report of the start may be missing: then `started_at` stays empty."""
    return Decision(
        replace(
            status,
            state=TaskState.COMPLETED,
            finished_at=_not_before(status, now),
            timeout_at=None,
            output=event.output or None,
            error=None,
        )
    )


def fail(status: TaskStatus, policy: StepPolicy, event: Failed, now: datetime) -> Decision:
    """Retry while the step allows it, else keep the error for good."""
    if event.should_not_retry or status.app_retries >= policy.retries:
        return Decision(_ended(status, TaskState.FAILED, event.error, now))
    return _retry(status, policy, AttemptOutcome.FAILED, event.error, event.retry_after, now)


def time_out(
    status: TaskStatus, policy: StepPolicy, event: ExecutionTimedOut, now: datetime
) -> Decision | None:
    """A failure like any other, retries included, and the worker is told to stop.

    Stale while the deadline is still ahead: the worker asked for more time after the event was planned.
    """
    if status.timeout_at is not None and now < status.timeout_at:
        return None
    allowed = policy.timeout
    if status.timeout_at is not None and status.assigned_at is not None:
        allowed = (status.timeout_at - status.assigned_at).total_seconds()
    text = f"Task exceeded timeout of {format_duration(allowed)}"
    note = Note(NoteKind.TIMED_OUT, status.attempt, now, text)
    cancel = _cancel(status)
    if status.app_retries >= policy.retries:
        return Decision(_ended(status, TaskState.FAILED, text.encode(), now), notes=(note,), cancel=cancel)
    retry = _retry(status, policy, AttemptOutcome.TIMED_OUT, text.encode(), None, now)
    return replace(retry, notes=(note, *retry.notes), cancel=cancel)


def time_out_schedule(
    status: TaskStatus, policy: StepPolicy, event: ScheduleTimedOut, now: datetime
) -> Decision:
    """No worker in time: a cancellation here (dependants see CANCELLED), never retried.

    The read side shows such a task as FAILED; the note is what tells it from a cancelled one.
    """
    text = f"Task was not assigned to a worker within {format_duration(policy.schedule_timeout)}"
    note = Note(NoteKind.SCHEDULING_TIMED_OUT, status.attempt, now, text)
    return Decision(_ended(status, TaskState.CANCELLED, None, now), notes=(note,))


def cancel(status: TaskStatus, policy: StepPolicy, event: CancelRequested, now: datetime) -> Decision:
    """End it now, without an error; a worker that holds it, with or without its slot, is told to stop."""
    notes: tuple[Note, ...] = ()
    if event.reason:
        notes = (Note(NoteKind.CANCELLED, status.attempt, now, event.reason),)
    return Decision(_ended(status, TaskState.CANCELLED, None, now), notes=notes, cancel=_cancel(status))


def reassign(status: TaskStatus, policy: StepPolicy, event: WorkerLost, now: datetime) -> Decision | None:
    """An internal retry under a new attempt number, at once; the old worker is told to stop if it is there.

    A task that gave its slot back is left alone: it may well go on, and its execution deadline ends it.
    """
    if status.slot_released:
        return None
    if status.internal_retries >= policy.max_internal_retries:
        text = f"Task reached its maximum reassignment count of {policy.max_internal_retries}: {event.reason}"
        return Decision(_ended(status, TaskState.FAILED, text.encode(), now), cancel=_cancel(status))
    attempt = status.attempt + 1
    return Decision(
        replace(
            _released(status),
            state=TaskState.QUEUED,
            attempt=attempt,
            internal_retries=status.internal_retries + 1,
            queued_at=now,
        ),
        record=_record(status, AttemptOutcome.REASSIGNED, event.reason.encode(), now),
        notes=(Note(NoteKind.REASSIGNED, attempt, now, event.reason),),
        cancel=_cancel(status),
    )


def requeue(status: TaskStatus, policy: StepPolicy, event: RetryDue, now: datetime) -> Decision:
    """The wait is over: the schedule time-out of this attempt counts from here."""
    return Decision(replace(status, state=TaskState.QUEUED, queued_at=now, retry_at=None))


def refresh_timeout(
    status: TaskStatus, policy: StepPolicy, event: TimeoutRefreshed, now: datetime
) -> Decision:
    """Move the deadline on from where it is, not from now."""
    deadline = later(status.timeout_at or now, event.seconds)
    text = f"Timeout refreshed by {format_duration(event.seconds)}"
    return Decision(
        replace(status, timeout_at=deadline),
        notes=(Note(NoteKind.TIMEOUT_REFRESHED, status.attempt, now, text),),
    )


def release_slot(
    status: TaskStatus, policy: StepPolicy, event: SlotReleased, now: datetime
) -> Decision | None:
    """Free the slot while the worker goes on; `worker_id` stays, so that a cancel still finds it."""
    if status.slot_released:
        return None
    return Decision(
        replace(status, slot_released=True),
        notes=(Note(NoteKind.SLOT_RELEASED, status.attempt, now, "Slot released"),),
    )


def replay(status: TaskStatus, policy: StepPolicy, event: Replayed, now: datetime) -> Decision:
    """Run a final task again, with fresh retries; what the last attempt gave goes to the history."""
    attempt = status.attempt + 1
    ended_at = status.finished_at or now
    return Decision(
        TaskStatus(state=TaskState.QUEUED, attempt=attempt, queued_at=now),
        record=_record(status, _REPLAY_OUTCOMES[status.state], status.error, ended_at),
        notes=(Note(NoteKind.RETRIED_BY_USER, attempt, now, "Task replayed"),),
    )


def reset(status: TaskStatus, policy: StepPolicy, event: Reset, now: datetime) -> Decision:
    """Like a replay, but whether it goes is for its parents and conditions to say."""
    decision = replay(status, policy, Replayed(), now)
    return replace(decision, status=replace(decision.status, state=TaskState.PENDING))


def ready(status: TaskStatus, policy: StepPolicy, event: Readied, now: datetime) -> Decision:
    """It may go: the schedule time-out of this attempt counts from here."""
    return Decision(replace(status, state=TaskState.QUEUED, queued_at=now))


def pass_over(status: TaskStatus, policy: StepPolicy, event: PassedOver, now: datetime) -> Decision:
    """Skipped: completed without a worker."""
    done = replace(status, state=TaskState.COMPLETED, queued_at=now, finished_at=now, output=event.output)
    return Decision(done)


def rule_out(status: TaskStatus, policy: StepPolicy, event: RuledOut, now: datetime) -> Decision:
    """Cancelled before it ever was queued."""
    notes: tuple[Note, ...] = ()
    if event.reason:
        notes = (Note(NoteKind.CANCELLED, status.attempt, now, event.reason),)
    return Decision(_ended(replace(status, queued_at=now), TaskState.CANCELLED, None, now), notes=notes)


def _retry(
    status: TaskStatus,
    policy: StepPolicy,
    outcome: AttemptOutcome,
    error: bytes,
    retry_after: float | None,
    now: datetime,
) -> Decision:
    number = status.app_retries + 1
    attempt = status.attempt + 1
    delay = retry_delay(policy, number, retry_after)
    due = later(now, delay)
    # A wait below the clock's resolution is no wait.
    waits = due > now
    when = f"in {format_duration(delay)}" if waits else "at once"
    return Decision(
        replace(
            _released(status),
            state=TaskState.DELAYED if waits else TaskState.QUEUED,
            attempt=attempt,
            app_retries=number,
            queued_at=due,
            retry_at=due if waits else None,
        ),
        record=_record(status, outcome, error, now),
        notes=(Note(NoteKind.RETRYING, attempt, now, f"Retry {number} of {policy.retries} {when}"),),
    )


def _released(status: TaskStatus) -> TaskStatus:
    """The status without anything that belongs to one worker's execution."""
    return replace(
        status,
        worker_id=None,
        assigned_at=None,
        started_at=None,
        finished_at=None,
        retry_at=None,
        timeout_at=None,
        slot_released=False,
        output=None,
        error=None,
    )


def _ended(status: TaskStatus, state: TaskState, error: bytes | None, now: datetime) -> TaskStatus:
    return replace(
        status,
        state=state,
        finished_at=_not_before(status, now),
        retry_at=None,
        timeout_at=None,
        output=None,
        error=error,
    )


def _not_before(status: TaskStatus, now: datetime) -> datetime:
    """`now`, but never before what this attempt already did: clocks step back, and engines' clocks differ."""
    for earlier in (status.assigned_at, status.started_at):
        if earlier is not None and earlier > now:
            now = earlier
    return now


def _record(status: TaskStatus, outcome: AttemptOutcome, error: bytes | None, now: datetime) -> AttemptRecord:
    return AttemptRecord(
        attempt=status.attempt,
        outcome=outcome,
        queued_at=status.queued_at,
        assigned_at=status.assigned_at,
        started_at=status.started_at,
        ended_at=_not_before(status, now),
        worker_id=status.worker_id,
        output=status.output,
        error=error,
    )


def _cancel(status: TaskStatus) -> SendCancel | None:
    """The order to stop, for the worker that holds the task now."""
    if status.state is not TaskState.ASSIGNED or status.worker_id is None:
        return None
    return SendCancel(status.worker_id, status.attempt)
