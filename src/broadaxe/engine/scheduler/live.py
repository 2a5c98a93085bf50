"""The owner's memory of a task that is not final."""

from asyncio import Future
from collections import deque
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING
from uuid import UUID

from broadaxe.domain.task import StepPolicy, TaskEvent, TaskFacts, TaskStatus
from broadaxe.domain.workflow import LabelRequest, StepDefinition, WorkflowVersion
from broadaxe.engine.scheduler.timers import Timer

if TYPE_CHECKING:
    from broadaxe.engine.runs.dag_plan import DagPlan
    from broadaxe.engine.runs.live_run import LiveRun


class Delivery(Enum):
    """How far the START of an assigned attempt got."""

    NONE = "none"
    """Not handed to any session yet."""
    OUTBOX = "outbox"
    """In a session's outbox: certainly not sent."""
    HANDED = "handed"
    """The transport has it and has not said that it wrote it."""
    SENT = "sent"
    """Written to the stream."""
    DOUBTFUL = "doubtful"
    """Assigned by a process that is gone: nobody knows."""


@dataclass(frozen=True, slots=True)
class Need:
    """What a task asks of a worker. Tasks of a queue with equal needs wait in one lane."""

    slots: tuple[tuple[str, int], ...]
    labels: tuple[LabelRequest, ...] = ()
    desired_worker_id: UUID | None = None
    sticky: int | None = None


@dataclass(frozen=True, slots=True)
class StepPlan:
    """A step of a workflow version with what the engine works out of it once."""

    version: WorkflowVersion
    step: StepDefinition
    policy: StepPolicy
    need: Need
    missing: str | None
    """What a trigger would need that this engine does not have; None when it can run."""
    dag: "DagPlan | None" = None
    """All steps; None where the task is the run."""
    index: int = 0
    """Position among them."""


class Submission:
    """An event on its way: decided when no write of the task is in flight."""

    __slots__ = ("event", "future")

    def __init__(self, event: TaskEvent, future: "Future[TaskStatus | None]") -> None:
        self.event = event
        self.future = future


@dataclass(slots=True, eq=False)
class HeldStart:
    """A start that was reported and waits for a commit to ride on."""

    status: TaskStatus
    waiting: list[Submission]


@dataclass(slots=True, eq=False)
class LiveTask:
    """A task the owner works with. `status` is what is committed, never more."""

    facts: TaskFacts
    status: TaskStatus
    plan: StepPlan
    need: Need
    order: int
    """Place in the queue among tasks of the same priority."""
    input: bytes | None
    """None when it was too large to keep, and for a step of a run: the run has it."""
    run: "LiveRun | None" = None
    writing: bool = False
    """A state-changing write is in flight."""
    reread: bool = False
    """The row was changed by another engine while a write was in flight."""
    gone: bool = False
    """Dropped from memory: this process lost the lease, or the task is final."""
    held: HeldStart | None = None
    backlog: "deque[Submission]" = field(default_factory=deque)
    timer: Timer | None = None
    delivery: Delivery = Delivery.NONE
    ahead: bool = False
    """It goes before tasks that wait for their first attempt."""
    entry: "tuple[int, int, int, LiveTask] | None" = None
    """Its entry in a queue; an entry that is not this one is stale."""
    assignments: int = 0
    """How often it was assigned, held or not."""
    failures: int = 0
    """Refused writes in a row."""

    @property
    def id(self) -> UUID:
        """The task's id."""
        return self.facts.id

    def drop_input(self, kept: int) -> None:
        """Forget an input larger than that; its send reads it again."""
        if self.input is not None and len(self.input) > kept:
            self.input = None
            self.facts = replace(self.facts, input=b"")

    @property
    def queue_key(self) -> tuple[UUID, str]:
        """Tenant and action."""
        return (self.facts.tenant_id, self.plan.step.action)
