"""Creating and changing tasks through the ledger."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import asyncpg
import pytest
from rows import OTHER, STEP, TENANT, WORKFLOW, completed, ids, new_task, now, started

from broadaxe.domain.errors import ResourceExhausted
from broadaxe.domain.run import task_id_of
from broadaxe.domain.task import (
    AttemptOutcome,
    AttemptRecord,
    Note,
    NoteKind,
    TaskFilter,
    TaskState,
)
from broadaxe.store.ledger import ChildClaim, LogLine, NewTask, StoredTask, StoreError
from broadaxe.store.postgres_ledger import PostgresLedger


async def test_create_tasks_stored_reads_back_equal(ledger: PostgresLedger) -> None:
    full = new_task(
        state=TaskState.ASSIGNED,
        parent_task_id=ids.uuid7(),
        parent_run_id=ids.uuid7(),
        child_index=3,
        child_key="key",
        desired_worker_id=ids.uuid7(),
        desired_labels=b"[]",
        input=b"\x00\xff not JSON at all",
    )
    tasks = [new_task(state=TaskState.ASSIGNED), full]
    runs = await ledger.create_tasks(tasks, patience=30)
    assert runs == [task.facts.run_id for task in tasks]
    for task in tasks:
        assert await ledger.get_task(TENANT, task.facts.id) == StoredTask(task.facts, task.status)


async def test_get_tasks_by_task_and_by_run_finds_both(ledger: PostgresLedger) -> None:
    run = ids.uuid7()
    alone, member = new_task(), new_task(task_id=task_id_of(run, STEP), run_id=run)
    await ledger.create_tasks([alone, member], patience=30)
    found = await ledger.get_tasks(TENANT, [alone.facts.id, run])
    assert {task.facts.id for task in found} == {alone.facts.id, member.facts.id}
    both = await ledger.get_tasks(TENANT, [member.facts.id, run])
    assert [task.facts.id for task in both] == [member.facts.id]


async def test_write_task_expected_state_holds_once(ledger: PostgresLedger) -> None:
    task = new_task(state=TaskState.ASSIGNED)
    await ledger.create_tasks([task], patience=30)
    assert await ledger.write_task(started(task), lazy=0.05)
    done = completed(task)
    assert await ledger.write_task(done)
    assert not await ledger.write_task(completed(task, b"late"))
    assert not await ledger.write_task(replace(done, expect_attempt=1, expect_state=TaskState.COMPLETED))
    stored = await ledger.get_task(TENANT, task.facts.id)
    assert stored == StoredTask(task.facts, done.status)


async def test_write_task_two_of_one_task_never_share_a_statement(ledger: PostgresLedger) -> None:
    task = new_task(state=TaskState.ASSIGNED)
    await ledger.create_tasks([task], patience=30)
    ledger.database.instruments.counts.clear()
    held = await asyncio.gather(ledger.write_task(started(task)), ledger.write_task(completed(task)))
    assert held == [True, True]
    assert ledger.database.instruments.counts["task_write_batch_fenced"] == 2


async def test_write_task_history_kept_only_if_held(ledger: PostgresLedger, dsn: str) -> None:
    task = new_task(state=TaskState.ASSIGNED)
    await ledger.create_tasks([task], patience=30)
    at = now()
    record = AttemptRecord(0, AttemptOutcome.FAILED, at, at, at, at, None, None, b"boom")
    notes = (Note(NoteKind.RETRYING, 0, at, "again"),)
    retry = replace(
        completed(task),
        status=replace(task.status, state=TaskState.DELAYED, attempt=1),
        record=record,
        notes=notes,
    )
    assert await ledger.write_task(retry)
    assert not await ledger.write_task(retry)
    connection = await asyncpg.connect(dsn)
    rows = await connection.fetch(
        "SELECT attempt, outcome, error FROM attempt WHERE task_id = $1", task.facts.id
    )
    assert [tuple(row) for row in rows] == [(0, 1, b"boom")]
    assert await connection.fetchval("SELECT count(*) FROM task_note") == 1
    await connection.close()


async def test_write_task_of_another_tenant_changes_nothing(ledger: PostgresLedger) -> None:
    task = new_task(state=TaskState.ASSIGNED)
    await ledger.create_tasks([task], patience=30)
    assert not await ledger.write_task(replace(completed(task), tenant_id=OTHER))
    assert await ledger.get_task(OTHER, task.facts.id) is None
    assert await ledger.get_tasks(OTHER, [task.facts.id]) == []
    assert await ledger.load_inputs(OTHER, [task.facts.id]) == {}
    assert await ledger.find_tasks(OTHER, TaskFilter(now() - timedelta(hours=1)), 10) == []
    assert await ledger.get_task(TENANT, task.facts.id) == StoredTask(task.facts, task.status)


async def test_find_tasks_filters_newest_first(ledger: PostgresLedger) -> None:
    since = now()
    red = [new_task(metadata=b'{"team":"red","n":7}') for _ in range(3)]
    odd = new_task(metadata=b'{"team":"red\\u0000"}')
    blue = new_task(state=TaskState.ASSIGNED)
    await ledger.create_tasks([*red, odd, blue], patience=30)

    async def find(**where: object) -> list[object]:
        return [t for t, _ in await ledger.find_tasks(TENANT, TaskFilter(since, **where), 100)]  # type: ignore[arg-type]

    newest_red = [task.facts.id for task in reversed(red)]
    assert await find(metadata=(("team", "red"),)) == newest_red
    assert await find(metadata=(("n", "7"), ("team", "none"))) == newest_red
    assert await find(states=(TaskState.ASSIGNED,)) == [blue.facts.id]
    assert await find(workflow_ids=(ids.uuid7(),)) == []
    assert len(await find(workflow_ids=(WORKFLOW,))) == 5
    assert await find(until=since) == []
    assert len(await ledger.find_tasks(TENANT, TaskFilter(since, metadata=(("team", "red"),)), 2)) == 2


async def test_load_live_tasks_final_left_out_oldest_first(make_ledger, dsn: str) -> None:  # type: ignore[no-untyped-def]
    ledger = await make_ledger(dsn, live_page_rows=2)
    await ledger.acquire_lease(ids.uuid7())
    began = now()
    tasks: list[NewTask] = [new_task(state=TaskState.ASSIGNED) for _ in range(6)]
    await ledger.create_tasks(tasks, patience=30)
    assert await ledger.write_task(completed(tasks[2]))
    live = [task async for page in ledger.load_live_tasks() for task in page]
    assert [task.facts.id for task in live] == [tasks[i].facts.id for i in (0, 1, 3, 4, 5)]
    ended = [task async for page in ledger.load_finished_since(began) for task in page]
    assert [task.facts.id for task in ended] == [tasks[2].facts.id]
    assert [page async for page in ledger.load_finished_since(now())] == []


async def test_create_tasks_same_claim_concurrently_one_run(ledger: PostgresLedger) -> None:
    claim = ChildClaim(ids.uuid7(), "k:one")
    many = [ledger.create_tasks([new_task(claim=claim)], patience=30) for _ in range(20)]
    runs = {run for answer in await asyncio.gather(*many) for run in answer}
    later = await ledger.create_tasks([new_task(claim=claim), new_task(claim=claim)], patience=30)
    assert len(runs) == 1
    assert set(later) == runs
    live = [task async for page in ledger.load_live_tasks() for task in page]
    assert [task.facts.run_id for task in live] == list(runs)


async def test_create_tasks_same_claim_of_another_tenant_is_another_run(ledger: PostgresLedger) -> None:
    claim = ChildClaim(ids.uuid7(), "k:one")
    ours, theirs = new_task(claim=claim), new_task(OTHER, claim=claim)
    assert await ledger.create_tasks([ours], patience=30) == [ours.facts.run_id]
    assert await ledger.create_tasks([theirs], patience=30) == [theirs.facts.run_id]


@pytest.mark.parametrize(
    "poison",
    [
        pytest.param({"child_key": "a\x00b"}, id="nul-in-text"),
        pytest.param({"priority": 70_000}, id="number-too-large"),
        pytest.param({"trace": None}, id="missing-value"),
        pytest.param({"task_id": "no uuid"}, id="wrong-type"),
        pytest.param({"child_key": "half \ud800 pair"}, id="surrogate"),
        pytest.param({"priority": "high"}, id="wrong-kind"),
    ],
)
async def test_create_tasks_poisoned_item_drops_out_alone(
    ledger: PostgresLedger, poison: dict[str, object]
) -> None:
    good = [new_task() for _ in range(30)]
    bad_id = poison.pop("task_id", None)
    bad = new_task(id=bad_id, **poison) if bad_id else new_task(**poison)
    futures = [ledger.create_tasks([task], patience=30) for task in [*good[:11], bad, *good[11:]]]
    answers = await asyncio.gather(*futures, return_exceptions=True)
    refused = answers.pop(11)
    assert isinstance(refused, StoreError)
    assert "a\x00b" not in refused.message
    assert answers == [[task.facts.run_id] for task in good]
    live = [task async for page in ledger.load_live_tasks() for task in page]
    assert {task.facts.id for task in live} == {task.facts.id for task in good}


async def test_create_tasks_wrong_state_refused_by_the_database(ledger: PostgresLedger) -> None:
    bad, good = new_task(), new_task()
    bad = replace(bad, status=replace(bad.status, state=5))  # type: ignore[arg-type]
    answers = await asyncio.gather(
        *(ledger.create_tasks([task], patience=30) for task in (bad, good)), return_exceptions=True
    )
    assert isinstance(answers[0], StoreError)
    assert "task_state_known" in answers[0].message
    assert answers[1] == [good.facts.run_id]


async def test_create_tasks_missing_partition_is_made(ledger: PostgresLedger, dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute(f"DROP TABLE task_p{now():%Y%m%d}")
    await connection.close()
    task = new_task()
    assert await ledger.create_tasks([task], patience=30) == [task.facts.run_id]


async def test_add_log_lines_kept_as_bytes(ledger: PostgresLedger, dsn: str) -> None:
    task = new_task()
    line = LogLine(TENANT, task.facts.id, 0, now(), "INFO", "a\x00b", b"{}")
    await ledger.add_log_lines([line, line])
    connection = await asyncpg.connect(dsn)
    rows = await connection.fetch("SELECT message FROM log_line WHERE task_id = $1", task.facts.id)
    await connection.close()
    assert [row[0] for row in rows] == [b"a\x00b"] * 2


async def test_create_tasks_one_large_item_goes_alone(make_ledger, dsn: str) -> None:  # type: ignore[no-untyped-def]
    ledger = await make_ledger(dsn, batch_max_bytes=100_000, held_max_bytes=3_000_000)
    await ledger.acquire_lease(ids.uuid7())
    large = new_task(input=b"x" * 2_000_000)
    first = ledger.create_tasks([large], patience=30)
    second = ledger.create_tasks([new_task()], patience=30)
    third = ledger.create_tasks([new_task(input=b"x" * 2_000_000)], patience=30)
    with pytest.raises(ResourceExhausted):
        await third
    await asyncio.gather(first, second)
    assert ledger.held_bytes == 0
    assert await ledger.load_inputs(TENANT, [large.facts.id]) == {large.facts.id: large.facts.input}
