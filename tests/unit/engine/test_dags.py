"""Runs of several steps: parents, outputs, skips and cancels, on-failure, the run's end."""

import asyncio
import json
from dataclasses import replace

import pytest

from broadaxe.domain.errors import InvalidArgument
from broadaxe.domain.task import TaskState
from broadaxe.domain.workflow import StepDefinition
from broadaxe.engine.api import EventKind, Origin, WorkerEvent
from broadaxe.testkit.verify import verify

from .dags import event, make_dag, on_parent, sleep, step
from .harness import TENANT, make_bench


async def test_chain_takes_a_commit_for_each_step_and_hands_outputs_on_byte_for_byte() -> None:
    bench = await make_bench()
    dag = await make_dag(bench, step("one"), step("two", "one"), step("three", "one", "two"))
    commits = bench.ledger.commits
    run_id = await dag.start({"n": 1})
    assert dag.started() == ["one"]
    await dag.complete("one", b'{ "x" : 1.50 }')
    assert dag.started() == ["one", "two"]
    await dag.complete("two", b'"\\u00e9"')
    assert dag.payload("three") == (
        b'{"input":{"n": 1},"triggered_by":"manual","parents":{"one":{ "x" : 1.50 },"two":"\\u00e9"},'
        b'"triggers":{},"user_data":null,"overrides":null,"step_run_errors":{}}'
    )
    subscription = bench.engine.subscribe_runs(TENANT, Origin())
    subscription.add(run_id)
    await dag.complete("three", b"")
    assert bench.ledger.commits == commits + 4, "its creation, then one for each end with what follows"
    assert dag.end() == "COMPLETED"
    finished = await anext(aiter(subscription))
    assert [(one.step_name, one.output) for one in finished.results] == [
        ("one", b'{ "x" : 1.50 }'),
        ("two", b'"\\u00e9"'),
        ("three", None),
    ]
    assert not bench.engine.memory.runs
    assert not bench.engine.memory.tasks
    verify(bench.engine.memory, bench.tables.tasks.values(), history=bench.tables.history)
    await bench.close()


async def test_parents_that_end_in_one_commit_do_not_miss_their_child() -> None:
    bench = await make_bench()
    dag = await make_dag(bench, step("a"), step("b"), step("join", "a", "b"))
    await dag.start()
    bench.ledger.hold = True
    # Both reports wait for one commit, so neither sees the other's end.
    reports = [asyncio.ensure_future(dag.complete(name, b'{"v":1}')) for name in ("a", "b")]
    await bench.settle()
    bench.ledger.release()
    await asyncio.gather(*reports)
    assert dag.started() == ["a", "b", "join"]
    await dag.complete("join")
    assert dag.end() == "COMPLETED"
    await bench.close()


async def test_failure_cancels_what_is_behind_and_runs_the_on_failure_step_once_with_all_errors() -> None:
    bench = await make_bench()
    dag = await make_dag(
        bench,
        step("bad"),
        step("worse"),
        step("good"),
        step("after", "bad"),
        step("later", "after", "good"),
        on_failure=step("handle"),
    )
    await dag.start()
    await dag.fail("bad", b"no \xff")
    assert dag.states()["after"] == "CANCELLED"
    assert dag.states()["later"] == "CANCELLED"
    assert "handle" not in dag.states()
    await dag.complete("good")
    await dag.fail("worse", b'say "no"')
    assert dag.started() == ["bad", "worse", "good", "handle"]
    sent = json.loads(dag.payload("handle"))
    assert sent["step_run_errors"] == {"bad": "no \ufffd", "worse": 'say "no"'}
    assert dag.end() is None
    await dag.complete("handle")
    assert dag.end() == "FAILED"
    await bench.close()


async def test_on_failure_step_is_skipped_when_nothing_failed() -> None:
    bench = await make_bench()
    dag = await make_dag(bench, step("one"), on_failure=step("handle"))
    await dag.start()
    commits = bench.ledger.commits
    await dag.complete("one")
    assert dag.states() == {"one": "COMPLETED", "handle": "SKIPPED"}
    assert dag.end() == "COMPLETED"
    assert bench.ledger.commits == commits + 1
    await bench.close()


async def test_conditions_on_parents_skip_cancel_and_let_go() -> None:
    bench = await make_bench()
    dag = await make_dag(
        bench,
        step("start"),
        step("left", "start", conditions=(on_parent("start", 3, "output.n > 50"),)),
        step("right", "start", conditions=(on_parent("start", 3, "output.n <= 50"),)),
        step("stop", "start", conditions=(on_parent("start", 2, "output.n > 1"),)),
        step("unmet", "start", conditions=(on_parent("start", 1, "output.missing > 1"),)),
        step("joined", "left", "right"),
        step("gone", "right"),
    )
    await dag.start()
    await dag.complete("start", b'{"n":7}')
    assert dag.states() == {
        "start": "COMPLETED",
        "left": "ASSIGNED",
        "right": "SKIPPED",
        "stop": "CANCELLED",
        "unmet": "CANCELLED",
        "gone": "SKIPPED",
    }
    await dag.complete("left", b"{}")
    assert json.loads(dag.payload("joined"))["parents"] == {"left": {}, "right": {"skipped": True}}
    await dag.complete("joined")
    assert dag.end() == "CANCELLED"
    notes = [note.message for note in bench.tables.notes[dag.id("unmet")]]
    assert notes == ["Its conditions cannot be met any more"]
    await bench.close()


async def test_retries_happen_before_the_children_are_decided() -> None:
    bench = await make_bench()
    dag = await make_dag(bench, step("one", retries=1), step("two", "one"))
    await dag.start()
    await bench.report(EventKind.FAILED, dag.id("one"), b"once", attempt=0)
    assert dag.started() == ["one", "one"]
    assert dag.states() == {"one": "ASSIGNED"}
    await dag.complete("one")
    assert dag.started() == ["one", "one", "two"]
    await bench.close()


async def test_details_show_the_run_by_step_name_and_its_input() -> None:
    bench = await make_bench()
    dag = await make_dag(bench, step("one"), step("two", "one"))
    run_id = await dag.start({"a": 1})
    details = await bench.engine.run_details(TENANT, run_id)
    assert (details.state, details.done, details.input) == (TaskState.ASSIGNED, False, b'{"a": 1}')
    assert [task.step_name for task in details.tasks] == ["one"]
    await dag.complete("one", b"1")
    await dag.complete("two", b"2")
    details = await bench.engine.run_details(TENANT, run_id)
    assert (details.state, details.done) == (TaskState.COMPLETED, True)
    assert [(task.step_name, task.output) for task in details.tasks] == [("one", b"1"), ("two", b"2")]
    await bench.close()


async def test_more_steps_or_waits_than_allowed_are_refused_and_leave_nothing() -> None:
    bench = await make_bench(workflow_steps=3, workflow_waits=2)
    many = [step(f"s{at}") for at in range(4)]
    with pytest.raises(InvalidArgument, match="tasks: 4 entries, at most 3 are allowed"):
        await make_dag(bench, *many)
    waiting = step("one", conditions=(sleep(1), sleep(2), event("go")))
    with pytest.raises(InvalidArgument, match="3 sleeps and user events in conditions, at most 2"):
        await make_dag(bench, waiting)
    assert not bench.tables.versions
    await bench.close()


@pytest.mark.parametrize(
    ("steps", "text"),
    [
        ((step("a", "b"), step("b", "a")), "form a cycle"),
        ((step("a", "a"),), "form a cycle"),
        ((step("a", conditions=(on_parent("b", 1),)), step("b", "a")), "form a cycle"),
        ((step("a", "gone"),), 'tasks[0].parents: there is no task "gone"'),
        ((step("a", conditions=(on_parent("gone", 1),)),), 'conditions: there is no task "gone"'),
        ((step("a", conditions=(replace(sleep(1), kind="moon"),)),), 'unknown kind "moon"'),
        ((step("a", conditions=(sleep(1, action=9),)),), "action: 9 is unknown"),
        ((step("a", conditions=(event("k", expression="input.("),)),), "expression"),
    ],
)
async def test_wrong_graphs_are_refused_naming_the_field(
    steps: tuple[StepDefinition, ...], text: str
) -> None:
    bench = await make_bench()
    with pytest.raises(InvalidArgument) as refused:
        await make_dag(bench, *steps)
    assert text in refused.value.message
    await bench.close()


async def test_wide_run_takes_no_more_commits_for_a_task_than_a_chain() -> None:
    """A thousand steps, two hundred wide: each end one commit at most, shared with all that end meanwhile."""
    bench = await make_bench()
    steps = [step(f"s{at}", *((f"s{at - 200}",) if at >= 200 else ())) for at in range(1_000)]
    dag = await make_dag(bench, *steps, slots=1_000)
    await dag.start()
    commits = bench.ledger.commits
    for layer in range(5):
        names = [f"s{at}" for at in range(layer * 200, layer * 200 + 200)]
        ends = [
            bench.engine.worker_event(
                TENANT, WorkerEvent(EventKind.COMPLETED, dag.id(name), 0, b"1"), Origin()
            )
            for name in names
        ]
        await asyncio.gather(*ends)
        await bench.settle()
    assert dag.end() == "COMPLETED"
    assert bench.ledger.commits - commits <= 3 * 5
    await bench.close()


async def test_sticky_steps_stay_with_the_worker_of_their_parents() -> None:
    bench = await make_bench()
    dag = await make_dag(bench, step("one"), step("two", "one"), step("three", "two"), sticky=1)
    other = await bench.worker(100, actions=("flow:one", "flow:two", "flow:three"), name="other")
    await dag.start()
    first = dag.worker if dag.worker.starts else other
    await dag.complete("one")
    await dag.complete("two")
    await dag.complete("three")
    assert [action.step_name for action in first.starts] == ["one", "two", "three"]
    await bench.close()


async def test_events_of_a_watched_run_end_with_the_run() -> None:
    bench = await make_bench()
    dag = await make_dag(bench, step("one"), step("two", "one"))
    run_id = await dag.start()
    watch = await bench.engine.watch_run(TENANT, run_id)
    await dag.complete("one")
    await dag.complete("two", b"2")
    seen = [(event.kind.value, event.step_name, event.hangup) async for event in watch]
    assert seen == [
        ("completed", "one", False),
        ("started", "two", False),
        ("completed", "two", False),
        ("run_completed", "", True),
    ]
    await bench.close()


async def test_child_run_of_several_steps_is_deduplicated_by_its_key() -> None:
    bench = await make_bench()
    dag = await make_dag(bench, step("one"), step("two", "one"))
    await dag.start()
    parent = dag.id("one")
    first = await bench.trigger(parent_task_id=parent, child_index=0)
    assert await bench.trigger(parent_task_id=parent, child_index=0) == first
    assert await bench.trigger(parent_task_id=parent, child_index=1) != first
    action = next(action for action in dag.worker.starts if action.run_id == first)
    assert (action.parent_task_id, action.child_index) == (parent, 0)
    await bench.close()
