"""What a task costs on disk and in the log, and that what is not stored with it is read as it was given."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import asyncpg
import pytest
from rows import TENANT, VERSION, WORKER, WORKFLOW, completed, ids, new_task, now, started

from broadaxe.domain.ids import RunId
from broadaxe.domain.metadata import add_keys
from broadaxe.domain.run import RunFacts
from broadaxe.domain.task import TaskFilter, TaskState
from broadaxe.store.ledger import NewTask, TaskWrite
from broadaxe.store.postgres_ledger import PostgresLedger
from broadaxe.store.postgres_reads import PostgresReads
from broadaxe.store.reads import TaskCriteria
from broadaxe.store.run_ledger import NewRun
from broadaxe.telemetry.context import TraceContext, format_traceparent, run_span_id, run_trace_id

TASKS = 4_000
BULK = 100
AT_ONCE = 500
"""Unfinished tasks at any time."""
BYTES_PER_TASK = 780
"""The goal is 8 MB for 10,000; this many tasks also bear the empty pages of every index."""
INPUT = b'{"x": "' + b"y" * 56 + b'"}'
OUTPUT = b'{"ok": true}'
NO_CALLER, FROM_CALLER = bytes(8), b"callspan"


def traceparent(trace_id: bytes, run_id: UUID) -> str:
    return format_traceparent(TraceContext(trace_id, run_span_id(run_id), True))


def as_made(metadata: bytes | None, trace_id: bytes, run_id: UUID) -> bytes:
    """Metadata with the engine's `traceparent` behind what the caller gave."""
    return add_keys(metadata, {"traceparent": traceparent(trace_id, run_id)})


Case = tuple[bytes, bytes]
"""Metadata and trace."""


def own(metadata: bytes | None, flags: bytes = b"\x01") -> Callable[[UUID], Case]:
    """A run that is the root of its trace."""

    def case(run_id: UUID) -> Case:
        trace_id = run_trace_id(run_id)
        return as_made(metadata, trace_id, run_id), trace_id + NO_CALLER + flags

    return case


def called(metadata: bytes | None) -> Callable[[UUID], Case]:
    """A run that hangs under its caller."""

    def case(run_id: UUID) -> Case:
        trace_id = b"a caller's trace"
        return as_made(metadata, trace_id, run_id), trace_id + FROM_CALLER + b"\x01"

    return case


def plain(metadata: bytes, trace: bytes = bytes(25)) -> Callable[[UUID], Case]:
    return lambda _run_id: (metadata, trace)


def of_another_run(run_id: UUID) -> Case:
    other = ids.uuid7()
    return as_made(None, run_trace_id(other), other), run_trace_id(run_id) + NO_CALLER + b"\x00"


def under_a_span_of_its_own_trace(run_id: UUID) -> Case:
    return as_made(None, run_trace_id(run_id), run_id), run_trace_id(run_id) + FROM_CALLER + b"\x01"


CASES = {
    "no metadata": own(None),
    "not recorded": own(None, b"\x00"),
    "keys before it": own(b'{"team": "blue", "n": {"m": []}}'),
    "blanks after the keys": own(b'{"team": "blue" }'),
    "blanks in an empty object": own(b"{ }"),
    "blanks behind the object": own(b'{"team":"blue"} \n'),
    "a caller": called(None),
    "a caller and keys": called(b'{"traceparents":","}'),
    "a caller in the trace of the run": under_a_span_of_its_own_trace,
    "the traceparent of another run": of_another_run,
    "the caller's own": plain(b'{"traceparent":"00-' + b"a" * 32 + b"-" + b"b" * 16 + b'-01"}'),
    "nothing": plain(b"{}"),
    "no bytes": plain(b""),
    "no JSON": plain(b"\x00\xff"),
    "ends like a cut one": plain(b'{"a":"{"}'),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_metadata_and_trace_read_back_as_given(
    ledger: PostgresLedger, case: Callable[[UUID], Case]
) -> None:
    task_id, run_id = ids.uuid7(), ids.uuid7()
    metadata, trace = case(task_id)
    alone = new_task(task_id=task_id, metadata=metadata, trace=trace)
    metadata, trace = case(run_id)
    run = RunFacts(TENANT, RunId(run_id), WORKFLOW, VERSION, 1, now(), INPUT, metadata, trace)
    step = new_task(run_id=run_id, metadata=metadata, trace=trace, input=b"")
    await ledger.create_tasks([alone, NewRun(run, (step,))], patience=30)
    for task in (alone, step):
        found = await ledger.get_task(TENANT, task.facts.id)
        assert found is not None
        assert found.facts == task.facts
    stored = await ledger.get_runs(TENANT, [run_id])
    assert [one.facts for one in stored] == [run]
    reads = PostgresReads(ledger.database)
    shown = await reads.get_task(TENANT, task_id)
    assert shown is not None
    assert shown.facts == alone.facts
    listed = await reads.list_runs(TENANT, TaskCriteria(now() - timedelta(hours=1)), 0, 10, 1_000_000)
    assert {row.facts.id: (row.facts.metadata, row.facts.trace) for row in listed} == {
        task_id: case(task_id) if case is not of_another_run else (alone.facts.metadata, alone.facts.trace),
        run_id: (metadata, trace),
    }


async def test_traceparent_that_is_not_stored_is_found_by(ledger: PostgresLedger) -> None:
    task_id, run_id = ids.uuid7(), ids.uuid7()
    metadata, trace = own(b'{"team":"blue"}')(task_id)
    alone = new_task(task_id=task_id, metadata=metadata, trace=trace)
    metadata, trace = called(None)(run_id)
    run = RunFacts(TENANT, RunId(run_id), WORKFLOW, VERSION, 1, now(), INPUT, metadata, trace)
    await ledger.create_tasks([alone, NewRun(run), new_task()], patience=30)
    since = now() - timedelta(hours=1)
    for wanted, pair in (
        (task_id, ("traceparent", traceparent(run_trace_id(task_id), task_id))),
        (run_id, ("traceparent", traceparent(b"a caller's trace", run_id))),
    ):
        tasks = await ledger.find_tasks(TENANT, TaskFilter(since, metadata=(pair,)), 10)
        runs = await ledger.find_runs(TENANT, TaskFilter(since, metadata=(pair,)), 10)
        assert [*(row[0] for row in tasks), *(row.facts.id for row in runs)] == [wanted]


def of_the_load() -> NewTask:
    """As most tasks are: nobody's child, of no caller, without metadata of its own."""
    task_id = ids.uuid7()
    metadata, trace = own(None, b"\x00")(task_id)
    return new_task(TENANT, TaskState.ASSIGNED, task_id=task_id, input=INPUT, metadata=metadata, trace=trace)


async def once(ledger: PostgresLedger, tasks: Sequence[NewTask]) -> None:
    """Start and end arrive together: a row is written twice."""
    held = await asyncio.gather(*(ledger.write_task(completed(task, OUTPUT)) for task in tasks))
    assert all(held)


async def slowly(ledger: PostgresLedger, tasks: Sequence[NewTask]) -> None:
    """The end comes later than the start: three times."""
    await asyncio.gather(*(ledger.write_task(started(task)) for task in tasks))
    await once(ledger, tasks)


async def failing(ledger: PostgresLedger, tasks: Sequence[NewTask]) -> None:
    """A fifth of them fails once and is tried again."""
    bad = list(tasks[::5])
    await asyncio.gather(*(ledger.write_task(started(task)) for task in tasks))
    statuses = [task.status for task in bad]

    async def change(**values: object) -> None:
        after = [replace(status, **values) for status in statuses]  # type: ignore[arg-type]
        held = await asyncio.gather(
            *(
                ledger.write_task(TaskWrite(TENANT, task.facts.id, before.attempt, before.state, status))
                for task, before, status in zip(bad, statuses, after, strict=True)
            )
        )
        assert all(held)
        statuses[:] = after

    await change(state=TaskState.DELAYED, attempt=1, app_retries=1, retry_at=now(), worker_id=None)
    await once(ledger, [task for task in tasks if task not in bad])
    await change(state=TaskState.QUEUED, retry_at=None)
    await change(state=TaskState.ASSIGNED, worker_id=WORKER)
    await change(state=TaskState.COMPLETED, finished_at=now(), timeout_at=None, output=OUTPUT)


@pytest.mark.parametrize(
    ("finish", "wal_per_task"),
    [(once, 850), (slowly, 1_000), (failing, 1_200)],
    ids=["once", "slowly", "failing"],
)
async def test_task_costs_few_bytes(
    ledger: PostgresLedger,
    dsn: str,
    finish: Callable[[PostgresLedger, Sequence[NewTask]], Awaitable[None]],
    wal_per_task: int,
) -> None:
    connection = await asyncpg.connect(dsn)
    begin = await connection.fetchval("SELECT pg_current_wal_insert_lsn()")
    live: list[list[NewTask]] = []
    for _ in range(TASKS // BULK):
        live.append([of_the_load() for _ in range(BULK)])
        await ledger.create_tasks(live[-1], patience=None)
        if len(live) * BULK >= AT_ONCE:
            await finish(ledger, live.pop(0))
    for tasks in live:
        await finish(ledger, tasks)
    wal = await connection.fetchval("SELECT pg_current_wal_insert_lsn() - $1::pg_lsn", begin) / TASKS
    size = (
        "SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits "
        "WHERE inhparent = 'task'::regclass AND pg_relation_size(inhrelid) > 0"
    )
    loaded = await connection.fetchval(size) / TASKS
    await connection.execute("VACUUM task")
    cleaned = await connection.fetchval(size) / TASKS
    await connection.close()
    print(f"{wal:.0f} bytes of WAL, {loaded:.0f} bytes a task, after a vacuum {cleaned:.0f}")
    assert wal <= wal_per_task
    assert loaded <= BYTES_PER_TASK
    assert cleaned <= BYTES_PER_TASK
