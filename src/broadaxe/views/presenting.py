"""From rows to what readers see."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import assert_never

from broadaxe.domain.naming import display_name, numeric_task_id
from broadaxe.domain.task import AttemptOutcome, AttemptRecord, TaskState
from broadaxe.domain.workflow import WorkflowDefinition
from broadaxe.store.reads import RunRow, TaskRow
from broadaxe.views.definitions import step_of
from broadaxe.views.model import RunKind, RunStatus, TaskView

_SHOWN = {
    TaskState.QUEUED: RunStatus.QUEUED,
    TaskState.DELAYED: RunStatus.QUEUED,
    TaskState.PENDING: RunStatus.QUEUED,
    TaskState.ASSIGNED: RunStatus.RUNNING,
    TaskState.COMPLETED: RunStatus.COMPLETED,
    TaskState.FAILED: RunStatus.FAILED,
    TaskState.CANCELLED: RunStatus.CANCELLED,
}


def status_of(state: TaskState) -> RunStatus:
    """A state as shown."""
    return _SHOWN[state]


def states_of(statuses: tuple[RunStatus, ...]) -> tuple[TaskState, ...]:
    """The states that are shown as these."""
    return tuple(state for state, status in _SHOWN.items() if status in statuses)


def status_of_outcome(outcome: AttemptOutcome) -> RunStatus:
    """How an ended attempt is shown."""
    match outcome:
        case AttemptOutcome.REPLAYED_COMPLETED:
            return RunStatus.COMPLETED
        case AttemptOutcome.REPLAYED_CANCELLED | AttemptOutcome.REASSIGNED | AttemptOutcome.SEND_FAILED:
            return RunStatus.CANCELLED
        case AttemptOutcome.FAILED | AttemptOutcome.TIMED_OUT | AttemptOutcome.REPLAYED_FAILED:
            return RunStatus.FAILED
        case _:
            assert_never(outcome)


def present_task(row: TaskRow, definition: WorkflowDefinition) -> TaskView:
    """A task as it stands."""
    facts, status = row.facts, row.status
    step = step_of(definition, facts.step_id)
    times = (status.finished_at, status.started_at, status.assigned_at, status.queued_at, facts.created_at)
    shown = _SHOWN[status.state] if row.unassigned is None else RunStatus.FAILED
    error = row.unassigned if status.error is None else status.error.decode(errors="replace")
    return TaskView(
        tenant_id=facts.tenant_id,
        id=facts.id,
        run_id=facts.run_id,
        kind=RunKind.TASK,
        number=numeric_task_id(facts.id),
        workflow_id=facts.workflow_id,
        workflow_name=definition.name,
        version_id=facts.version_id,
        step_id=facts.step_id,
        step_name=step.name,
        action=step.action,
        durable=step.durable,
        display_name=display_name(step.name, facts.created_at),
        status=shown,
        attempt=status.attempt,
        priority=facts.priority,
        created_at=facts.created_at,
        changed_at=max(at for at in times if at is not None),
        queued_at=status.queued_at,
        started_at=status.started_at,
        finished_at=status.finished_at,
        input=facts.input,
        output=status.output or b"",
        error=error,
        metadata=facts.metadata,
        worker_id=status.worker_id,
        parent_task_id=facts.parent_task_id,
        children=row.children,
    )


def present_run(row: RunRow, tasks: Sequence[TaskView], definition: WorkflowDefinition) -> TaskView:
    """A run of several tasks as it stands. While it is not over it runs, whatever its tasks wait for."""
    facts, end = row.facts, row.end
    starts = [task.started_at for task in tasks if task.started_at is not None]
    errors = [task.error for task in tasks if task.status is RunStatus.FAILED and task.error]
    changes = [task.changed_at for task in tasks]
    finished_at = None if end is None else end.at
    return TaskView(
        tenant_id=facts.tenant_id,
        id=facts.id,
        run_id=facts.id,
        kind=RunKind.DAG,
        number=numeric_task_id(facts.id),
        workflow_id=facts.workflow_id,
        workflow_name=definition.name,
        version_id=facts.version_id,
        step_id=None,
        step_name="",
        action="",
        durable=False,
        display_name=display_name(definition.name, facts.created_at),
        status=RunStatus.RUNNING if end is None else _SHOWN[end.state],
        attempt=max((task.attempt for task in tasks), default=0),
        priority=facts.priority,
        created_at=facts.created_at,
        changed_at=max([facts.created_at, *changes, *([finished_at] if finished_at else [])]),
        queued_at=facts.created_at,
        started_at=min(starts) if starts else None,
        finished_at=finished_at,
        input=facts.input,
        output=_outputs(tasks),
        error=errors[0] if errors else None,
        metadata=facts.metadata,
        worker_id=None,
        parent_task_id=facts.parent_task_id,
        children=sum(task.children for task in tasks),
        tasks=tuple(tasks),
    )


def _outputs(tasks: Sequence[TaskView]) -> bytes:
    """What the tasks gave, by their steps' names, each JSON text as it is."""
    pairs = [
        json.dumps(task.step_name).encode() + b":" + task.output
        for task in tasks
        if task.status is RunStatus.COMPLETED and task.output
    ]
    return b"{" + b",".join(pairs) + b"}" if pairs else b""


def present_attempt(task: TaskView, record: AttemptRecord) -> TaskView:
    """The task as an earlier attempt left it."""
    return replace(
        task,
        status=status_of_outcome(record.outcome),
        attempt=record.attempt,
        changed_at=record.ended_at,
        queued_at=record.queued_at,
        started_at=record.started_at,
        finished_at=record.ended_at,
        output=record.output or b"",
        error=None if record.error is None else record.error.decode(errors="replace"),
        worker_id=record.worker_id,
    )
