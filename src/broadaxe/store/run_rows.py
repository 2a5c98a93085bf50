"""Rows of runs and their waits to domain values and back. The order of columns is that of `sql/run.sql`."""

from broadaxe.domain.ids import TenantId
from broadaxe.domain.run import MetWait, RunEnd, RunFacts, Wait, WaitKind
from broadaxe.domain.task import TaskState
from broadaxe.store.derived import from_row, to_row
from broadaxe.store.run_ledger import RunChange, StoredRun, StoredWait
from broadaxe.store.session import Record

RUN_COLUMNS = 18
WAIT_COLUMNS = 9
_FACT_COLUMNS = 16
_ID, _METADATA, _TRACE = 1, 7, 8
_NOT_OVER = 3


def run_row(facts: RunFacts) -> tuple[object, ...]:
    """The columns of a new run."""
    f = facts
    metadata, trace = to_row(f.metadata, f.trace, f.id)
    return (
        f.tenant_id, f.id, f.workflow_id, f.version_id, f.priority, f.created_at, f.input, metadata,
        trace, f.parent_task_id, f.parent_run_id, f.child_index, f.child_key, f.desired_worker_id,
        f.desired_labels, f.triggers, _NOT_OVER, None,
    )  # fmt: skip


def run_of(record: Record) -> StoredRun:
    """A row of `run_columns`."""
    values = tuple(record)
    state, finished_at = values[_FACT_COLUMNS:]
    end = None if finished_at is None else RunEnd(TaskState(state), finished_at)
    facts = list(values[:_FACT_COLUMNS])
    facts[_METADATA], facts[_TRACE] = from_row(facts[_METADATA], facts[_TRACE], facts[_ID])
    return StoredRun(RunFacts(*facts), end)


def run_write_row(change: RunChange) -> tuple[object, ...]:
    """The columns of a run's end, or of its going on."""
    if change.end is None:
        return change.tenant_id, change.run_id, _NOT_OVER, None
    return change.tenant_id, change.run_id, int(change.end.state), change.end.at


def wait_row(tenant_id: TenantId, wait: Wait) -> tuple[object, ...]:
    """The columns of a wait that opens."""
    w = wait
    return tenant_id, w.run_id, w.step, w.item, w.attempt, int(w.kind), w.opened_at, w.key, w.due_at


def met_row(met: MetWait) -> tuple[object, ...]:
    """The columns of a wait that is over."""
    return met.run_id, met.step, met.item, met.attempt, met.at, met.data


def wait_of(record: Record) -> StoredWait:
    """A row of `run_waits`."""
    run_id, step, item, attempt, kind, opened_at, key, due_at, met_at, data = record
    wait = Wait(run_id, step, item, attempt, WaitKind(kind), opened_at, key, due_at)
    return StoredWait(wait, met_at, data)
