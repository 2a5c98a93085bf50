"""A run of several steps: its immutable facts, what it waits for, and the ids that follow from it.

Workflows of one step without conditions have no run of their own: there the task is the run.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from uuid import UUID

from broadaxe.domain.ids import RunId, TaskId, TenantId, VersionId, WorkflowId
from broadaxe.domain.task import TaskState
from broadaxe.domain.workflow import WorkflowDefinition

SKIPPED_OUTPUT = b'{"skipped":true}'
"""What a skipped step leaves for those behind it."""


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What never changes about a run. `input` and `metadata` are JSON texts, kept byte for byte."""

    tenant_id: TenantId
    id: RunId
    workflow_id: WorkflowId
    version_id: VersionId
    priority: int
    created_at: datetime
    input: bytes
    metadata: bytes
    trace: bytes
    """As in `TaskFacts`: all tasks of the run share it."""
    parent_task_id: UUID | None = None
    parent_run_id: UUID | None = None
    child_index: int | None = None
    child_key: str | None = None
    desired_worker_id: UUID | None = None
    desired_labels: bytes | None = None
    triggers: bytes | None = None
    """A JSON object of what started the run, for its workers; None is an empty one."""

    @property
    def run_id(self) -> RunId:
        """The run itself, as a task names its run."""
        return self.id


@dataclass(frozen=True, slots=True)
class RunEnd:
    """How a run ended, and when."""

    state: TaskState
    at: datetime


class WaitKind(IntEnum):
    """What a step waits for. Values are stored."""

    SLEEP = 1
    EVENT = 2


@dataclass(frozen=True, slots=True)
class Wait:
    """One condition that a step waits on, open since its parents were done."""

    run_id: RunId
    step: int
    """Position of the step in its workflow."""
    item: int
    """Position of the condition in its step."""
    attempt: int
    """The step's attempt that waits: a replay waits anew."""
    kind: WaitKind
    opened_at: datetime
    key: str = ""
    """The key of the event."""
    due_at: datetime | None = None
    """When the sleep is over."""


@dataclass(frozen=True, slots=True)
class MetWait:
    """What met a wait: the event's payload, or the sleep that is over."""

    run_id: RunId
    step: int
    item: int
    attempt: int
    at: datetime
    data: bytes


def has_run(definition: WorkflowDefinition) -> bool:
    """Whether runs of this workflow are more than their task."""
    return (
        len(definition.steps) > 1 or definition.on_failure is not None or bool(definition.steps[0].conditions)
    )


def task_id_of(run_id: UUID, step_id: UUID) -> TaskId:
    """The id of a step's task in a run.

    It follows from the two, so a step cannot get two tasks, and it carries the run's time, so that all tasks
    of a run are in the same day's partition.
    """
    digest = hashlib.sha256(b"broadaxe-task:" + run_id.bytes + step_id.bytes).digest()
    mixed = run_id.bytes[:6] + digest[:10]
    value = int.from_bytes(mixed, "big")
    value &= ~(0xF << 76) & ~(0x3 << 62)
    return TaskId(UUID(int=value | (0x7 << 76) | (0x2 << 62)))


def end_of(states: set[TaskState]) -> TaskState:
    """How a run ended whose tasks ended so: failed before cancelled before completed."""
    for state in (TaskState.FAILED, TaskState.CANCELLED):
        if state in states:
            return state
    return TaskState.COMPLETED
