"""Crons and planned runs: when they fire, what is skipped, and that each due time is dealt with once."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from broadaxe.domain.errors import AlreadyExists, InvalidArgument, NotFound, ResourceExhausted, Unavailable
from broadaxe.domain.schedule import Method, SkipReason
from broadaxe.engine.api import Origin
from broadaxe.engine.schedules.limits import ScheduleLimits
from broadaxe.engine.schedules.requests import CronRequest, ScheduleRequest
from broadaxe.store.ledger import NewTask
from broadaxe.store.schedule_ledger import CronRow, ScheduledRow
from broadaxe.testkit.verify import verify

from .harness import OTHER, TENANT, Bench, make_bench


async def add_cron(bench: Bench, expression: str = "* * * * *", name: str = "mine", **fields: Any) -> UUID:
    request = CronRequest(
        workflow=fields.get("workflow", "flow"),
        expression=expression,
        name=name,
        input=fields.get("input", b'{"a":1}'),
        metadata=fields.get("metadata", b'{"who":"me"}'),
        priority=fields.get("priority"),
    )
    cron_id = await bench.engine.schedules.create_cron(TENANT, request, Origin())
    await bench.settle()
    return cron_id


async def plan(bench: Bench, *times: datetime, **fields: Any) -> list[UUID]:
    request = ScheduleRequest("flow", times, b'{"a":1}', b"{}", **fields)
    planned = await bench.engine.schedules.schedule(TENANT, request, Origin())
    await bench.settle()
    return [one[0] for one in planned.runs]


def cron(bench: Bench, cron_id: UUID) -> CronRow:
    return bench.tables.schedules.crons[(TENANT, cron_id)]


def planned(bench: Bench, one: UUID) -> ScheduledRow:
    return bench.tables.schedules.scheduled[(TENANT, one)]


def fired(bench: Bench) -> list[datetime]:
    return sorted(due for _, _, due in bench.tables.schedules.fires)


def metadata(bench: Bench) -> list[dict[str, Any]]:
    return [json.loads(stored.facts.metadata) for stored in bench.tables.tasks.values()]


async def test_cron_is_fired_at_each_of_its_times_with_its_input_and_keys() -> None:
    bench = await make_bench()
    await bench.register()
    await add_cron(bench, priority=3)
    began = bench.clock.now()
    await bench.advance(180)
    times = fired(bench)
    assert len(times) == 3
    assert all(at.second == 0 and at > began for at in times)
    for stored, at in zip(bench.tables.tasks.values(), times, strict=True):
        assert stored.facts.input == b'{"a":1}'
        assert stored.facts.priority == 3
        keys = json.loads(stored.facts.metadata)
        assert keys["who"] == "me"
        assert keys["hatchet__cron_expression"] == "* * * * *"
        assert keys["hatchet__cron_name"] == "mine"
        assert datetime.fromisoformat(keys["hatchet__cron_scheduled_at"]) == at
    assert bench.count("hatchet.schedules.fired", "cron") == 3
    await bench.close()


async def test_nothing_is_asked_of_the_database_while_nothing_is_due() -> None:
    bench = await make_bench(sweep_every=1e9)
    await bench.register()
    await add_cron(bench, "0 0 1 1 *")
    reads, commits = bench.ledger.reads, bench.ledger.commits
    await bench.advance(1_500, 30)
    assert (bench.ledger.reads, bench.ledger.commits) == (reads, commits)
    await bench.close()


async def test_declared_crons_are_replaced_by_each_version_and_api_ones_stay() -> None:
    bench = await make_bench()
    await bench.register(cron_triggers=("*/5 * * * *", "0 * * * *"), cron_input='{"from":"cron"}')
    mine = await add_cron(bench)
    declared = {row.expression: row.id for row in bench.tables.schedules.crons.values()}
    await bench.register(cron_triggers=("0 * * * *", "30 * * * *"), cron_input='{"from":"two"}')
    after = {row.expression: row for row in bench.tables.schedules.crons.values()}
    assert set(after) == {"0 * * * *", "30 * * * *", "* * * * *"}
    assert after["0 * * * *"].id == declared["0 * * * *"]
    assert after["0 * * * *"].input == b'{"from":"two"}'
    assert after["0 * * * *"].method is Method.DECLARED
    assert after["* * * * *"].id == mine
    await bench.register(description="none left")
    assert [row.id for row in bench.tables.schedules.crons.values()] == [mine]
    await bench.advance(3_600, 30)
    expressions = {keys["hatchet__cron_expression"] for keys in metadata(bench)}
    assert expressions == {"* * * * *"}
    await bench.close()


async def test_cron_runs_the_newest_version() -> None:
    bench = await make_bench()
    await bench.register()
    await add_cron(bench)
    await bench.register(description="newer")
    await bench.advance(60)
    [stored] = bench.tables.tasks.values()
    newest = bench.tables.newest[(TENANT, "flow")]
    assert stored.facts.version_id == newest.version_id
    await bench.close()


async def test_cron_that_is_switched_off_does_not_fire_and_says_so_afterwards() -> None:
    bench = await make_bench()
    await bench.register()
    cron_id = await add_cron(bench)
    await bench.engine.schedules.enable_cron(TENANT, cron_id, False)
    await bench.advance(120)
    assert fired(bench) == []
    await bench.engine.schedules.enable_cron(TENANT, cron_id, True)
    [skip] = bench.tables.schedules.skips
    assert skip.reason is SkipReason.DISABLED
    await bench.advance(60)
    assert len(fired(bench)) == 1
    assert fired(bench)[0] > skip.last
    await bench.close()


async def test_deleted_cron_does_not_fire_and_a_declared_one_cannot_be_deleted() -> None:
    bench = await make_bench()
    await bench.register(cron_triggers=("* * * * *",))
    [declared] = [row.id for row in bench.tables.schedules.crons.values()]
    mine = await add_cron(bench)
    await bench.engine.schedules.delete_cron(TENANT, mine)
    with pytest.raises(InvalidArgument, match="declared"):
        await bench.engine.schedules.delete_cron(TENANT, declared)
    with pytest.raises(NotFound):
        await bench.engine.schedules.delete_cron(TENANT, mine)
    with pytest.raises(NotFound):
        await bench.engine.schedules.delete_cron(OTHER, declared)
    await bench.advance(60)
    assert len(fired(bench)) == 1
    await bench.close()


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"expression": "* * *"}, "cronExpression: .* expected 5 fields"),
        ({"expression": "61 * * * *"}, "cronExpression: .* not valid for minutes"),
        ({"expression": "0 0 30 2 *"}, "cronExpression"),
        ({"expression": "CRON_TZ=Mars/Base 0 0 * * *"}, "cronExpression: .*time zone"),
        ({"expression": "@never"}, "cronExpression: .*alias"),
        ({"name": ""}, "cronName"),
        ({"name": "a\x00b"}, "cronName"),
        ({"input": b"[]"}, "input"),
        ({"input": b'{"a":"\\u0000"}'}, r"input: .*U\+0000"),
        ({"metadata": b"nope"}, "additional_metadata"),
        ({"priority": 4}, "priority"),
    ],
)
async def test_bad_cron_is_refused_by_field_and_nothing_is_made(fields: dict[str, Any], text: str) -> None:
    bench = await make_bench()
    await bench.register()
    with pytest.raises(InvalidArgument, match=text):
        await add_cron(bench, **fields)
    assert not bench.tables.schedules.crons
    await bench.close()


async def test_bad_declared_cron_refuses_the_registration_by_field() -> None:
    bench = await make_bench()
    for trigger, text in (("0 0 31 2 *", r"cron_triggers\[1\]"), ("TZ=No/Where 0 0 * * *", "time zone")):
        with pytest.raises(InvalidArgument, match=text):
            await bench.register(cron_triggers=("0 * * * *", trigger))
    with pytest.raises(InvalidArgument, match="cron_input: must be a JSON object"):
        await bench.register(cron_triggers=("0 * * * *",), cron_input="[1]")
    assert not bench.tables.newest
    await bench.close()


async def test_same_expression_and_name_twice_is_refused_and_unknown_workflows_too() -> None:
    bench = await make_bench(schedule_limits=ScheduleLimits(crons=3))
    await bench.register()
    await add_cron(bench)
    with pytest.raises(AlreadyExists, match="cron trigger with that name-expression pair already exists"):
        await add_cron(bench)
    await add_cron(bench, name="other")
    await add_cron(bench, "0 * * * *")
    with pytest.raises(NotFound, match="nobody"):
        await add_cron(bench, workflow="nobody")
    with pytest.raises(ResourceExhausted, match="3 crons"):
        await add_cron(bench, name="too many")
    await bench.close()


async def test_missed_times_are_noted_as_skipped_and_late_ones_within_grace_are_fired() -> None:
    bench = await make_bench()
    await bench.register()
    cron_id = await add_cron(bench, "*/10 * * * * *")
    await bench.close()
    bench.clock.advance(100)
    again = await make_bench(bench.tables, bench.clock, seed=1)
    await again.settle()
    await again.advance(1)
    [skip] = bench.tables.schedules.skips
    assert skip.reason is SkipReason.MISSED
    assert (skip.last - skip.first).total_seconds() % 10 == 0
    times = fired(again)
    assert [at - skip.last for at in times][:1] == [timedelta(seconds=10)]
    assert 1 <= len(times) <= 2
    assert cron(again, cron_id).settled_until == times[-1]
    await again.close()


async def test_catch_up_makes_up_for_the_last_missed_time_only() -> None:
    bench = await make_bench()
    await bench.register()
    await add_cron(bench)
    await bench.close()
    bench.clock.advance(330)
    again = await make_bench(bench.tables, bench.clock, seed=1, catch_up=True)
    await again.settle()
    await again.advance(1)
    [skip] = bench.tables.schedules.skips
    assert len(fired(again)) == 1
    assert fired(again)[0] - skip.last == timedelta(minutes=1)
    await again.close()


async def test_due_time_is_fired_once_though_two_engines_try() -> None:
    bench = await make_bench()
    await bench.register()
    cron_id = await add_cron(bench)
    await bench.advance(60)
    # A process that was killed behind its commit: the next one finds the claim, whatever the cron's row says.
    rows = bench.tables.schedules.crons
    settled = rows[(TENANT, cron_id)].settled_until
    rows[(TENANT, cron_id)] = replace(rows[(TENANT, cron_id)], settled_until=settled - timedelta(minutes=1))
    bench.ledger.crash()
    again = await make_bench(bench.tables, bench.clock, seed=1)
    await again.settle()
    await again.advance(1)
    assert len(fired(again)) == 1
    assert len(again.tables.tasks) == 1
    verify(again.engine.memory, again.tables.tasks.values(), history=again.tables.history)
    await again.close()


async def test_fire_waits_for_a_database_that_is_away_and_is_not_lost() -> None:
    bench = await make_bench(fire_grace=120)
    await bench.register()
    await add_cron(bench)
    bench.ledger.go_away()
    await bench.advance(70)
    assert fired(bench) == []
    bench.ledger.come_back()
    await bench.advance(3)
    assert len(fired(bench)) == 1
    assert bench.tables.schedules.skips == []
    await bench.close()


async def test_refused_fire_is_noted_and_never_holds_up_its_neighbours() -> None:
    bench = await make_bench()
    await bench.register()
    await bench.register(name="poison")
    await add_cron(bench, workflow="poison")
    await add_cron(bench)
    poison = bench.tables.newest[(TENANT, "poison")].workflow_id

    def refuse(item: object) -> BaseException | None:
        bad = isinstance(item, NewTask) and item.facts.workflow_id == poison
        return InvalidArgument("input: no") if bad else None

    bench.ledger.refuse = refuse
    await bench.advance(120)
    assert len(fired(bench)) == 2
    assert {skip.reason for skip in bench.tables.schedules.skips} == {SkipReason.REFUSED}
    assert len(bench.tables.schedules.skips) == 2
    assert bench.count("hatchet.schedules.skipped", "refused") == 2
    await bench.close()


async def test_full_queue_delays_a_fire_instead_of_skipping_it() -> None:
    bench = await make_bench(queue_limit=1, fire_grace=60)
    await bench.register()
    await bench.trigger()
    await add_cron(bench)
    await bench.advance(70)
    assert fired(bench) == []
    worker = await bench.worker()
    await bench.advance(3)
    assert len(fired(bench)) == 1
    assert len(worker.starts) == 2
    await bench.close()


async def test_planned_run_fires_at_its_time_and_a_past_one_at_once() -> None:
    bench = await make_bench()
    await bench.register()
    soon, past = await plan(
        bench, bench.clock.now() + timedelta(seconds=30), bench.clock.now() - timedelta(days=1)
    )
    await bench.advance(1)
    assert planned(bench, past).run_id in bench.tables.tasks
    assert planned(bench, soon).run_id is None
    await bench.advance(30)
    assert planned(bench, soon).run_id in bench.tables.tasks
    assert bench.count("hatchet.schedules.fired", "scheduled") == 2
    await bench.close()


async def test_planned_run_beyond_the_horizon_is_read_when_its_time_comes_near() -> None:
    bench = await make_bench(schedule_horizon=60.0)
    await bench.register()
    [far] = await plan(bench, bench.clock.now() + timedelta(seconds=600))
    assert len(bench.engine._intake.schedules.book) == 0
    await bench.advance(601, 10)
    assert planned(bench, far).run_id in bench.tables.tasks
    await bench.close()


async def test_planned_run_that_was_missed_fires_on_recovery() -> None:
    bench = await make_bench()
    await bench.register()
    [one] = await plan(bench, bench.clock.now() + timedelta(seconds=30))
    await bench.close()
    bench.clock.advance(3_600)
    again = await make_bench(bench.tables, bench.clock, seed=1)
    await again.settle()
    await again.advance(1)
    assert planned(again, one).run_id in again.tables.tasks
    await again.close()


async def test_planned_run_can_be_moved_and_deleted_until_it_fires() -> None:
    bench = await make_bench()
    await bench.register()
    now = bench.clock.now()
    moved, gone, done = await plan(bench, *(now + timedelta(seconds=30),) * 2, now)
    await bench.advance(1)
    later = now + timedelta(seconds=90)
    schedules = bench.engine.schedules
    assert await schedules.move(TENANT, [(moved, later), (done, later), (UUID(int=7), later)]) == {moved}
    assert await schedules.move(OTHER, [(moved, later)]) == set()
    assert await schedules.delete_scheduled(TENANT, [gone, done]) == {gone}
    await bench.advance(60)
    assert planned(bench, moved).run_id is None
    await bench.advance(40)
    assert planned(bench, moved).run_id in bench.tables.tasks
    assert len(bench.tables.tasks) == 2
    await bench.close()


@pytest.mark.parametrize(
    ("times", "fields", "text"),
    [
        ((), {}, "schedules: at least one"),
        ((datetime(9999, 1, 1, tzinfo=UTC),), {}, "triggerAt"),
        ((datetime(2030, 1, 1, tzinfo=UTC),) * 501, {}, "schedules: at most 500"),
        ((datetime(2030, 1, 1, tzinfo=UTC),), {"parent_run_id": UUID(int=3)}, "parent_id"),
        ((datetime(2030, 1, 1, tzinfo=UTC),), {"priority": 0}, "priority"),
        ((datetime(2030, 1, 1, tzinfo=UTC),), {"child_key": "a\x00"}, "child_key"),
    ],
)
async def test_bad_planned_run_is_refused_by_field(
    times: tuple[datetime, ...], fields: dict[str, Any], text: str
) -> None:
    bench = await make_bench()
    await bench.register()
    with pytest.raises(InvalidArgument, match=text):
        await plan(bench, *times, **fields)
    assert not bench.tables.schedules.scheduled
    await bench.close()


async def test_deleting_a_workflow_takes_its_crons_and_planned_runs_along() -> None:
    bench = await make_bench()
    await bench.register()
    await add_cron(bench)
    await plan(bench, bench.clock.now() + timedelta(seconds=30))
    workflow = bench.tables.newest[(TENANT, "flow")].workflow_id
    await bench.engine.schedules.delete_workflow(TENANT, workflow)
    await bench.advance(120)
    assert not bench.tables.tasks
    with pytest.raises(NotFound):
        await bench.trigger()
    with pytest.raises(NotFound):
        await bench.engine.schedules.delete_workflow(TENANT, workflow)
    await bench.close()


async def test_change_told_by_another_process_is_followed() -> None:
    bench = await make_bench()
    await bench.register()
    elsewhere = await make_bench(bench.tables, bench.clock, seed=1, start=False)
    request = CronRequest("flow", "* * * * *", "there", b"{}", b"{}")
    await elsewhere.engine.schedules.create_cron(TENANT, request, Origin())
    await bench.advance(120)
    assert len(fired(bench)) >= 1
    await bench.close()


async def test_draining_engine_starts_nothing_and_refuses_no_due_time() -> None:
    bench = await make_bench()
    await bench.register()
    await add_cron(bench)
    await bench.engine.drain()
    await bench.advance(120)
    assert fired(bench) == []
    assert bench.tables.schedules.skips == []
    with pytest.raises(Unavailable):
        await bench.trigger()
    await bench.engine.stop()


async def test_plan_answers_with_the_newest_version_and_the_times_in_order() -> None:
    bench = await make_bench()
    await bench.register()
    newest = bench.tables.newest[(TENANT, "flow")]
    later = bench.clock.now() + timedelta(days=2)
    sooner = bench.clock.now() + timedelta(days=1)
    made = await bench.engine.schedules.schedule(
        TENANT, ScheduleRequest("flow", (later, sooner), b"{}", b"{}"), Origin()
    )
    assert made.version.version_id == newest.version_id
    assert [at for _, at in made.runs] == [later, sooner]
    assert {run_id for run_id, _ in made.runs} == {key[1] for key in bench.tables.schedules.scheduled}
    await bench.close()
