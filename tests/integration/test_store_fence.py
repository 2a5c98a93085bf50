"""A group commit's first statement holds the leases too: its writes and a take-over exclude each other."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import asyncpg
import pytest
from rows import INPUT, METADATA, TENANT, VERSION, WORKFLOW, completed, ids, new_task, now

from broadaxe.domain.ids import RunId
from broadaxe.domain.run import RunFacts
from broadaxe.domain.task import TaskState
from broadaxe.store.ledger import Fenced, NewTask
from broadaxe.store.postgres_ledger import PostgresLedger
from broadaxe.store.run_ledger import NewRun, RunChange
from broadaxe.testkit.conditions import until

TAKE_OVER = "UPDATE lease SET epoch = epoch + 1, engine_id = $1"
ROWS = """
    SELECT (SELECT count(*) FROM task WHERE state = 10),
           (SELECT count(*) FROM task), (SELECT count(*) FROM run)
"""
WAITING = (
    "SELECT count(*) FROM pg_stat_activity "
    "WHERE datname = current_database() AND wait_event_type = 'Lock' AND application_name LIKE '%writer'"
)


def new_run() -> NewRun:
    run_id = RunId(ids.uuid7())
    return NewRun(RunFacts(TENANT, run_id, WORKFLOW, VERSION, 1, now(), INPUT, METADATA, bytes(25)))


Submit = Callable[[PostgresLedger, NewTask, NewRun], Awaitable[object]]
FIRST_STATEMENTS: dict[str, Submit] = {
    "task_create_batch": lambda ledger, _task, _run: ledger.create_tasks([new_task()], patience=None),
    "run_create_batch": lambda ledger, _task, _run: ledger.create_tasks([new_run()], patience=None),
    "task_write_batch": lambda ledger, task, _run: ledger.write_task(completed(task)),
    "step_create_batch": lambda ledger, _task, run: ledger.change_run(
        RunChange(TENANT, run.facts.id, tasks=(new_task(run_id=run.facts.id),))
    ),
}


@pytest.fixture
async def connection(dsn: str) -> AsyncIterator[asyncpg.Connection]:  # type: ignore[type-arg]
    opened = await asyncpg.connect(dsn)
    yield opened
    await opened.close()


async def stored(ledger: PostgresLedger) -> tuple[NewTask, NewRun]:
    """A task that runs and a run that is open, with every statement of the writer prepared."""
    task, run = new_task(state=TaskState.ASSIGNED), new_run()
    await ledger.create_tasks([task], patience=None)
    await ledger.create_tasks([run], patience=None)
    return task, run


@pytest.mark.parametrize("name", FIRST_STATEMENTS)
async def test_lone_operation_is_one_statement(ledger: PostgresLedger, name: str) -> None:
    task, run = await stored(ledger)
    ledger.database.instruments.counts.clear()
    await FIRST_STATEMENTS[name](ledger, task, run)
    assert ledger.database.instruments.counts == {"BEGIN": 1, "COMMIT": 1, f"{name}_fenced": 1}


@pytest.mark.parametrize("name", FIRST_STATEMENTS)
async def test_lease_that_is_gone_nothing_is_written(
    ledger: PostgresLedger, connection: "asyncpg.Connection[asyncpg.Record]", name: str
) -> None:
    task, run = await stored(ledger)
    before = await connection.fetchrow(ROWS)
    await connection.execute(TAKE_OVER, ids.uuid7())
    with pytest.raises(Fenced):
        await FIRST_STATEMENTS[name](ledger, task, run)
    assert await connection.fetchrow(ROWS) == before


@pytest.mark.parametrize("name", FIRST_STATEMENTS)
async def test_take_over_under_way_is_waited_for_and_nothing_is_written(
    ledger: PostgresLedger, connection: "asyncpg.Connection[asyncpg.Record]", name: str
) -> None:
    task, run = await stored(ledger)
    before = await connection.fetchrow(ROWS)
    async with connection.transaction():
        await connection.execute(TAKE_OVER, ids.uuid7())
        answer = asyncio.ensure_future(FIRST_STATEMENTS[name](ledger, task, run))
        await until(lambda: connection.fetchval(WAITING), "the commit waits for the take-over")
    with pytest.raises(Fenced):
        await answer
    assert await connection.fetchrow(ROWS) == before


async def test_take_over_that_is_given_up_lets_the_commit_go_on(
    ledger: PostgresLedger, connection: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    task, _ = await stored(ledger)
    giving_up = connection.transaction()
    await giving_up.start()
    await connection.execute(TAKE_OVER, ids.uuid7())
    answer = asyncio.ensure_future(ledger.write_task(completed(task)))
    await until(lambda: connection.fetchval(WAITING), "the commit waits for the take-over")
    await giving_up.rollback()
    assert await answer is True


async def test_row_that_changes_under_the_statement_is_compared_as_it_is_then(
    ledger: PostgresLedger, connection: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    tasks = [new_task(state=TaskState.ASSIGNED) for _ in range(3)]
    await ledger.create_tasks(tasks, patience=None)
    async with connection.transaction():
        await connection.execute("UPDATE task SET attempt = 1 WHERE id = $1", tasks[1].facts.id)
        await connection.execute("UPDATE task SET priority = 2 WHERE id = $1", tasks[2].facts.id)
        answers = [asyncio.ensure_future(ledger.write_task(completed(task))) for task in tasks]
        await until(lambda: connection.fetchval(WAITING), "the commit waits for the row")
    assert await asyncio.gather(*answers) == [True, False, True]


async def test_operation_that_writes_nothing_is_acknowledged_under_the_lease_only(
    ledger: PostgresLedger, connection: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    _, run = await stored(ledger)
    nothing = RunChange(TENANT, run.facts.id)
    assert await ledger.change_run(nothing) is not None
    await connection.execute(TAKE_OVER, ids.uuid7())
    with pytest.raises(Fenced):
        await ledger.change_run(nothing)
