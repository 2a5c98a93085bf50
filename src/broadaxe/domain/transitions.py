"""The task's state machine: a table of data, and `decide`, which looks an event up in it.

Two rules. All state of a task lives in `TaskStatus`; what is not in the table does not happen. The drawing in
`docs/architecture/task-states.md` is generated from this table (`broadaxe.domain.diagram`), so change it
there by changing it here. The rules that rows name are in `broadaxe.domain.task_rules`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from broadaxe.domain import task_rules
from broadaxe.domain.task import (
    Assigned,
    CancelRequested,
    Completed,
    Decision,
    ExecutionTimedOut,
    Failed,
    PassedOver,
    Readied,
    Replayed,
    Reset,
    RetryDue,
    RuledOut,
    ScheduleTimedOut,
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

Rule = Callable[[TaskStatus, StepPolicy, Any, datetime], Decision | None]
"""A rule takes the event type of its row; the table guarantees that it gets no other."""


@dataclass(frozen=True, slots=True)
class Transition:
    """A row: which rule answers the event in that state, and where the task may be afterwards."""

    rule: Rule
    to: tuple[TaskState, ...]


QUEUED, DELAYED, ASSIGNED = TaskState.QUEUED, TaskState.DELAYED, TaskState.ASSIGNED
PENDING = TaskState.PENDING
COMPLETED, FAILED, CANCELLED = TaskState.COMPLETED, TaskState.FAILED, TaskState.CANCELLED

TRANSITIONS: dict[tuple[TaskState, type[TaskEvent]], Transition] = {
    (QUEUED, Assigned): Transition(task_rules.assign, (ASSIGNED,)),
    (QUEUED, ScheduleTimedOut): Transition(task_rules.time_out_schedule, (CANCELLED,)),
    (QUEUED, CancelRequested): Transition(task_rules.cancel, (CANCELLED,)),
    (DELAYED, RetryDue): Transition(task_rules.requeue, (QUEUED,)),
    (DELAYED, CancelRequested): Transition(task_rules.cancel, (CANCELLED,)),
    (ASSIGNED, SendFailed): Transition(task_rules.unassign, (QUEUED,)),
    (ASSIGNED, Started): Transition(task_rules.start, (ASSIGNED,)),
    (ASSIGNED, TimeoutRefreshed): Transition(task_rules.refresh_timeout, (ASSIGNED,)),
    (ASSIGNED, SlotReleased): Transition(task_rules.release_slot, (ASSIGNED,)),
    (ASSIGNED, Completed): Transition(task_rules.complete, (COMPLETED,)),
    (ASSIGNED, Failed): Transition(task_rules.fail, (QUEUED, DELAYED, FAILED)),
    (ASSIGNED, ExecutionTimedOut): Transition(task_rules.time_out, (QUEUED, DELAYED, FAILED)),
    (ASSIGNED, WorkerLost): Transition(task_rules.reassign, (QUEUED, FAILED)),
    (ASSIGNED, CancelRequested): Transition(task_rules.cancel, (CANCELLED,)),
    (COMPLETED, Replayed): Transition(task_rules.replay, (QUEUED,)),
    (FAILED, Replayed): Transition(task_rules.replay, (QUEUED,)),
    (CANCELLED, Replayed): Transition(task_rules.replay, (QUEUED,)),
    (COMPLETED, Reset): Transition(task_rules.reset, (PENDING,)),
    (FAILED, Reset): Transition(task_rules.reset, (PENDING,)),
    (CANCELLED, Reset): Transition(task_rules.reset, (PENDING,)),
    (PENDING, Readied): Transition(task_rules.ready, (QUEUED,)),
    (PENDING, PassedOver): Transition(task_rules.pass_over, (COMPLETED,)),
    (PENDING, RuledOut): Transition(task_rules.rule_out, (CANCELLED,)),
}


def decide(status: TaskStatus, policy: StepPolicy, event: TaskEvent, now: datetime) -> Decision | None:
    """What `event` does to a task in this status; None when it is stale.

    Stale means: no row for it in this state, about another attempt than the live one, or refused by the rule
    (a second start, a deadline that was moved on). A stale event is dropped and counted by the caller.
    """
    transition = TRANSITIONS.get((status.state, type(event)))
    if transition is None:
        return None
    # Events without a number are about whatever attempt is live.
    attempt: int | None = getattr(event, "attempt", None)
    if attempt is not None and attempt != status.attempt:
        return None
    return transition.rule(status, policy, event, now)
