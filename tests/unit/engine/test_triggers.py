"""What comes in: checked at once, planned once, never twice for one child key."""

import asyncio
import json
from typing import Any
from uuid import UUID

import pytest

from broadaxe.domain.errors import InvalidArgument, NotFound, ResourceExhausted, Unimplemented
from broadaxe.domain.task import TaskState
from broadaxe.domain.workflow import Concurrency
from broadaxe.engine.api import EventKind, Origin, Trigger
from broadaxe.engine.dispatch.payload import with_traceparent
from broadaxe.expr.compiled import Cel

from .harness import OTHER, TENANT, Bench, make_bench


async def test_trigger_of_an_unknown_workflow_is_not_found_and_names_it() -> None:
    bench = await make_bench()
    with pytest.raises(NotFound, match="workflow not found: nothing"):
        await bench.trigger(workflow="nothing")
    await bench.register()
    with pytest.raises(NotFound):
        await bench.engine.trigger(OTHER, Trigger("flow", b"{}"), Origin())
    await bench.close()


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"input": b"[]"}, "input"),
        ({"input": b"{"}, "input"),
        ({"input": b'{"a":"\\u0000"}'}, "input"),
        ({"metadata": b"1"}, "additional_metadata"),
        ({"priority": 4}, "priority"),
        ({"priority": 0}, "priority"),
        ({"input": b'{"a":"' + b"x" * 200 + b'"}'}, "input"),
    ],
)
async def test_trigger_that_is_wrong_is_refused_naming_the_field(fields: dict[str, Any], named: str) -> None:
    bench = await make_bench(payload_limit=100)
    await bench.register()
    request = Trigger(**{"workflow": "flow", "input": b"{}", **fields})
    with pytest.raises(InvalidArgument, match=named):
        await bench.engine.trigger(TENANT, request, Origin())
    assert bench.tables.tasks == {}
    await bench.close()


async def test_trigger_of_a_workflow_that_needs_more_is_unimplemented_and_says_what() -> None:
    bench = await make_bench()
    await bench.register(concurrency=(Concurrency("input.key"),))
    with pytest.raises(Unimplemented, match="concurrency"):
        await bench.trigger()
    await bench.close()


async def test_trigger_into_a_full_queue_is_refused() -> None:
    bench = await make_bench(queue_limit=2)
    await bench.register()
    await bench.trigger()
    await bench.trigger()
    with pytest.raises(ResourceExhausted):
        await bench.trigger()
    await bench.close()


async def test_trigger_is_answered_after_its_commit_and_sent_only_then() -> None:
    bench = await make_bench()
    await bench.register()
    worker = await bench.worker()
    bench.ledger.hold = True
    call = asyncio.ensure_future(bench.engine.trigger(TENANT, Trigger("flow", b"{}"), Origin()))
    await bench.settle()
    assert not call.done()
    assert worker.actions == []
    bench.ledger.release()
    await bench.settle()
    assert call.done()
    assert len(worker.starts) == 1
    await bench.close()


async def test_bulk_gives_ids_in_order_in_one_commit() -> None:
    bench = await make_bench()
    await bench.register()
    worker = await bench.worker(slots=2)
    commits = bench.ledger.commits
    triggers = [Trigger("flow", json.dumps({"n": n}).encode()) for n in range(5)]
    ids = await bench.engine.trigger_many(TENANT, triggers, Origin())
    assert bench.ledger.commits == commits + 1
    assert [json.loads(bench.row(one).facts.input)["n"] for one in ids] == list(range(5))
    await bench.settle()
    assert [action.task_id for action in worker.starts] == ids[:2]
    assert [bench.state(one) for one in ids[2:]] == [TaskState.QUEUED] * 3
    await bench.close()


async def test_bulk_with_one_wrong_item_starts_none_and_names_its_index() -> None:
    bench = await make_bench(bulk_limit=3)
    await bench.register()
    good, bad = Trigger("flow", b"{}"), Trigger("flow", b"[]")
    with pytest.raises(InvalidArgument, match="item 1: input"):
        await bench.engine.trigger_many(TENANT, [good, bad], Origin())
    with pytest.raises(NotFound, match="item 1"):
        await bench.engine.trigger_many(TENANT, [good, Trigger("gone", b"{}")], Origin())
    with pytest.raises(InvalidArgument, match="at most 3"):
        await bench.engine.trigger_many(TENANT, [good] * 4, Origin())
    assert bench.tables.tasks == {}
    await bench.close()


async def child(bench: Bench, parent: UUID, **fields: Any) -> UUID:
    return await bench.trigger(workflow="child", parent_task_id=parent, parent_run_id=parent, **fields)


async def with_child(**options: Any) -> Bench:
    bench = await make_bench(**options)
    await bench.register(step={"retries": 1})
    await bench.register(name="child", step={"action": "child:step"})
    return bench


async def test_child_spawned_again_with_the_same_index_is_the_same_run_also_after_the_parents_retry() -> None:
    bench = await with_child()
    await bench.worker(actions=("flow:step", "child:step"))
    parent = await bench.trigger()
    first = await child(bench, parent, child_index=0)
    second = await child(bench, parent, child_index=1)
    assert first != second
    await bench.report(EventKind.FAILED, parent, b"no", attempt=0)
    assert await child(bench, parent, child_index=0) == first
    assert await child(bench, parent, child_index=1) == second
    await bench.report(EventKind.COMPLETED, first, b"1", attempt=0)
    assert await child(bench, parent, child_index=0) == first
    assert len(bench.tables.tasks) == 3
    await bench.close()


async def test_child_that_exists_gives_its_slot_back() -> None:
    bench = await with_child()
    worker = await bench.worker(slots=2, actions=("flow:step", "child:step"))
    parent = await bench.trigger()
    one = await child(bench, parent, child_key="k")
    await bench.report(EventKind.COMPLETED, one, b"1", attempt=0)
    assert await child(bench, parent, child_key="k", child_index=7) == one
    assert bench.engine.memory.workers[worker.id].used == {"default": 1}
    await bench.close()


async def test_child_with_equal_keys_in_one_bulk_is_one_run() -> None:
    bench = await with_child()
    parent = await bench.trigger()
    one = Trigger("child", b"{}", parent_task_id=parent, child_key="same")
    ids = await bench.engine.trigger_many(TENANT, [one, one], Origin())
    assert ids[0] == ids[1]
    await bench.settle()
    assert len(bench.engine.memory.tasks) == 2
    worker = await bench.worker(actions=("child:step",))
    assert [action.task_id for action in worker.starts] == [ids[0]]
    await bench.close()


async def test_child_key_never_collides_with_an_index() -> None:
    bench = await with_child()
    parent = await bench.trigger()
    assert await child(bench, parent, child_index=1) != await child(bench, parent, child_key="1")
    await bench.close()


async def test_child_inherits_metadata_and_gets_the_engines_keys() -> None:
    bench = await with_child()
    parent = await bench.trigger(metadata=b'{"a":"1","b":"1","hatchet__x":"1"}')
    run = await child(bench, parent, child_index=0, metadata=b'{"b":"2"}')
    found = json.loads(bench.row(run).facts.metadata)
    assert found.pop("traceparent").startswith("00-")
    assert found == {
        "a": "1",
        "b": "2",
        "hatchet__parent_workflow_run_id": str(parent),
        "hatchet__parent_step_run_id": str(parent),
    }
    await bench.close()


async def test_child_of_an_unknown_parent_is_refused() -> None:
    bench = await with_child()
    with pytest.raises(InvalidArgument, match="parent"):
        await child(bench, UUID(int=6), child_index=0)
    await bench.close()


async def test_metadata_of_the_caller_is_kept_byte_for_byte_in_front_of_the_engines() -> None:
    bench = await make_bench()
    await bench.register()
    own = b'{ "a" : 1.50 }'
    run = await bench.trigger(metadata=own)
    assert bench.row(run).facts.metadata.startswith(own[:-1])
    traced = b'{"traceparent": "00-%s-%s-01" }' % (b"a" * 32, b"b" * 16)
    run = await bench.trigger(metadata=traced)
    assert bench.row(run).facts.metadata == traced
    await bench.close()


@pytest.mark.parametrize(
    "metadata",
    [
        b'{"a":1,"traceparent":"00-x"}',
        b'{"traceparent" : "00-x","b":{"traceparent":"inner"}}',
        b'{"a":1}',
        b"{}",
    ],
)
def test_traceparent_for_a_worker_changes_only_its_own_key(metadata: bytes) -> None:
    before = json.loads(metadata)
    after = json.loads(with_traceparent(metadata, "00-new"))
    assert after == {**before, "traceparent": "00-new"}


async def test_registration_reports_every_problem_with_its_field() -> None:
    bench = await make_bench()
    with pytest.raises(InvalidArgument) as caught:
        await bench.register(name="bad name", default_priority=9)
    assert "name" in caught.value.message
    assert "priority" in caught.value.message
    await bench.close()


async def test_registration_of_the_same_definition_keeps_the_version() -> None:
    bench = await make_bench()
    await bench.register()
    await bench.register()
    assert len(bench.tables.versions) == 1
    await bench.register(step={"retries": 3})
    assert len(bench.tables.versions) == 2
    run = await bench.trigger()
    assert bench.row(run).facts.version_id == bench.tables.newest[(TENANT, "flow")].version_id
    await bench.close()


def test_expressions_that_do_not_compile_are_told_apart() -> None:
    expressions = Cel()
    assert expressions.compile_problem("concurrency", "input.key + checksum(input.name)") is None
    assert expressions.compile_problem("concurrency", "1 +") is not None
    assert expressions.compile_problem("concurrency", "nothing.x") is not None
