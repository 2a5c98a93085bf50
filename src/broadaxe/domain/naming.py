"""Names and ids that follow from others: actions, display names, derived ids, the state of a run."""

import hashlib
import re
from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from broadaxe.domain.errors import InvalidArgument
from broadaxe.domain.ids import StepId
from broadaxe.domain.task import TaskState

_NAME = re.compile(r"[a-zA-Z0-9.\-_]+")


def name_valid(name: str) -> bool:
    """Whether a text may name a workflow or a step: ASCII letters, digits, dots, dashes, underscores."""
    return _NAME.fullmatch(name) is not None


def normalise_action(action: str) -> str:
    """The queue key of an action `service:verb`: the service's first letter and the whole verb in lower case.

    Registration and workers both go through here, so that they meet. A third part stays as it is.
    Raises InvalidArgument when there are not two or three parts, all with something in them.
    """
    parts = action.split(":")
    if len(parts) not in (2, 3) or not all(parts):
        raise InvalidArgument(f'action "{action}" must have the form service:verb')
    service, verb, *rest = parts
    return ":".join([service[0].lower() + service[1:], verb.lower(), *rest])


def display_name(readable: str, at: datetime) -> str:
    """How a run or task is called where people look: `<name>-<milliseconds since 1970>`."""
    return f"{readable}-{int(at.timestamp() * 1_000)}"


def step_id(workflow: str, step: str) -> StepId:
    """The id of a step, the same for the same two names in every version and on every machine."""
    digest = hashlib.sha256(f"broadaxe-step:{workflow}\n{step}".encode()).digest()
    return StepId(UUID(bytes=digest[:16], version=5))


def numeric_task_id(task_id: UUID) -> int:
    """A number for surfaces that want one: the low 53 bits of the UUID, exact as a JavaScript number.

    They are random in a UUIDv7. Nothing is ever looked up by it.
    """
    return task_id.int & ((1 << 53) - 1)


def run_state(states: Iterable[TaskState]) -> TaskState:
    """The state of a run from those of its tasks; ASSIGNED means running.

    DELAYED and PENDING count as QUEUED. All equal: that. Else FAILED as soon as one failed, even while others
    run; else ASSIGNED while any is not final; else CANCELLED. A run without tasks is QUEUED.
    """
    waits = (TaskState.DELAYED, TaskState.PENDING)
    seen = {TaskState.QUEUED if state in waits else state for state in states}
    if len(seen) <= 1:
        return seen.pop() if seen else TaskState.QUEUED
    if TaskState.FAILED in seen:
        return TaskState.FAILED
    if any(not state.final for state in seen):
        return TaskState.ASSIGNED
    return TaskState.CANCELLED
