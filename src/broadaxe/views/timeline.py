"""A task's timeline, read off its columns, its ended attempts and its notes.

Only rare happenings have a note of their own; everything else (made, queued, assigned, started, ended) is a
time in a row, so that a task without incidents costs no row for its timeline.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from broadaxe.domain.task import AttemptOutcome, AttemptRecord, Note, NoteKind, TaskState
from broadaxe.store.reads import TaskHistory, TaskRow
from broadaxe.views.model import TimelineEntry, TimelineKind

_OF_NOTE = {
    NoteKind.TIMEOUT_REFRESHED: TimelineKind.TIMEOUT_REFRESHED,
    NoteKind.SLOT_RELEASED: TimelineKind.SLOT_RELEASED,
    NoteKind.RETRIED_BY_USER: TimelineKind.RETRIED_BY_USER,
    NoteKind.RETRYING: TimelineKind.RETRYING,
    NoteKind.REASSIGNED: TimelineKind.REASSIGNED,
    NoteKind.COULD_NOT_SEND: TimelineKind.COULD_NOT_SEND_TO_WORKER,
    NoteKind.SCHEDULING_TIMED_OUT: TimelineKind.SCHEDULING_TIMED_OUT,
    NoteKind.TIMED_OUT: TimelineKind.TIMED_OUT,
    NoteKind.CANCELLED: TimelineKind.CANCELLED,
}

_OF_STATE = {
    TaskState.COMPLETED: TimelineKind.FINISHED,
    TaskState.FAILED: TimelineKind.FAILED,
    TaskState.CANCELLED: TimelineKind.CANCELLED,
}

_OF_OUTCOME = {
    AttemptOutcome.FAILED: TimelineKind.FAILED,
    AttemptOutcome.TIMED_OUT: TimelineKind.TIMED_OUT,
    AttemptOutcome.REASSIGNED: None,  # told by the next attempt's note
    AttemptOutcome.SEND_FAILED: TimelineKind.COULD_NOT_SEND_TO_WORKER,
    AttemptOutcome.REPLAYED_COMPLETED: TimelineKind.FINISHED,
    AttemptOutcome.REPLAYED_FAILED: TimelineKind.FAILED,
    AttemptOutcome.REPLAYED_CANCELLED: TimelineKind.CANCELLED,
}

_ENDS = frozenset(
    (
        TimelineKind.FINISHED,
        TimelineKind.FAILED,
        TimelineKind.CANCELLED,
        TimelineKind.TIMED_OUT,
        TimelineKind.SCHEDULING_TIMED_OUT,
    )
)

_GOOD = (TimelineKind.FINISHED, TimelineKind.SKIPPED)

_BEGINS = (
    TimelineKind.CREATED,
    TimelineKind.RETRIED_BY_USER,
    TimelineKind.REASSIGNED,
    TimelineKind.RETRYING,
    TimelineKind.QUEUED,
    TimelineKind.ASSIGNED,
    TimelineKind.STARTED,
)
_RANK = {kind: rank for rank, kind in enumerate(_BEGINS)}
_LAST_RANK = 100

_MESSAGES = {
    TimelineKind.CREATED: "Task was created",
    TimelineKind.QUEUED: "Task waits for a worker",
    TimelineKind.ASSIGNED: "Task was assigned to a worker",
    TimelineKind.STARTED: "Task started",
    TimelineKind.FINISHED: "Task finished",
    TimelineKind.FAILED: "Task failed",
    TimelineKind.CANCELLED: "Task was cancelled",
    TimelineKind.SKIPPED: "Task was skipped",
    TimelineKind.TIMED_OUT: "Task timed out",
    TimelineKind.COULD_NOT_SEND_TO_WORKER: "Task could not be sent to its worker",
}


@dataclass(frozen=True, slots=True)
class _Execution:
    """An attempt, whether it ended in between or is the newest one."""

    attempt: int
    queued_at: datetime | None
    assigned_at: datetime | None
    started_at: datetime | None
    worker_id: UUID | None
    end: TimelineKind | None
    ended_at: datetime | None
    output: bytes | None
    error: bytes | None


def build_timeline(row: TaskRow, history: TaskHistory, task_name: str) -> list[TimelineEntry]:
    """All entries, oldest first; numbers count from 1."""
    task_id = row.facts.id
    entries = [_entry(task_id, TimelineKind.CREATED, row.facts.created_at, 0)]
    noted_ends: set[int] = set()
    executions = [*map(_of_record, history.attempts), _of_status(row)]
    errors = {e.attempt: e.error for e in executions}
    for note in history.notes:
        entry = _of_note(task_id, note, errors.get(note.attempt))
        if entry.kind in _ENDS:
            noted_ends.add(note.attempt)
        entries.append(entry)
    for execution in executions:
        entries += _of_execution(task_id, execution, execution.attempt in noted_ends)
    entries.sort(key=lambda e: (e.at, e.attempt, _RANK.get(e.kind, _LAST_RANK)))
    return [
        TimelineEntry(
            number=number,
            task_id=e.task_id,
            kind=e.kind,
            at=e.at,
            attempt=e.attempt,
            message=e.message,
            task_name=task_name,
            error=e.error,
            output=e.output,
            worker_id=e.worker_id,
        )
        for number, e in enumerate(entries, 1)
    ]


def _of_record(record: AttemptRecord) -> _Execution:
    return _Execution(
        attempt=record.attempt,
        queued_at=record.queued_at,
        assigned_at=record.assigned_at,
        started_at=record.started_at,
        worker_id=record.worker_id,
        end=_OF_OUTCOME[record.outcome],
        ended_at=record.ended_at,
        output=record.output,
        error=record.error,
    )


def _of_status(row: TaskRow) -> _Execution:
    status = row.status
    return _Execution(
        attempt=status.attempt,
        # Until its wait is over, `queued_at` of a delayed task lies ahead.
        queued_at=status.queued_at if _was_queued(row) else None,
        assigned_at=status.assigned_at,
        started_at=status.started_at,
        worker_id=status.worker_id,
        end=_end_of(row),
        ended_at=status.finished_at,
        output=status.output,
        error=status.error,
    )


def _was_queued(row: TaskRow) -> bool:
    """Whether its last attempt is, or was, in a queue: a step that was skipped or cancelled never is."""
    status = row.status
    if status.state in (TaskState.DELAYED, TaskState.PENDING):
        return False
    of_run = row.facts.run_id != row.facts.id
    return not (of_run and status.state.final and status.queued_at == status.finished_at)


def _end_of(row: TaskRow) -> TimelineKind | None:
    """What ended the last attempt, None while it goes on."""
    if row.status.state is TaskState.COMPLETED and row.status.assigned_at is None:
        return TimelineKind.SKIPPED
    return _OF_STATE.get(row.status.state)


def _of_execution(task_id: UUID, execution: _Execution, end_noted: bool) -> list[TimelineEntry]:
    attempt, worker = execution.attempt, execution.worker_id
    entries = []
    if execution.queued_at is not None:
        entries.append(_entry(task_id, TimelineKind.QUEUED, execution.queued_at, attempt))
    if execution.assigned_at is not None:
        entries.append(_entry(task_id, TimelineKind.ASSIGNED, execution.assigned_at, attempt, worker=worker))
    if execution.started_at is not None:
        entries.append(_entry(task_id, TimelineKind.STARTED, execution.started_at, attempt, worker=worker))
    if execution.end is not None and execution.ended_at is not None and not end_noted:
        entries.append(
            _entry(
                task_id,
                execution.end,
                execution.ended_at,
                attempt,
                worker=worker,
                output=execution.output if execution.end in _GOOD else None,
                error=execution.error if execution.end not in _GOOD else None,
            )
        )
    return entries


def _of_note(task_id: UUID, note: Note, error: bytes | None) -> TimelineEntry:
    kind = _OF_NOTE[note.kind]
    shown = error if kind is TimelineKind.TIMED_OUT else None
    return _entry(task_id, kind, note.at, note.attempt, message=note.message, error=shown)


def _entry(
    task_id: UUID,
    kind: TimelineKind,
    at: datetime,
    attempt: int,
    message: str | None = None,
    worker: UUID | None = None,
    output: bytes | None = None,
    error: bytes | None = None,
) -> TimelineEntry:
    return TimelineEntry(
        number=0,
        task_id=task_id,
        kind=kind,
        at=at,
        attempt=attempt,
        message=_MESSAGES.get(kind, "") if message is None else message,
        output=None if output is None else output.decode(errors="replace"),
        error=None if error is None else error.decode(errors="replace"),
        worker_id=worker,
    )


def merge_timelines(timelines: Iterable[list[TimelineEntry]]) -> list[TimelineEntry]:
    """The entries of several tasks in order of time, numbered anew."""
    entries = sorted((entry for one in timelines for entry in one), key=lambda entry: entry.at)
    return [replace(entry, number=number) for number, entry in enumerate(entries, 1)]
