"""Checks the invariants of design.md section 7 over an engine's memory and the rows. For fault tests."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

from broadaxe.domain.task import TaskState
from broadaxe.engine.scheduler.memory import Memory
from broadaxe.store.ledger import StoredTask
from broadaxe.testkit.fifo import Step, broken_order


class InvariantBroken(AssertionError):
    """What does not hold, with the invariant's number."""


def verify(
    memory: Memory | None,
    rows: Iterable[StoredTask],
    *,
    acknowledged: Iterable[UUID] = (),
    cancelled: Iterable[UUID] = (),
    history: Sequence[tuple[UUID, TaskState, int]] = (),
) -> None:
    """Raise `InvariantBroken` unless I1 to I4, I8 and I12 hold.

    Call it when nothing is in flight. `acknowledged`: tasks whose trigger was answered. `cancelled`: tasks
    whose cancel was. `history`: the committed states of all tasks in order, as far as they are known; without
    it I2, I3 and I8 are judged by the rows alone. Without `memory` only the rows are judged.
    """
    stored: dict[UUID, StoredTask] = {row.facts.id: row for row in rows}
    _every_trigger_is_somewhere(stored, acknowledged)
    _final_states_stay(history)
    _cancelled_stay_cancelled(stored, history, cancelled)
    _first_come_first_served(stored, history)
    if memory is not None:
        _memory_is_the_rows(memory, stored)
        _each_task_in_one_place(memory)
        _slots_add_up(memory, stored)


def _every_trigger_is_somewhere(stored: Mapping[UUID, StoredTask], acknowledged: Iterable[UUID]) -> None:
    missing = [task_id for task_id in acknowledged if task_id not in stored]
    if missing:
        raise InvariantBroken(f"I1: {len(missing)} acknowledged triggers have no row: {missing[:3]}")


def _final_states_stay(history: Sequence[tuple[UUID, TaskState, int]]) -> None:
    last: dict[UUID, tuple[TaskState, int]] = {}
    for task_id, state, attempt in history:
        before = last.get(task_id)
        if before is not None:
            if attempt < before[1]:
                raise InvariantBroken(f"I2: attempt of {task_id} went back from {before[1]} to {attempt}")
            if before[0].final and attempt == before[1]:
                raise InvariantBroken(f"I3: {task_id} changed from {before[0].name} to {state.name}")
        last[task_id] = (state, attempt)


def _cancelled_stay_cancelled(
    stored: Mapping[UUID, StoredTask],
    history: Sequence[tuple[UUID, TaskState, int]],
    cancelled: Iterable[UUID],
) -> None:
    for task_id in cancelled:
        row = stored.get(task_id)
        if row is None:
            raise InvariantBroken(f"I8: the cancelled {task_id} has no row")
        states = [(state, attempt) for one, state, attempt in history if one == task_id]
        ends = [attempt for state, attempt in states if state is TaskState.CANCELLED]
        if not states:
            ends = [row.status.attempt] if row.status.state is TaskState.CANCELLED else []
        if not ends:
            raise InvariantBroken(f"I8: the cancelled {task_id} is {row.status.state.name}")
        if row.status.state is TaskState.COMPLETED and row.status.attempt in ends:
            raise InvariantBroken(f"I8: {task_id} completed after its cancel was acknowledged")


def _first_come_first_served(
    stored: Mapping[UUID, StoredTask], history: Sequence[tuple[UUID, TaskState, int]]
) -> None:
    steps: dict[UUID, list[Step]] = {}
    for at, (task_id, state, attempt) in enumerate(history):
        steps.setdefault(task_id, []).append((at, state, attempt))
    lanes = {
        task_id: (
            row.facts.tenant_id, row.facts.step_id, row.facts.priority, row.facts.desired_worker_id,
            row.facts.desired_labels,
        )
        for task_id, row in stored.items()
    }  # fmt: skip
    if problems := broken_order(lanes, steps):
        raise InvariantBroken("\n".join(problems[:3]))


def _memory_is_the_rows(memory: Memory, stored: Mapping[UUID, StoredTask]) -> None:
    live_rows = {task_id for task_id, row in stored.items() if not row.status.state.final}
    if live_rows != set(memory.tasks):
        lost, extra = live_rows - set(memory.tasks), set(memory.tasks) - live_rows
        raise InvariantBroken(f"I1: {len(lost)} live rows are not in memory, {len(extra)} in memory only")
    for task_id, live in memory.tasks.items():
        if live.status != stored[task_id].status:
            raise InvariantBroken(f"I1: memory of {task_id} differs from its row")


def _each_task_in_one_place(memory: Memory) -> None:
    queued = Counter(live.id for queue in memory.queues.values() for live in queue.waiting())
    queued.update(live.id for live in memory.pauses.everyone())
    assigned = Counter(task_id for worker in memory.workers.values() for task_id in worker.tasks)
    for queue in memory.queues.values():
        if queue.size != sum(1 for _ in queue.waiting()):
            raise InvariantBroken(f"I1: queue {queue.action} says {queue.size}")
    for task_id, live in memory.tasks.items():
        state = live.status.state
        where = (queued[task_id], assigned[task_id])
        expected = (int(state is TaskState.QUEUED), int(state is TaskState.ASSIGNED))
        if where != expected and not live.writing:
            raise InvariantBroken(
                f"I1: {task_id} is {state.name}, in {where[0]} queues, at {where[1]} workers"
            )
        if state not in (TaskState.ASSIGNED, TaskState.PENDING) and live.timer is None and not live.writing:
            raise InvariantBroken(f"I1: {task_id} is {state.name} and nothing is due for it")
    strangers = [task_id for task_id in (*queued, *assigned) if task_id not in memory.tasks]
    if strangers:
        raise InvariantBroken(f"I2: {strangers[:3]} are queued or assigned, but not live")


def _slots_add_up(memory: Memory, stored: Mapping[UUID, StoredTask]) -> None:
    by_worker: dict[UUID, Counter[str]] = {}
    for task_id, row in stored.items():
        status = row.status
        if status.state is TaskState.ASSIGNED and not status.slot_released and status.worker_id is not None:
            units = by_worker.setdefault(status.worker_id, Counter())
            units.update(dict(memory.tasks[task_id].need.slots))
    for worker in memory.workers.values():
        used = {kind: units for kind, units in worker.used.items() if units}
        expected = {kind: units for kind, units in by_worker.pop(worker.id, Counter()).items() if units}
        if used != expected:
            raise InvariantBroken(f"I4: worker {worker.id} holds {used}, its rows say {expected}")
        over = [kind for kind, units in used.items() if units > worker.row.slots.get(kind, 0)]
        if over:
            raise InvariantBroken(f"I4: worker {worker.id} has more {over} in use than it has")
