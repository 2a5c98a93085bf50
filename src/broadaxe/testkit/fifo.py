"""I12: of tasks that wait for the same, at the same priority, the one that came first goes first."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import groupby
from typing import assert_never
from uuid import UUID

from broadaxe.domain.task import TaskState

Step = tuple[int, TaskState, int]
"""When a state was committed, the state, and the attempt."""


class Fifo(Enum):
    """Among whom the order is judged."""

    ALL = "all"
    """All tasks of a lane: one engine takes the triggers."""
    ENGINE = "engine"
    """Those that one engine created as their owner, and those that it created for another one, each by
    themselves: an owner hears of what others create a little later."""
    NOBODY = "nobody"
    """It is not known who created what, as when engines follow each other at one address."""


@dataclass(frozen=True, slots=True)
class Wait:
    """The wait of a task's first attempt."""

    task_id: UUID
    came: int
    """The commit that let it wait, or that created it assigned."""
    left: int | None
    """The commit that gave it to a worker, or ended it; None while it waits."""
    assigned: bool


def wait_of(task_id: UUID, steps: Sequence[Step]) -> Wait | None:
    """What the first attempt waited; None for a task that was created neither waiting nor assigned.

    Later attempts go ahead of others, or wait behind a back-off: the order is no promise for them.
    """
    came, state, attempt = steps[0]
    if attempt or state not in (TaskState.QUEUED, TaskState.ASSIGNED):
        return None
    left = next((step for step in steps if step[1] is not TaskState.QUEUED), None)
    if left is None:
        return Wait(task_id, came, None, assigned=False)
    return Wait(task_id, came, left[0], left[1] is TaskState.ASSIGNED and left[2] == 0)


def overtaken(waits: Iterable[Wait]) -> list[tuple[UUID, UUID]]:
    """Pairs (who came first, who went first) of one lane. What one commit did happened at once."""
    found: list[tuple[UUID, UUID]] = []
    ordered = sorted(waits, key=lambda wait: wait.came)
    last: Wait | None = None
    """Of those that came before, the one that left last."""
    for _, group in groupby(ordered, lambda wait: wait.came):
        members = list(group)
        if last is not None:
            found += [(last.task_id, one.task_id) for one in members if one.assigned and _before(one, last)]
        for one in members:
            if last is None or _before(last, one):
                last = one
    return found


def _before(one: Wait, other: Wait) -> bool:
    """Whether it left before the other did."""
    return one.left is not None and (other.left is None or one.left < other.left)


def judged_together(
    lanes: Mapping[UUID, Hashable], origins: Mapping[UUID, Hashable], fifo: Fifo
) -> Mapping[UUID, Hashable]:
    """The lanes that are to be judged. `origins`: which engine created what, and for whom, if known."""
    match fifo:
        case Fifo.ALL:
            return lanes
        case Fifo.ENGINE:
            return {one: (lane, origins[one]) for one, lane in lanes.items() if one in origins}
        case Fifo.NOBODY:
            return {}
        case _:
            assert_never(fifo)


def broken_order(lanes: Mapping[UUID, Hashable], steps: Mapping[UUID, Sequence[Step]]) -> list[str]:
    """A line for each task that was overtaken. `lanes`: what each task waits for, priority included."""
    by_lane: dict[Hashable, list[Wait]] = {}
    for task_id, lane in lanes.items():
        if task_id in steps and (wait := wait_of(task_id, steps[task_id])) is not None:
            by_lane.setdefault(lane, []).append(wait)
    return [
        f"I12: {late} came after {early} and went first"
        for waits in by_lane.values()
        for early, late in overtaken(waits)
    ]
