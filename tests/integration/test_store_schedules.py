"""Crons, planned runs, claims of due times and pauses on PostgreSQL."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg
import pytest
from rows import OTHER, TENANT, ids, new_task, now
from schedule_rows import DUE, TRACE, cron_in, flow, new_cron, planned_in
from store_server import MakeLedger

from broadaxe.clock import SystemIds
from broadaxe.domain.schedule import Method, Pause, PausedRuns, SkipReason
from broadaxe.store.ledger import NewTask, StoreError
from broadaxe.store.postgres_ledger import PostgresLedger
from broadaxe.store.schedule_ledger import (
    NOBODY,
    FireClaim,
    NewScheduled,
    SkipRecord,
)
from broadaxe.testkit.schedule_invariants import schedule_problems


def firing(source: UUID, due_at: datetime, cron: bool = True) -> NewTask:
    return replace(new_task(), fire=FireClaim(source, due_at, cron))


async def test_cron_reads_back_as_it_was_made(ledger: PostgresLedger) -> None:
    row = await cron_in(ledger)
    assert (row.workflow, row.expression, row.name, row.method) == ("flow", "* * * * *", "mine", Method.API)
    assert (row.enabled, row.priority, row.input, row.metadata) == (True, 2, b'{"a":1}', b'{"m":1}')
    assert row.trace == TRACE
    assert row.settled_until == row.created_at
    assert await ledger.schedules.get_crons([(OTHER, row.id)]) == []
    assert await ledger.schedules.count_crons(TENANT) == 1


async def test_cron_is_unique_by_workflow_expression_and_name_and_needs_its_workflow(
    ledger: PostgresLedger,
) -> None:
    await cron_in(ledger)
    await ledger.put_workflow(TENANT, flow("other"))
    schedules = ledger.schedules
    assert not await schedules.add_cron(TENANT, new_cron())
    assert await schedules.add_cron(TENANT, new_cron("second"))
    assert await schedules.add_cron(TENANT, new_cron(expression="0 * * * *"))
    assert await schedules.add_cron(TENANT, new_cron(workflow="other"))
    assert not await schedules.add_cron(OTHER, new_cron())
    assert not await schedules.add_cron(TENANT, new_cron(workflow="nobody"))


async def test_declared_crons_follow_the_newest_version_in_its_transaction(ledger: PostgresLedger) -> None:
    schedules = ledger.schedules
    first = await ledger.put_workflow(
        TENANT, flow(cron_triggers=("0 * * * *", "5 * * * *", "0 * * * *"), cron_input='{"v":1}'), TRACE
    )
    before = {plan.expression: plan for plan in await schedules.crons_of(TENANT, first.workflow_id)}
    assert set(before) == {"0 * * * *", "5 * * * *"}
    await schedules.add_cron(TENANT, new_cron())
    await ledger.put_workflow(
        TENANT, flow(cron_triggers=("0 * * * *", "9 * * * *"), cron_input='{"v":2}'), TRACE
    )
    after = {plan.expression: plan for plan in await schedules.crons_of(TENANT, first.workflow_id)}
    assert set(after) == {"0 * * * *", "9 * * * *", "* * * * *"}
    assert after["0 * * * *"] == before["0 * * * *"]
    [kept] = await schedules.get_crons([(TENANT, after["0 * * * *"].id)])
    assert (kept.input, kept.method, kept.name, kept.trace) == (b'{"v":2}', Method.DECLARED, None, TRACE)
    assert not await schedules.delete_cron(TENANT, kept.id)
    await ledger.put_workflow(TENANT, flow())
    left = await schedules.crons_of(TENANT, first.workflow_id)
    assert [plan.expression for plan in left] == ["* * * * *"]
    assert await schedules.delete_cron(TENANT, left[0].id)


async def test_due_time_is_claimed_once_and_moves_the_cron_on(ledger: PostgresLedger, dsn: str) -> None:
    row = await cron_in(ledger)
    one, two, next_one = firing(row.id, DUE), firing(row.id, DUE), firing(row.id, DUE + timedelta(minutes=1))
    answers = await asyncio.gather(
        *(ledger.create_tasks([task], patience=30) for task in (one, two, next_one))
    )
    assert answers == [[one.facts.run_id], [NOBODY], [next_one.facts.run_id]]
    assert await ledger.create_tasks([firing(row.id, DUE)], patience=30) == [NOBODY]
    connection = await asyncpg.connect(dsn)
    assert await connection.fetchval("SELECT count(*) FROM task") == 2
    fires = await connection.fetch("SELECT due_at, until, run_id, reason FROM fire ORDER BY due_at")
    await connection.close()
    assert [tuple(fire) for fire in fires] == [
        (DUE, DUE, one.facts.run_id, None),
        (DUE + timedelta(minutes=1), DUE + timedelta(minutes=1), next_one.facts.run_id, None),
    ]
    [after] = await ledger.schedules.get_crons([(TENANT, row.id)])
    assert after.settled_until == DUE + timedelta(minutes=1)


async def test_claim_of_a_cron_that_is_off_or_gone_makes_no_run(ledger: PostgresLedger) -> None:
    row = await cron_in(ledger)
    schedules = ledger.schedules
    assert await schedules.enable_cron(TENANT, row.id, False, now())
    assert not await schedules.enable_cron(TENANT, row.id, False, now())
    task = firing(row.id, DUE)
    assert await ledger.create_tasks([task], patience=30) == [NOBODY]
    assert await ledger.get_task(TENANT, task.facts.id) is None
    [after] = await schedules.get_crons([(TENANT, row.id)])
    assert after.settled_until == row.settled_until
    assert await schedules.delete_cron(TENANT, row.id)
    assert await ledger.create_tasks([firing(row.id, DUE)], patience=30) == [NOBODY]


async def test_cron_that_is_switched_on_again_starts_from_there(ledger: PostgresLedger, dsn: str) -> None:
    row = await cron_in(ledger)
    on = now() + timedelta(hours=1)
    await ledger.schedules.enable_cron(TENANT, row.id, False, now())
    assert await ledger.schedules.enable_cron(TENANT, row.id, True, on)
    [after] = await ledger.schedules.get_crons([(TENANT, row.id)])
    assert (after.enabled, after.settled_until) == (True, on)
    connection = await asyncpg.connect(dsn)
    noted = await connection.fetchrow("SELECT due_at, until, reason FROM fire")
    await connection.close()
    assert noted is not None
    assert tuple(noted) == (row.settled_until + timedelta(microseconds=1), on, SkipReason.DISABLED)


async def test_skips_ride_on_a_commit_and_settle_what_they_are_about(
    ledger: PostgresLedger, dsn: str
) -> None:
    row = await cron_in(ledger)
    [planned] = await planned_in(ledger, DUE)
    skips = [
        SkipRecord(TENANT, row.id, DUE, DUE + timedelta(hours=1), SkipReason.MISSED, True),
        SkipRecord(TENANT, planned.id, DUE, DUE, SkipReason.PAUSED, False),
    ]
    ledger.database.instruments.counts.clear()
    await asyncio.gather(ledger.record_skips(skips), ledger.create_tasks([new_task()], patience=30))
    assert ledger.database.instruments.counts["fire_claim_batch"] == 1
    assert ledger.database.instruments.counts["scheduled_claim_batch"] == 1
    [after] = await ledger.schedules.get_crons([(TENANT, row.id)])
    assert after.settled_until == DUE + timedelta(hours=1)
    [settled] = await ledger.schedules.get_scheduled([(TENANT, planned.id)])
    assert (settled.run_id, settled.skipped) == (None, SkipReason.PAUSED)
    assert settled.settled_at is not None


async def test_planned_run_is_claimed_once_and_only_for_its_own_moment(ledger: PostgresLedger) -> None:
    [row] = await planned_in(ledger, DUE)
    assert await ledger.create_tasks([firing(row.id, DUE + timedelta(seconds=1), False)], patience=30) == [
        NOBODY
    ]
    task = firing(row.id, DUE, False)
    assert await ledger.create_tasks([task], patience=30) == [task.facts.run_id]
    assert await ledger.create_tasks([firing(row.id, DUE, False)], patience=30) == [NOBODY]
    [after] = await ledger.schedules.get_scheduled([(TENANT, row.id)])
    assert after.run_id == task.facts.run_id
    assert await ledger.schedules.move_scheduled(TENANT, [(row.id, DUE)], now()) == set()
    assert await ledger.schedules.delete_scheduled(TENANT, [row.id]) == set()


async def test_planned_runs_are_read_by_their_time_in_pages(
    ledger: PostgresLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broadaxe.store.schedules._PAGE", 2)
    rows = await planned_in(ledger, *(DUE + timedelta(seconds=n % 3) for n in range(7)))
    found = [
        plan async for page in ledger.schedules.load_scheduled(DUE + timedelta(seconds=2)) for plan in page
    ]
    assert {plan.id for plan in found} == {
        row.id for row in rows if row.trigger_at < DUE + timedelta(seconds=2)
    }
    assert [plan.trigger_at for plan in found] == sorted(plan.trigger_at for plan in found)
    await ledger.put_workflow(TENANT, flow(cron_triggers=tuple(f"{n} * * * *" for n in range(5))))
    crons = [plan async for page in ledger.schedules.load_crons() for plan in page]
    assert len({plan.id for plan in crons}) == 5
    moved = await ledger.schedules.move_scheduled(TENANT, [(rows[0].id, DUE + timedelta(days=9))], now())
    assert moved == {rows[0].id}
    assert await ledger.schedules.count_scheduled(TENANT) == 7
    assert await ledger.schedules.delete_scheduled(TENANT, [rows[0].id, rows[1].id]) == {
        rows[0].id,
        rows[1].id,
    }
    assert await ledger.schedules.count_scheduled(TENANT) == 5


async def test_poisoned_fire_drops_out_and_its_neighbours_are_committed(ledger: PostgresLedger) -> None:
    row = await cron_in(ledger)
    good = [firing(row.id, DUE + timedelta(seconds=n)) for n in range(4)]
    bad = firing(row.id, DUE + timedelta(minutes=1))
    bad = replace(bad, facts=replace(bad.facts, child_key="a\x00b"))
    answers = await asyncio.gather(
        *(ledger.create_tasks([task], patience=30) for task in (*good[:2], bad, *good[2:])),
        return_exceptions=True,
    )
    assert isinstance(answers[2], StoreError)
    assert answers[:2] + answers[3:] == [[task.facts.run_id] for task in good]
    assert await ledger.create_tasks([firing(row.id, DUE + timedelta(minutes=1))], patience=30) != [NOBODY]


async def test_two_engines_never_both_fire_one_due_time(dsn: str, make_ledger: MakeLedger) -> None:
    first, second = await make_ledger(dsn), await make_ledger(dsn)
    await first.acquire_lease(SystemIds().uuid7())  # type: ignore[arg-type]
    row = await cron_in(first)
    one = firing(row.id, DUE)
    assert await first.create_tasks([one], patience=30) == [one.facts.run_id]
    await first.release_lease(None)
    await second.acquire_lease(SystemIds().uuid7())  # type: ignore[arg-type]
    assert await second.create_tasks([firing(row.id, DUE)], patience=30) == [NOBODY]


async def test_pause_keeps_its_beginning_and_notes_its_end(ledger: PostgresLedger) -> None:
    version = await ledger.put_workflow(TENANT, flow())
    schedules, workflow = ledger.schedules, version.workflow_id
    began = now()
    how = Pause(ttl=60.0, crons=PausedRuns.QUEUE)
    assert await schedules.pause_workflow(TENANT, workflow, how, began)
    assert await schedules.pause_workflow(TENANT, workflow, replace(how, ttl=90.0), now())
    assert not await schedules.pause_workflow(OTHER, workflow, how, began)
    assert await schedules.get_pause(TENANT, workflow) == replace(how, ttl=90.0, paused_at=began)
    ended = now()
    assert await schedules.resume_workflow(TENANT, workflow, ended)
    assert await schedules.resume_workflow(TENANT, workflow, now())
    pause = await schedules.get_pause(TENANT, workflow)
    assert pause is not None
    assert (pause.active, pause.resumed_at) == (False, ended)
    assert [row.workflow_id for row in await schedules.load_pauses()] == [workflow]


async def test_deleted_workflow_loses_its_crons_and_gets_declared_ones_back_with_its_return(
    ledger: PostgresLedger,
) -> None:
    definition = flow(cron_triggers=("0 * * * *",))
    version = await ledger.put_workflow(TENANT, definition)
    await planned_in_same(ledger)
    schedules = ledger.schedules
    assert await schedules.delete_workflow(OTHER, version.workflow_id, now()) is None
    assert await schedules.delete_workflow(TENANT, version.workflow_id, now()) == "flow"
    assert await schedules.delete_workflow(TENANT, version.workflow_id, now()) is None
    assert await ledger.latest_version(TENANT, "flow") is None
    assert [plan async for page in schedules.load_crons() for plan in page] == []
    assert await schedules.count_scheduled(TENANT) == 0
    again = await ledger.put_workflow(TENANT, definition)
    assert again.version_id == version.version_id
    assert len(await schedules.crons_of(TENANT, version.workflow_id)) == 1


async def planned_in_same(ledger: PostgresLedger) -> None:
    runs = ((ids.uuid7(), DUE, None),)
    assert await ledger.schedules.add_scheduled(
        TENANT, NewScheduled("flow", runs, None, b"{}", b"{}", None, now())
    )


async def test_old_fires_and_settled_runs_are_pruned(
    ledger: PostgresLedger, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broadaxe.store.schedules._PRUNED", 2)
    row = await cron_in(ledger)
    old = now() - timedelta(days=40)
    tasks = [firing(row.id, old + timedelta(seconds=n)) for n in range(5)] + [firing(row.id, DUE)]
    await asyncio.gather(*(ledger.create_tasks([task], patience=30) for task in tasks))
    await ledger.schedules.prune(now() - timedelta(days=30))
    connection = await asyncpg.connect(dsn)
    assert [record[0] for record in await connection.fetch("SELECT due_at FROM fire")] == [DUE]
    await connection.close()


async def test_judge_finds_a_due_time_that_was_lost_doubled_or_made_up(
    ledger: PostgresLedger, dsn: str
) -> None:
    row = await cron_in(ledger)
    minute = row.created_at.replace(second=0, microsecond=0)
    times = [minute + timedelta(minutes=n) for n in (1, 2, 3)]
    await asyncio.gather(*(ledger.create_tasks([firing(row.id, at)], patience=30) for at in times))
    [planned] = await planned_in(ledger, now())
    connection = await asyncpg.connect(dsn)
    assert await schedule_problems(connection) == []
    [late] = await schedule_problems(connection, settled_by=now())
    assert str(planned.id) in late
    await connection.execute("DELETE FROM fire WHERE due_at = $1", times[1])
    [lost] = await schedule_problems(connection)
    assert "dealt with 0 times" in lost
    await connection.execute("UPDATE fire SET until = $1 WHERE due_at = $2", times[2], times[0])
    assert any("dealt with 2 times" in text for text in await schedule_problems(connection))
    await connection.execute("UPDATE fire SET due_at = due_at + '1 second', until = due_at + '1 second'")
    assert any("none of its times" in text for text in await schedule_problems(connection))
    await connection.execute("DELETE FROM task")
    assert any("is not there" in text for text in await schedule_problems(connection))
    await connection.close()
