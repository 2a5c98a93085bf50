"""Steps that wait: sleeps, user events, OR-groups, cancels; and the same after a take-over."""

import asyncio
import json
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from broadaxe.domain.errors import Unavailable
from broadaxe.domain.user_event import UserEvent
from broadaxe.engine.api import EventKind, NewUserEvent, Origin
from broadaxe.testkit.verify import verify

from .dags import Dag, event, make_dag, on_parent, sleep, step
from .harness import OTHER, TENANT, Bench, make_bench

SKIP, CANCEL = 3, 2


async def patient_bench(*args: Any, **fields: Any) -> Bench:
    """Workers that are silent for long keep their work: nobody beats for them here."""
    return await make_bench(*args, fresh=10_000.0, dead_after=10_000.0, **fields)


async def push(bench: Bench, key: str, payload: Any = None, tenant: Any = TENANT, **fields: Any) -> None:
    """A user event; returns when what it meets is committed."""
    text = json.dumps(payload or {}).encode()
    pushed = UserEvent(tenant, UUID(int=7), key, text, b"{}", bench.clock.now(), **fields)
    call = asyncio.ensure_future(bench.engine.waits.delivered(pushed))
    await bench.settle()
    await call


def triggers(dag: Dag, name: str) -> dict[str, Any]:
    return dict(json.loads(dag.payload(name))["triggers"])


async def test_sleep_counts_from_the_end_of_the_parents() -> None:
    bench = await patient_bench()
    dag = await make_dag(bench, step("one"), step("two", "one", conditions=(sleep(10),)))
    await dag.start()
    await bench.advance(8)
    await dag.complete("one")
    assert dag.states() == {"one": "COMPLETED"}
    await bench.advance(9)
    assert dag.started() == ["one"]
    await bench.advance(1.5)
    assert dag.started() == ["one", "two"]
    assert triggers(dag, "two") == {"sleep:10s": {"sleep_duration": "10s"}}
    await dag.complete("two")
    assert dag.end() == "COMPLETED"
    await bench.close()


async def test_event_lets_a_step_go_with_its_payload_and_an_earlier_one_is_missed() -> None:
    bench = await patient_bench()
    wait = event("paid", expression="input.amount > 5")
    dag = await make_dag(bench, step("one"), step("two", "one", conditions=(wait,)))
    await dag.start()
    await push(bench, "paid", {"amount": 9})
    await dag.complete("one")
    for payload in ({"amount": 1}, {"other": 9}, [1]):
        await push(bench, "paid", payload)
    await push(bench, "paid", {"amount": 9}, tenant=OTHER)
    assert dag.started() == ["one"]
    commits = bench.ledger.commits
    await push(bench, "paid", {"amount": 7})
    assert bench.ledger.commits == commits + 1, "what met the wait, and the task born assigned"
    assert dag.started() == ["one", "two"]
    assert triggers(dag, "two") == {"paid": {"amount": 7}}
    await bench.close()


def considers(bench: Bench, scope: str | None = "order-1", expression: str = "input.amount > 5") -> Any:
    since = bench.clock.now() - timedelta(minutes=1)
    return event("paid", expression=expression, event_scope=scope, consider_since=since)


async def tell(bench: Bench, amount: int, scope: str | None = "order-1", key: str = "paid") -> None:
    """An event that is stored, as SDKs push it."""
    new = NewUserEvent(key, json.dumps({"amount": amount}).encode(), scope=scope)
    call = asyncio.ensure_future(bench.engine.push_event(TENANT, new, Origin()))
    await bench.settle()
    await call


async def test_events_since_a_time_count_when_the_wait_opens_the_oldest_that_fits_first() -> None:
    bench = await patient_bench()
    wait = considers(bench)
    dag = await make_dag(bench, step("one"), step("two", "one", conditions=(wait,)))
    await tell(bench, 1)
    await tell(bench, 9, scope="order-2")
    await tell(bench, 9, key="other")
    await tell(bench, 7)
    await tell(bench, 8)
    await dag.start()
    await dag.complete("one")
    await bench.settle()
    assert dag.started() == ["one", "two"]
    assert triggers(dag, "two") == {"paid": {"amount": 7}}
    await dag.complete("two")
    assert dag.end() == "COMPLETED"
    await bench.close()


async def test_events_before_the_time_or_without_a_scope_to_look_for_do_not_count() -> None:
    bench = await patient_bench()
    await tell(bench, 9)
    await tell(bench, 9, scope=None)
    await bench.advance(120)
    dag = await make_dag(
        bench, step("late", conditions=(considers(bench),)), step("any", conditions=(considers(bench, None),))
    )
    await tell(bench, 9, scope=None)
    await tell(bench, 4)
    await dag.start()
    await bench.settle()
    assert dag.started() == []
    await tell(bench, 6)
    assert sorted(dag.started()) == ["any", "late"]
    await bench.close()


async def test_look_back_has_a_limit_and_new_events_count_all_the_same() -> None:
    bench = await patient_bench(look_back_limit=3)
    dag = await make_dag(bench, step("one", conditions=(considers(bench),)))
    for amount in (1, 2, 3, 9):
        await tell(bench, amount)
    await dag.start()
    await bench.settle()
    assert dag.started() == []
    await tell(bench, 10)
    assert triggers(dag, "one") == {"paid": {"amount": 10}}
    await bench.close()


async def test_look_back_is_tried_again_when_the_database_was_away() -> None:
    bench = await patient_bench()
    dag = await make_dag(bench, step("one"), step("two", "one", conditions=(considers(bench),)))
    await tell(bench, 9)
    real, asked = bench.ledger.events.find_events, []

    async def away_once(searches: Any) -> Any:
        asked.append(len(searches))
        if len(asked) == 1:
            raise Unavailable("away")
        return await real(searches)

    bench.ledger.events.find_events = away_once  # type: ignore[method-assign]
    await dag.start()
    await dag.complete("one")
    await bench.settle()
    assert dag.started() == ["one"]
    await bench.advance(2)
    assert dag.started() == ["one", "two"]
    assert asked == [1, 1]
    await bench.close()


async def test_scope_of_a_condition_must_be_the_events() -> None:
    bench = await patient_bench()
    dag = await make_dag(bench, step("one", conditions=(event("go", event_scope="eu"),)))
    await dag.start()
    await push(bench, "go")
    await push(bench, "go", scope="us")
    assert dag.started() == []
    await push(bench, "go", scope="eu")
    assert dag.started() == ["one"]
    await bench.close()


async def test_groups_are_joined_by_and_their_members_by_or() -> None:
    bench = await patient_bench()
    conditions = (
        sleep(30, group="a", key="first"),
        sleep(30, group="b", key="second"),
        event("paid", group="b"),
    )
    dag = await make_dag(bench, step("one", conditions=conditions))
    await dag.start()
    await push(bench, "paid")
    assert dag.started() == []
    await bench.advance(31)
    assert dag.started() == ["one"]
    assert set(triggers(dag, "one")) == {"first", "paid"}
    await bench.close()


async def test_parent_in_a_group_with_a_sleep_is_one_of_two_ways() -> None:
    bench = await patient_bench()
    conditions = (on_parent("one", 1, "output.n > 5", group="g"), sleep(10, group="g"))
    dag = await make_dag(bench, step("one"), step("two", "one", conditions=conditions))
    await dag.start()
    await dag.complete("one", b'{"n":9}')
    assert dag.started() == ["one", "two"]
    await dag.complete("two")
    await dag.start()
    await dag.complete("one", b'{"n":1}')
    assert dag.started() == ["one"]
    await bench.advance(11)
    assert dag.started() == ["one", "two"]
    await bench.close()


@pytest.mark.parametrize(
    ("action", "state", "end"), [(SKIP, "SKIPPED", "COMPLETED"), (CANCEL, "CANCELLED", "CANCELLED")]
)
@pytest.mark.parametrize("by", ["event", "sleep"])
async def test_skip_and_cancel_by_what_comes_first(action: int, state: str, end: str, by: str) -> None:
    bench = await patient_bench()
    stop = event("stop", action) if by == "event" else sleep(5, action)
    dag = await make_dag(
        bench, step("one"), step("two", "one", conditions=(sleep(60), stop)), step("behind", "two")
    )
    await dag.start()
    await dag.complete("one")
    await (push(bench, "stop") if by == "event" else bench.advance(6))
    assert dag.states() == {"one": "COMPLETED", "two": state, "behind": state}
    assert dag.end() == end
    await bench.advance(70)
    assert dag.started() == ["one"]
    assert len(bench.engine.waits) == 0
    await bench.close()


async def test_cancel_of_a_run_reaches_what_runs_and_what_waits_and_starts_nothing_new() -> None:
    bench = await patient_bench()
    dag = await make_dag(
        bench,
        step("runs"),
        step("waits", conditions=(event("go"),)),
        step("behind", "waits"),
        on_failure=step("handle"),
    )
    run_id = await dag.start()
    assert await bench.engine.cancel(TENANT, [run_id], None, Origin()) == [run_id]
    await bench.settle()
    assert dag.states() == {
        "runs": "CANCELLED",
        "waits": "CANCELLED",
        "behind": "CANCELLED",
        "handle": "SKIPPED",
    }
    assert dag.end() == "CANCELLED"
    assert [action.task_id for action in dag.worker.cancels] == [dag.id("runs")]
    assert await bench.engine.cancel(TENANT, [run_id], None, Origin()) == []
    await push(bench, "go")
    assert dag.started() == ["runs"]
    await bench.close()


async def test_cancel_of_a_run_stops_what_an_end_in_flight_is_about_to_create() -> None:
    bench = await patient_bench()
    dag = await make_dag(bench, step("one"), step("two", "one"), step("three", "two"))
    run_id = await dag.start()
    bench.ledger.hold = True
    ended = asyncio.ensure_future(dag.complete("one"))
    await bench.settle()
    cancelled = asyncio.ensure_future(bench.engine.cancel(TENANT, [run_id], None, Origin()))
    await bench.settle()
    bench.ledger.release()
    await bench.settle()
    assert await cancelled == [run_id]
    await ended
    assert dag.states() == {"one": "COMPLETED", "two": "CANCELLED", "three": "CANCELLED"}
    await bench.close()


async def test_cancel_of_one_task_cancels_what_is_behind_it_only() -> None:
    bench = await patient_bench()
    dag = await make_dag(bench, step("one"), step("other"), step("two", "one"))
    await dag.start()
    assert await bench.engine.cancel(TENANT, [dag.id("one")], None, Origin()) == [dag.id("one")]
    assert dag.states() == {"one": "CANCELLED", "other": "ASSIGNED", "two": "CANCELLED"}
    await bench.close()


async def test_replay_of_a_run_runs_all_again_under_the_same_ids_and_waits_anew() -> None:
    bench = await patient_bench()
    dag = await make_dag(
        bench, step("one"), step("two", "one", conditions=(event("go"),)), on_failure=step("handle")
    )
    run_id = await dag.start({"n": 1})
    await dag.complete("one", b"1")
    await push(bench, "go", {"round": 1})
    assert await bench.engine.replay(TENANT, [run_id], None, Origin()) == [], "it is not over"
    await dag.complete("two", b"2")
    assert dag.end() == "COMPLETED"
    assert await bench.engine.replay(TENANT, [run_id], None, Origin()) == [run_id]
    await bench.settle()
    assert dag.end() is None
    assert dag.states() == {"one": "ASSIGNED", "two": "PENDING", "handle": "PENDING"}
    await dag.complete("one", b"10")
    assert dag.started().count("two") == 1, "the event of the first round does not count"
    await push(bench, "go", {"round": 2})
    assert json.loads(dag.payload("two"))["parents"] == {"one": 10}
    assert triggers(dag, "two") == {"go": {"round": 2}}
    await dag.complete("two", b"20")
    assert dag.end() == "COMPLETED"
    assert {name: bench.row(dag.id(name)).status.attempt for name in ("one", "two", "handle")} == {
        "one": 1,
        "two": 1,
        "handle": 1,
    }
    verify(bench.engine.memory, bench.tables.tasks.values(), history=bench.tables.history)
    await bench.close()


async def test_replay_of_one_task_runs_it_and_what_is_behind_with_the_others_results() -> None:
    bench = await patient_bench()
    dag = await make_dag(bench, step("one"), step("two", "one"), step("side"), step("end", "two", "side"))
    await dag.start()
    await dag.complete("one", b"1")
    await dag.complete("side", b'"kept"')
    await dag.fail("two")
    assert dag.end() == "FAILED"
    again = await bench.engine.replay(TENANT, [dag.id("two")], None, Origin())
    assert again == [dag.id("two")]
    assert dag.states() == {"one": "COMPLETED", "side": "COMPLETED", "two": "ASSIGNED", "end": "PENDING"}
    await dag.complete("two", b"2")
    assert json.loads(dag.payload("end"))["parents"] == {"two": 2, "side": "kept"}
    await dag.complete("end")
    assert dag.end() == "COMPLETED"
    await bench.close()


async def crash(dag: Dag) -> Dag:
    """Another engine takes over; the worker comes back to it."""
    bench = dag.bench
    bench.ledger.crash()
    bench.engine._gate.set_closed()
    after = await patient_bench(bench.tables, bench.clock, seed=1)
    await after.settle()
    other = Dag(after, await after.listen(dag.worker.id), dag.definition)
    other.run_id = dag.run_id
    return other


async def test_take_over_goes_on_where_the_rows_stand() -> None:
    bench = await patient_bench()
    dag = await make_dag(
        bench,
        step("one"),
        step("slow"),
        step("wait", "one", conditions=(sleep(60), event("go", group="g"), sleep(600, group="g"))),
        step("join", "wait", "slow"),
    )
    await dag.start({"n": 1})
    await bench.report(EventKind.STARTED, dag.id("slow"), attempt=0)
    await dag.complete("one", b'{"v":1}')
    await push(bench, "go", {"p": 1})
    await bench.advance(20)
    dag = await crash(dag)
    bench = dag.bench
    assert dag.states() == {"one": "COMPLETED", "slow": "ASSIGNED"}
    await dag.complete("slow", b'"s"')
    await bench.advance(39)
    assert dag.started() == []
    await bench.advance(2)
    assert dag.started() == ["wait"]
    assert triggers(dag, "wait") == {"go": {"p": 1}, "sleep:60s": {"sleep_duration": "60s"}}
    assert json.loads(dag.payload("wait"))["parents"] == {"one": {"v": 1}}
    await dag.complete("wait", b"2")
    assert json.loads(dag.payload("join"))["parents"] == {"wait": 2, "slow": "s"}
    await dag.complete("join")
    assert dag.end() == "COMPLETED"
    verify(bench.engine.memory, bench.tables.tasks.values(), history=bench.tables.history)
    await bench.close()


async def test_take_over_looks_back_where_the_engine_before_it_did_not_get_to() -> None:
    bench = await patient_bench()
    dag = await make_dag(bench, step("one"), step("two", "one", conditions=(considers(bench),)))
    await tell(bench, 9)

    async def away(searches: Any) -> Any:
        raise Unavailable("away")

    bench.ledger.events.find_events = away  # type: ignore[method-assign]
    await dag.start()
    await dag.complete("one")
    dag = await crash(dag)
    await dag.bench.settle()
    assert dag.started() == ["two"]
    assert triggers(dag, "two") == {"paid": {"amount": 9}}
    await dag.complete("two")
    assert dag.end() == "COMPLETED"
    await dag.bench.close()


async def test_take_over_decides_what_a_crash_left_undecided() -> None:
    bench = await patient_bench()
    dag = await make_dag(bench, step("a"), step("b"), step("join", "a", "b"), step("end", "join"))
    await dag.start()
    bench.ledger.hold = True
    reports = [asyncio.ensure_future(dag.complete(name, b"1")) for name in ("a", "b")]
    await bench.settle()
    bench.ledger.release()
    await asyncio.sleep(0)
    # Both ends are committed, what follows from them is not.
    await asyncio.sleep(0)
    bench.ledger.crash()
    assert dag.states() == {"a": "COMPLETED", "b": "COMPLETED"}
    for report in reports:
        report.cancel()
    dag = await crash(dag)
    assert dag.states() == {"a": "COMPLETED", "b": "COMPLETED", "join": "ASSIGNED"}
    await dag.complete("join")
    await dag.complete("end")
    assert dag.end() == "COMPLETED"
    await dag.bench.close()


async def test_take_over_in_a_replay_goes_on_with_it() -> None:
    bench = await patient_bench()
    dag = await make_dag(bench, step("one"), step("two", "one"))
    run_id = await dag.start()
    await dag.complete("one")
    await dag.complete("two")
    await bench.engine.replay(TENANT, [run_id], None, Origin())
    await dag.complete("one", b"2")
    dag = await crash(dag)
    await dag.complete("two")
    assert dag.end() == "COMPLETED"
    assert bench.tables.tasks[dag.id("two")].status.attempt == 1
    await dag.bench.close()


async def test_refused_change_is_tried_again_from_the_rows() -> None:
    bench = await patient_bench()
    dag = await make_dag(bench, step("one"), step("two", "one", conditions=(event("go"),)))
    await dag.start()
    await dag.complete("one")
    refused: list[object] = []

    def refuse(item: object) -> BaseException | None:
        refused.append(item)
        return Unavailable("not now") if len(refused) == 1 else None

    bench.ledger.refuse = refuse
    with pytest.raises(Unavailable):
        await push(bench, "go")
    assert dag.started() == ["one"]
    await bench.advance(2)
    await push(bench, "go")
    assert dag.started() == ["one", "two"]
    await bench.close()


async def test_outputs_too_large_to_keep_are_read_again() -> None:
    bench = await patient_bench(kept_input=10)
    dag = await make_dag(bench, step("one"), step("two", "one"), step("three", "two"))
    run_id = await dag.start({"text": "x" * 100})
    large = json.dumps("y" * 200).encode()
    await dag.complete("one", large)
    assert json.loads(dag.payload("two")) == {
        "input": {"text": "x" * 100},
        "triggered_by": "manual",
        "parents": {"one": "y" * 200},
        "triggers": {},
        "user_data": None,
        "overrides": None,
        "step_run_errors": {},
    }
    subscription = bench.engine.subscribe_runs(TENANT, Origin())
    subscription.add(run_id)
    await dag.complete("two", large)
    await dag.complete("three", b"3")
    finished = await anext(aiter(subscription))
    assert [one.output for one in finished.results] == [large, large, b"3"]
    await bench.close()
