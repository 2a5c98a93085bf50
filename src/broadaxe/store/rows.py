"""Rows to domain values and back. The order of columns is that of the SQL files."""

from collections.abc import Container, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec

from broadaxe.domain.ids import TenantId
from broadaxe.domain.task import AttemptOutcome, AttemptRecord, TaskFacts, TaskState, TaskStatus
from broadaxe.domain.workflow import LabelValue, WorkflowDefinition
from broadaxe.store.derived import from_row, to_row
from broadaxe.store.event_ledger import NewEvent
from broadaxe.store.ledger import (
    EndedAttempt,
    LogLine,
    Message,
    MessageKind,
    NewTask,
    StoredTask,
    TaskWrite,
    WorkerRow,
    WorkflowVersion,
)
from broadaxe.store.run_ledger import NewRun
from broadaxe.store.schedule_ledger import SkipRecord
from broadaxe.store.session import Record
from broadaxe.telemetry.context import TraceContext

_STATES = {int(state): state for state in TaskState}
_RUN_ID, _METADATA, _TRACE = 2, 9, 10
FACT_COLUMNS = 18
TASK_COLUMNS = 32

Columns = list[list[object]]


def columns_of(rows: Iterable[Sequence[object]], width: int) -> Columns:
    """Rows turned into the arrays that a statement takes."""
    columns = [list(column) for column in zip(*rows, strict=True)]
    return columns or [[] for _ in range(width)]


def task_row(task: NewTask) -> tuple[object, ...]:
    """The columns of a new task."""
    f, s = task.facts, task.status
    metadata, trace = to_row(f.metadata, f.trace, f.run_id)
    return (
        f.tenant_id, f.id, f.run_id, f.workflow_id, f.version_id, f.step_id, f.priority, f.created_at,
        f.input, metadata, trace, f.parent_task_id, f.parent_run_id, f.child_index, f.child_key,
        f.desired_worker_id, f.desired_labels, f.triggers, s.state, s.attempt, s.queued_at, s.app_retries,
        s.internal_retries, s.worker_id, s.assigned_at, s.started_at, s.finished_at, s.retry_at,
        s.timeout_at, s.slot_released, s.output, s.error,
    )  # fmt: skip


FireRow = tuple[UUID, UUID, datetime, datetime, UUID | None, int | None]


def fire_row(task: NewTask | NewRun) -> FireRow:
    """The claim of a new task's due time."""
    fire = task.fire
    assert fire is not None
    return (task.facts.tenant_id, fire.source_id, fire.due_at, fire.due_at, task.facts.run_id, None)


def skip_row(skip: SkipRecord) -> FireRow:
    """The note of due times that get no run."""
    return (skip.tenant_id, skip.source_id, skip.first, skip.last, None, int(skip.reason))


def scheduled_row(row: FireRow) -> tuple[object, ...]:
    """The same about a planned run, which has one due time."""
    return (*row[:3], *row[4:])


def write_row(write: TaskWrite) -> tuple[object, ...]:
    """The columns of a state change."""
    s, e = write.status, write.expect
    return (
        write.tenant_id, write.task_id, write.expect_attempt, write.expect_state, s.state, s.attempt,
        s.queued_at, s.app_retries, s.internal_retries, s.worker_id, s.assigned_at, s.started_at,
        s.finished_at, s.retry_at, s.timeout_at, s.slot_released, s.output, s.error,
        e is not None, e and e.started_at, e and e.timeout_at, e and e.slot_released,
    )  # fmt: skip


def attempt_row(write: TaskWrite, record: AttemptRecord) -> tuple[object, ...]:
    """The columns of an attempt that ended."""
    return (
        write.tenant_id, write.task_id, record.attempt, record.outcome, record.queued_at, record.assigned_at,
        record.started_at, record.ended_at, record.worker_id, record.output, record.error,
    )  # fmt: skip


def note_rows(write: TaskWrite) -> Iterable[tuple[object, ...]]:
    """The columns of a write's notes."""
    for note in write.notes:
        yield write.tenant_id, write.task_id, note.kind, note.attempt, note.at, _utf8(note.message)


def storable(text: str) -> bool:
    """Whether a text column can hold it: U+0000 and halves of surrogate pairs have no place there."""
    return "\x00" not in text and not any("\ud800" <= char <= "\udfff" for char in text)


def new_note_rows(task: NewTask) -> Iterable[tuple[object, ...]]:
    """The columns of a new task's notes."""
    for note in task.notes:
        yield task.facts.tenant_id, task.facts.id, note.kind, note.attempt, note.at, _utf8(note.message)


def _utf8(text: str) -> bytes:
    # Half a surrogate pair has no encoding; a log line is not refused for it.
    return text.encode("utf-8", "replace")


def log_row(line: LogLine) -> tuple[object, ...]:
    """The columns of a log line."""
    return (
        line.tenant_id, line.task_id, line.attempt, line.created_at, line.level, _utf8(line.message),
        line.metadata,
    )  # fmt: skip


def event_row(new: NewEvent) -> tuple[object, ...]:
    """The columns of an event."""
    event = new.event
    return (
        event.tenant_id, event.id, event.at, event.key, event.scope, event.priority, new.trace, event.payload,
        event.metadata,
    )  # fmt: skip


def event_link_rows(new: NewEvent, missing: Container[UUID]) -> Iterable[tuple[object, ...]]:
    """The columns of an event's links to runs; `missing` ones were not created."""
    for link in new.links:
        if link.run_id not in missing:
            yield new.event.tenant_id, new.event.id, link.run_id, link.filter_id


def event_failure_rows(new: NewEvent) -> Iterable[tuple[object, ...]]:
    """The columns of the expressions that failed with an event."""
    for one in new.failures:
        yield (
            new.event.tenant_id, new.event.id, int(one.source), one.workflow_id, one.filter_id,
            _utf8(one.message),
        )  # fmt: skip


def facts_of(values: tuple[Any, ...]) -> TaskFacts:
    """The facts at the beginning of a row of `task_columns`."""
    facts = list(values[:FACT_COLUMNS])
    facts[_METADATA], facts[_TRACE] = from_row(facts[_METADATA], facts[_TRACE], facts[_RUN_ID])
    return TaskFacts(*facts)


def task_of(record: Record) -> StoredTask:
    """A row of `task_columns`."""
    values = tuple(record)
    return StoredTask(
        facts_of(values), TaskStatus(_STATES[values[FACT_COLUMNS]], *values[FACT_COLUMNS + 1 :])
    )


def ended_attempt_of(record: Record) -> EndedAttempt:
    """A row of `task_columns` and of an attempt behind them."""
    values = tuple(record)
    number, outcome, queued_at, assigned_at, started_at, ended_at, worker_id, error, first_run = values[-9:]
    ended = AttemptRecord(
        attempt=number,
        outcome=AttemptOutcome(outcome),
        queued_at=queued_at,
        assigned_at=assigned_at,
        started_at=started_at,
        ended_at=ended_at,
        worker_id=worker_id,
        output=None,
        error=error,
    )
    return EndedAttempt(facts_of(values), ended, first_run)


def definition_bytes(definition: WorkflowDefinition) -> bytes:
    """A definition as JSON text."""
    return msgspec.json.encode(definition)


def version_of(tenant_id: TenantId, record: Record) -> WorkflowVersion:
    """A row of a workflow version."""
    definition = msgspec.json.decode(record["definition"], type=WorkflowDefinition)
    return WorkflowVersion(
        tenant_id, record["workflow_id"], record["id"], definition, record["created_at"], record["ordinal"]
    )


def labels_bytes(labels: dict[str, LabelValue]) -> str:
    """Labels as the JSON text that the column takes."""
    return msgspec.json.encode(labels).decode()


def labels_of(text: str) -> dict[str, LabelValue]:
    """Labels out of their column."""
    return msgspec.json.decode(text, type=dict[str, LabelValue])


def json_text(value: dict[str, int] | dict[str, str]) -> str:
    """A flat object as JSON text."""
    return msgspec.json.encode(value).decode()


def worker_of(record: Record) -> WorkerRow:
    """A row of `worker_columns`."""
    return WorkerRow(
        tenant_id=record["tenant_id"],
        id=record["id"],
        name=record["name"],
        actions=tuple(record["actions"]),
        slots=msgspec.json.decode(record["slots"], type=dict[str, int]),
        labels=labels_of(record["labels"]),
        runtime=msgspec.json.decode(record["runtime"], type=dict[str, str]),
        registered_at=record["registered_at"],
        last_heartbeat_at=record["last_heartbeat_at"],
        listening_since=record["listening_since"],
        paused=record["paused"],
        engine_id=record["engine_id"],
    )


def trace_bytes(trace: TraceContext | None) -> bytes | None:
    """A context as 25 bytes."""
    if trace is None:
        return None
    return trace.trace_id + trace.span_id + (b"\x01" if trace.sampled else b"\x00")


def trace_of(value: bytes | None) -> TraceContext | None:
    """A context out of its 25 bytes."""
    if value is None or len(value) != 25:
        return None
    return TraceContext(value[:16], value[16:24], value[24] == 1)


def message_of(record: Record) -> Message:
    """A row of a message."""
    kind = MessageKind(record["kind"])
    return Message(record["tenant_id"], kind, record["body"], trace_of(record["trace"]))


def id_range(ids: Sequence[UUID]) -> tuple[UUID, UUID]:
    """From the first id of the earliest millisecond of these to the first after the latest one."""
    return UUID(int=min(ids).int >> 80 << 80), UUID(int=min((max(ids).int >> 80) + 1, (1 << 48) - 1) << 80)


def id_floor(at: datetime) -> UUID:
    """The lower bound of UUIDv7s made from that moment on."""
    milliseconds = int(at.astimezone(UTC).timestamp() * 1000)
    return UUID(int=max(0, min(milliseconds, (1 << 48) - 1)) << 80)


def id_time(value: UUID) -> datetime:
    """The moment a UUIDv7 was made, in milliseconds."""
    return datetime.fromtimestamp((value.int >> 80) / 1000, UTC)


def has_pair(metadata: bytes, pairs: Sequence[tuple[str, str]]) -> bool:
    """Whether a JSON object holds one of the pairs; a value that is no text counts as its JSON.

    Read here and not in SQL, where one odd escape in one row would fail the whole statement.
    """
    try:
        value = msgspec.json.decode(metadata)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    if not isinstance(value, dict):
        return False
    for key, wanted in pairs:
        if key in value:
            held = value[key]
            text = held if isinstance(held, str) else msgspec.json.encode(held).decode()
            if text == wanted:
                return True
    return False
