"""Judges a database after faults: the rows, every state they ever had, and what clients were told.

`keep_states` makes the database note each committed state of each task, so that the judge needs to trust
nothing that the engine says. The test notes what clients and workers saw in a `History`. `verify` compares.
"""

from collections import Counter
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from uuid import UUID

import asyncpg
import msgspec

from broadaxe.domain.dag_graph import parents_of
from broadaxe.domain.run import SKIPPED_OUTPUT, end_of, task_id_of
from broadaxe.domain.task import TaskState
from broadaxe.domain.workflow import WorkflowDefinition
from broadaxe.store.ledger import MessageKind
from broadaxe.testkit.fifo import Fifo, broken_order, judged_together
from broadaxe.testkit.schedule_invariants import schedule_problems

_KEEP = f"""
CREATE TABLE kept_state (
    n             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    change        xid8 NOT NULL DEFAULT pg_current_xact_id(),
    at            timestamptz NOT NULL DEFAULT clock_timestamp(),
    task_id       uuid NOT NULL,
    state         smallint NOT NULL,
    attempt       integer NOT NULL,
    worker_id     uuid,
    slot_released boolean NOT NULL
);
CREATE FUNCTION keep_state() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO kept_state (task_id, state, attempt, worker_id, slot_released)
    VALUES (NEW.id, NEW.state, NEW.attempt, NEW.worker_id, NEW.slot_released);
    RETURN NULL;
END $$;
CREATE TRIGGER keep_state AFTER INSERT OR UPDATE ON task FOR EACH ROW EXECUTE FUNCTION keep_state();
CREATE TABLE kept_elsewhere (change xid8 NOT NULL DEFAULT pg_current_xact_id());
CREATE FUNCTION keep_elsewhere() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO kept_elsewhere DEFAULT VALUES;
    RETURN NULL;
END $$;
CREATE TRIGGER keep_elsewhere AFTER INSERT ON message FOR EACH ROW
WHEN (NEW.kind = {MessageKind.ROWS_CHANGED.value}) EXECUTE FUNCTION keep_elsewhere();
"""

Attempt = tuple[UUID, int]
"""Task and attempt."""


class InvariantBroken(AssertionError):
    """What does not hold, each line with its invariant's number."""


@dataclass(slots=True)
class History:
    """What clients and workers saw, noted by the test."""

    triggered: set[UUID] = field(default_factory=set)
    """Runs whose trigger was answered with their id."""
    taken_at: dict[UUID, str] = field(default_factory=dict)
    """The address of the engine that answered, by run; as far as the test knows."""
    cancelled: set[UUID] = field(default_factory=set)
    """Tasks that the answer to a cancel named."""
    cancelled_runs: set[UUID] = field(default_factory=set)
    """Runs of several steps whose cancel was asked for, whether or not its answer came: their on-failure step
    need not run."""
    replayed: set[UUID] = field(default_factory=set)
    """Tasks that the answer to a replay named."""
    starts: list[tuple[UUID, int, str]] = field(default_factory=list)
    """Task, attempt and worker of each START that a worker got."""
    results: dict[UUID, bytes] = field(default_factory=dict)
    """Output, as a client was told it, of completed runs."""


@dataclass(frozen=True, slots=True)
class State:
    """One committed state of a task."""

    number: int
    """In order of their writing."""
    change: int
    """The transaction that committed it."""
    task_id: UUID
    state: TaskState
    attempt: int
    worker_id: UUID | None
    slot_released: bool


@dataclass(frozen=True, slots=True)
class Row:
    """What a task's row says now."""

    task_id: UUID
    state: TaskState
    attempt: int
    worker_id: UUID | None
    retry_due: bool
    output: bytes | None


@dataclass(frozen=True, slots=True)
class RunRow:
    """What the row of a run of several steps says now, with its steps in their order."""

    run_id: UUID
    state: TaskState
    over: bool
    steps: dict[UUID, "StepRow"]
    """By task: every step that the workflow has."""


@dataclass(frozen=True, slots=True)
class StepRow:
    """A step of a run."""

    name: str
    parents: tuple[UUID, ...]
    """Their tasks."""
    on_failure: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was judged, for a report."""

    tasks: int
    by_state: dict[str, int]
    attempts: int
    states: int
    epochs: int


async def keep_states(dsn: str) -> None:
    """From now on every committed state of every task is kept; call it once, on a migrated database."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(_KEEP)
    finally:
        await connection.close()


async def verify(dsn: str, history: History, *, settled: bool = True, fifo: Fifo = Fifo.ALL) -> Verdict:
    """Raise `InvariantBroken` unless I1 to I6, I8 and I12 hold. Needs `keep_states` from the beginning.

    `settled`: everything has ended, so every acknowledged run must be final. `fifo`: whom I12 is judged of.
    """
    connection = await asyncpg.connect(dsn)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            rows = {row.task_id: row for row in await _rows(connection)}
            states = await _states(connection)
            runs = await _runs(connection)
            slots = await _slots(connection)
            schedules = await schedule_problems(connection)
            lanes = await _lanes(connection)
            elsewhere = await _elsewhere(connection)
            epochs = await connection.fetchval("SELECT coalesce(max(epoch), 0) FROM lease")
    finally:
        await connection.close()
    by_task: dict[UUID, list[State]] = {}
    for state in states:
        by_task.setdefault(state.task_id, []).append(state)
    problems = [
        *_triggers(rows, runs, history, settled),
        *_runs_make_sense(rows, runs, by_task, history, settled),
        *_rows_make_sense(rows),
        *_order_of_states(by_task),
        *_starts(by_task, history),
        *_results(rows, history),
        *_slots_kept(states, slots),
        *_cancels(rows, by_task, history),
        *schedules,
    ]
    origins = {
        task_id: (engine, by_task[task_id][0].change in elsewhere)
        for task_id, engine in history.taken_at.items()
        if task_id in by_task
    }
    problems += broken_order(
        judged_together(lanes, origins, fifo),
        {
            task_id: [(state.change, state.state, state.attempt) for state in kept]
            for task_id, kept in by_task.items()
        },
    )
    if problems:
        more = f"\n... and {len(problems) - 30} more" if len(problems) > 30 else ""
        raise InvariantBroken("\n".join(problems[:30]) + more)
    return Verdict(
        tasks=len(rows),
        by_state=dict(Counter(row.state.name for row in rows.values())),
        attempts=len({(state.task_id, state.attempt) for state in states}),
        states=len(states),
        epochs=epochs,
    )


async def _rows(connection: "asyncpg.Connection[asyncpg.Record]") -> list[Row]:
    records = await connection.fetch(
        "SELECT id, state, attempt, worker_id, retry_at IS NOT NULL, output FROM task"
    )
    return [Row(r[0], TaskState(r[1]), r[2], r[3], r[4], r[5]) for r in records]


async def _runs(connection: "asyncpg.Connection[asyncpg.Record]") -> dict[UUID, RunRow]:
    versions: dict[UUID, WorkflowDefinition] = {}
    for record in await connection.fetch("SELECT id, definition FROM workflow_version"):
        versions[record[0]] = msgspec.json.decode(record[1], type=WorkflowDefinition)
    found = {}
    for record in await connection.fetch("SELECT id, state, finished_at IS NOT NULL, version_id FROM run"):
        run_id, state, over, version_id = record
        definition = versions[version_id]
        ids = {step.name: task_id_of(run_id, step.id) for step in definition.steps}
        steps: dict[UUID, StepRow] = {
            ids[step.name]: StepRow(step.name, tuple(ids[name] for name in parents_of(step)), False)
            for step in definition.steps
        }
        if definition.on_failure is not None:
            last = definition.on_failure
            steps[task_id_of(run_id, last.id)] = StepRow(last.name, tuple(steps), True)
        found[run_id] = RunRow(run_id, TaskState(state), over, steps)
    return found


async def _states(connection: "asyncpg.Connection[asyncpg.Record]") -> list[State]:
    records = await connection.fetch(
        "SELECT n, change::text::bigint, task_id, state, attempt, worker_id, slot_released"
        " FROM kept_state ORDER BY n"
    )
    return [State(r[0], r[1], r[2], TaskState(r[3]), r[4], r[5], r[6]) for r in records]


async def _slots(connection: "asyncpg.Connection[asyncpg.Record]") -> dict[UUID, int]:
    """Units of kind `default` of each worker."""
    records = await connection.fetch("SELECT id, (slots->>'default')::integer FROM worker")
    return {record[0]: record[1] or 0 for record in records}


async def _lanes(connection: "asyncpg.Connection[asyncpg.Record]") -> dict[UUID, tuple[object, ...]]:
    """What each task waits for: the tasks of one step that ask the same of a worker, at one priority."""
    records = await connection.fetch(
        "SELECT id, step_id, priority, desired_worker_id, desired_labels FROM task"
    )
    return {record[0]: tuple(record)[1:] for record in records}


async def _elsewhere(connection: "asyncpg.Connection[asyncpg.Record]") -> set[int]:
    """Transactions by which engines wrote tasks that another engine schedules."""
    return {record[0] for record in await connection.fetch("SELECT change::text::bigint FROM kept_elsewhere")}


def _triggers(rows: dict[UUID, Row], runs: dict[UUID, RunRow], history: History, settled: bool) -> list[str]:
    lost = [run for run in history.triggered if run not in rows and run not in runs]
    found = [f"I1: the acknowledged run {run} has no row" for run in lost]
    if settled:
        found += [
            f"I1: {row.task_id} is {row.state.name} in attempt {row.attempt} and never ended"
            for row in rows.values()
            if not row.state.final
        ]
    return found


def _runs_make_sense(
    rows: dict[UUID, Row],
    runs: dict[UUID, RunRow],
    by_task: dict[UUID, list[State]],
    history: History,
    settled: bool,
) -> list[str]:
    """A run ends exactly when all its steps have, and no step begins before its parents are final."""
    found = []
    for run in runs.values():
        there = [rows[task_id] for task_id in run.steps if task_id in rows]
        done = len(there) == len(run.steps) and all(row.state.final for row in there)
        if run.over is not done:
            found.append(f"I1: run {run.run_id} is over: {run.over}, its steps are: {done}")
        if settled and not run.over:
            found.append(f"I1: run {run.run_id} never ended")
        if run.over and run.state is not end_of({row.state for row in there}):
            found.append(f"I1: run {run.run_id} ended {run.state.name}, unlike its steps")
        for task_id, step in run.steps.items():
            if run.run_id not in history.replayed and task_id not in history.replayed:
                found += _step_in_order(run, task_id, step, by_task)
        found += _on_failure(run, rows, history)
    return found


def _step_in_order(run: RunRow, task_id: UUID, step: StepRow, by_task: dict[UUID, list[State]]) -> list[str]:
    states = by_task.get(task_id)
    if not states or states[0].state.final:
        return []
    early = [
        parent
        for parent in step.parents
        if not any(one.state.final and one.number < states[0].number for one in by_task.get(parent, ()))
    ]
    return [f"I5: {step.name} of run {run.run_id} began before {parent} was final" for parent in early]


def _on_failure(run: RunRow, rows: dict[UUID, Row], history: History) -> list[str]:
    """It runs exactly when a step failed; a cancelled run may have cancelled it."""
    if not run.over or run.run_id in history.cancelled or run.run_id in history.cancelled_runs:
        return []
    found = []
    for task_id, step in run.steps.items():
        row = rows.get(task_id)
        if not step.on_failure or row is None:
            continue
        failed = any(rows[parent].state is TaskState.FAILED for parent in step.parents)
        if failed is (row.worker_id is None):
            found.append(f"I5: {step.name} of run {run.run_id} ran: {not failed}, a step failed: {failed}")
    return found


def _rows_make_sense(rows: dict[UUID, Row]) -> list[str]:
    found = []
    for row in rows.values():
        if row.state is TaskState.ASSIGNED and row.worker_id is None:
            found.append(f"I1: {row.task_id} is assigned to nobody")
        if row.state in (TaskState.QUEUED, TaskState.DELAYED) and row.worker_id is not None:
            found.append(f"I1: {row.task_id} waits and has a worker")
        if row.retry_due is not (row.state is TaskState.DELAYED):
            found.append(f"I1: {row.task_id} is {row.state.name}, its next attempt is due: {row.retry_due}")
    return found


def _order_of_states(by_task: dict[UUID, list[State]]) -> list[str]:
    found = []
    for task_id, states in by_task.items():
        for before, after in pairwise(states):
            step = f"{before.state.name} {before.attempt} -> {after.state.name} {after.attempt}"
            if after.attempt not in (before.attempt, before.attempt + 1):
                found.append(f"I2: {task_id} skipped or repeated an attempt: {step}")
            if before.state.final and not (
                after.state in (TaskState.QUEUED, TaskState.PENDING) and after.attempt == before.attempt + 1
            ):
                found.append(f"I2: {task_id} changed after its end: {step}")
            if (
                before.state is TaskState.ASSIGNED
                and after.state is TaskState.ASSIGNED
                and (before.worker_id != after.worker_id or before.attempt != after.attempt)
            ):
                found.append(f"I2: {task_id} moved from worker to worker: {step}")
    return found


def _starts(by_task: dict[UUID, list[State]], history: History) -> list[str]:
    counted = Counter((task_id, attempt) for task_id, attempt, _ in history.starts)
    found = [
        f"I2: attempt {attempt} of {task_id} was started {times} times"
        for (task_id, attempt), times in counted.items()
        if times > 1
    ]
    committed = {
        (state.task_id, state.attempt, str(state.worker_id))
        for states in by_task.values()
        for state in states
        if state.state is TaskState.ASSIGNED
    }
    found += [
        f"I2: worker {worker} was sent attempt {attempt} of {task_id}, which was never committed as its own"
        for task_id, attempt, worker in history.starts
        if (task_id, attempt, worker) not in committed
    ]
    return found


def _results(rows: dict[UUID, Row], history: History) -> list[str]:
    started = {(task_id, attempt) for task_id, attempt, _ in history.starts}
    found = []
    for row in rows.values():
        skipped = row.worker_id is None and row.output == SKIPPED_OUTPUT
        if row.state is TaskState.COMPLETED and not skipped and (row.task_id, row.attempt) not in started:
            found.append(f"I3: {row.task_id} completed in attempt {row.attempt}, which no worker was sent")
        told = history.results.get(row.task_id)
        if told is not None and row.task_id not in history.replayed and told != row.output:
            found.append(f"I3: a client was told {told!r} about {row.task_id}; its row says {row.output!r}")
    return found


def _slots_kept(states: list[State], slots: dict[UUID, int]) -> list[str]:
    """Replay all commits: after each of them no worker may hold more than it has."""
    holder: dict[UUID, UUID] = {}
    used: Counter[UUID] = Counter()
    found = []
    for change, members in groupby(states, lambda state: state.change):
        touched: set[UUID] = set()
        for state in members:
            before = holder.pop(state.task_id, None)
            if before is not None:
                used[before] -= 1
            if state.state is TaskState.ASSIGNED and state.worker_id is not None and not state.slot_released:
                holder[state.task_id] = state.worker_id
                used[state.worker_id] += 1
                touched.add(state.worker_id)
        found += [
            f"I4: worker {worker} held {used[worker]} of {slots.get(worker, 0)} slots after change {change}"
            for worker in touched
            if used[worker] > slots.get(worker, 0)
        ]
    return found


def _cancels(rows: dict[UUID, Row], by_task: dict[UUID, list[State]], history: History) -> list[str]:
    found = []
    for task_id in history.cancelled:
        states = by_task.get(task_id, [])
        ends = [at for at, state in enumerate(states) if state.state is TaskState.CANCELLED]
        if not ends:
            state = rows[task_id].state.name if task_id in rows else "missing"
            found.append(f"I8: the cancel of {task_id} was acknowledged, and it is {state}")
        elif task_id not in history.replayed and ends[0] != len(states) - 1:
            found.append(f"I8: {task_id} went on to {states[-1].state.name} after its cancel")
    return found
