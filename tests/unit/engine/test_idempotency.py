"""Idempotency keys: who holds them, for how long, and what the others are told."""

import json
from typing import Any
from uuid import UUID

import pytest

from broadaxe.domain.errors import AlreadyExists, InvalidArgument
from broadaxe.domain.idempotency import BulkCollision, Collision
from broadaxe.domain.workflow import Idempotency
from broadaxe.engine.api import EventKind, Origin, Trigger

from .harness import OTHER, TENANT, Bench, make_bench

TTL = Idempotency("input.id", 60_000)
STATUS = Idempotency("input.id", 600_000, 1)


async def refused(bench: Bench, **input: Any) -> UUID:
    """The run that holds the key of a trigger."""
    with pytest.raises(AlreadyExists) as told:
        await bench.trigger(input)
    assert told.value.message == "idempotency key collision"
    assert isinstance(told.value.detail, Collision)
    return told.value.detail.existing


async def test_a_key_is_held_for_its_time_whatever_becomes_of_the_run() -> None:
    bench = await make_bench()
    await bench.register(idempotency=TTL)
    worker = await bench.worker()
    first = await bench.trigger({"id": "a"})
    await bench.report(EventKind.COMPLETED, worker.starts[0].task_id, b"{}", 0)
    assert await refused(bench, id="a") == first
    assert await bench.trigger({"id": "b"}) != first
    await bench.advance(59)
    assert await refused(bench, id="a") == first
    await bench.advance(1.5)
    second = await bench.trigger({"id": "a"})
    assert second != first
    assert await refused(bench, id="a") == second
    await bench.close()


async def test_a_key_belongs_to_the_tenant_not_to_the_workflow() -> None:
    bench = await make_bench()
    await bench.register(idempotency=TTL)
    await bench.register(name="other", idempotency=TTL)
    first = await bench.trigger({"id": "a"})
    with pytest.raises(AlreadyExists) as told:
        await bench.trigger({"id": "a"}, workflow="other")
    assert told.value.detail == Collision(first)
    for version in list(bench.tables.newest.values()):
        await bench.engine.put_workflow(OTHER, version.definition, Origin())
    await bench.engine.trigger(OTHER, Trigger("flow", b'{"id":"a"}'), Origin())
    await bench.close()


@pytest.mark.parametrize("end", ["completed", "failed", "cancelled"])
async def test_by_status_a_key_is_free_when_the_run_is_over(end: str) -> None:
    bench = await make_bench()
    await bench.register(idempotency=STATUS, step={"retries": 1})
    worker = await bench.worker()
    first = await bench.trigger({"id": "a"})
    await bench.report(EventKind.FAILED, worker.starts[0].task_id, b"no", 0)
    assert await refused(bench, id="a") == first
    task_id = worker.starts[1].task_id
    if end == "completed":
        await bench.report(EventKind.COMPLETED, task_id, b"{}", 1)
    elif end == "failed":
        await bench.report(EventKind.FAILED, task_id, b"no", 1)
    else:
        await bench.engine.cancel(TENANT, [first], None, Origin())
    await bench.settle()
    assert not bench.tables.keys
    assert await bench.trigger({"id": "a"}) != first
    await bench.close()


async def test_by_status_the_time_is_an_upper_bound() -> None:
    bench = await make_bench()
    await bench.register(idempotency=Idempotency("input.id", 5_000, 1), step={"schedule_timeout": 3_600.0})
    first = await bench.trigger({"id": "a"})
    await bench.advance(6)
    second = await bench.trigger({"id": "a"})
    # The end of the run that lost its key does not free the other's.
    await bench.engine.cancel(TENANT, [first], None, Origin())
    assert await refused(bench, id="a") == second
    await bench.close()


async def test_a_status_key_survives_a_crash() -> None:
    bench = await make_bench()
    await bench.register(idempotency=STATUS)
    first = await bench.trigger({"id": "a"})
    bench.ledger.crash()
    after = await make_bench(bench.tables, bench.clock, seed=1)
    assert await refused(after, id="a") == first
    worker = await after.worker()
    await after.report(EventKind.COMPLETED, worker.starts[0].task_id, b"{}", 0)
    assert await after.trigger({"id": "a"}) != first
    await after.close()


async def test_of_a_bulk_those_without_a_collision_start() -> None:
    bench = await make_bench()
    await bench.register(idempotency=TTL)
    held = await bench.trigger({"id": "a"})
    inputs = [{"id": "a"}, {"id": "b"}, {"id": "c"}, {"id": "b"}]
    triggers = [Trigger("flow", json.dumps(one).encode()) for one in inputs]
    with pytest.raises(AlreadyExists) as told:
        await bench.engine.trigger_many(TENANT, triggers, Origin())
    assert told.value.message == "idempotency key collision"
    detail = told.value.detail
    assert isinstance(detail, BulkCollision)
    assert len(detail.started) == 2
    assert {json.loads(bench.row(run).facts.input)["id"] for run in detail.started} == {"b", "c"}
    by_id = {json.loads(bench.row(run).facts.input)["id"]: run for run in detail.started}
    assert [one.existing for one in detail.collisions] == [held, by_id["b"]]
    await bench.close()


@pytest.mark.parametrize(
    ("expression", "input", "words"),
    [
        ("input.id", {}, 'idempotency.expression: Key not found in map : "id"'),
        ("input.id", {"id": 1}, "idempotency.expression: must yield a text, not a number"),
        ("input.id", {"id": ""}, "idempotency.expression: the key must not be empty"),
        ("input.id", {"id": "k" * 1_025}, "idempotency.expression: the key is longer than 1024 bytes"),
        ("input.id", {"id": "hatchet_internal_x"}, "keys that begin with hatchet_internal_ are reserved"),
    ],
)
async def test_a_key_that_cannot_be_made_refuses_the_trigger(
    expression: str, input: dict[str, Any], words: str
) -> None:
    bench = await make_bench()
    await bench.register(idempotency=Idempotency(expression, 1_000))
    with pytest.raises(InvalidArgument, match=words):
        await bench.trigger(input)
    with pytest.raises(InvalidArgument, match=r"item 0: idempotency\.expression: "):
        await bench.engine.trigger_many(TENANT, [Trigger("flow", json.dumps(input).encode())], Origin())
    assert not bench.tables.tasks
    await bench.close()


async def test_expired_keys_are_taken_away() -> None:
    bench = await make_bench()
    await bench.register(idempotency=Idempotency("input.id", 1_000))
    await bench.trigger({"id": "a"})
    assert await bench.ledger.events.expire_keys() == 0
    await bench.advance(2)
    assert await bench.ledger.events.expire_keys() == 1
    assert not bench.tables.keys
    await bench.close()
