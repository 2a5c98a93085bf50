"""The official Python SDK against the server: events, filters, idempotency keys."""

import json
import uuid
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from hatchet_sdk import (
    BulkTriggerIdempotencyCollisionError,
    Hatchet,
    IdempotencyCollisionError,
    Priority,
)
from hatchet_sdk.clients.events import BulkPushEventWithMetadata
from hatchet_sdk.config import TenacityConfig
from sdk_models import Text
from sdk_server import Served

from broadaxe.testkit.conditions import until

pytestmark = pytest.mark.usefixtures("worker")


async def outputs_of(hatchet: Hatchet, event_id: str, count: int) -> list[Any]:
    """The outputs of the runs an event started, once there are so many and all are over."""

    async def over() -> list[Any] | None:
        rows = (await hatchet.runs.aio_list(triggering_event_external_id=event_id)).rows
        done = [row for row in rows if row.status.value == "COMPLETED"]
        return [row.output for row in done] if len(done) == count == len(rows) else None

    return await until(over, f"{count} runs of event {event_id} are over", 30, period=0.1)


async def test_an_event_starts_what_asks_for_it(hatchet: Hatchet) -> None:
    tag = uuid.uuid4().hex
    event = await hatchet.event.aio_push(
        f"wire:{tag}:made", {"word": "naïve 💥"}, additional_metadata={"tag": tag}, priority=Priority.HIGH
    )
    (output,) = await outputs_of(hatchet, event.event_id, 1)
    assert output["input"] == {"word": "naïve 💥"}
    assert output["filter_payload"] == {}
    assert output["priority"] == 3
    assert output["metadata"]["tag"] == tag
    assert output["metadata"]["hatchet__event_id"] == event.event_id
    assert output["metadata"]["hatchet__event_key"] == event.key == f"wire:{tag}:made"
    listed = await hatchet.event.aio_list(additional_metadata={"tag": tag}, limit=10)
    (row,) = listed.rows or []
    assert (row.metadata.id, row.workflow_run_summary.succeeded) == (event.event_id, 1)
    assert len(row.triggered_runs or []) == 1
    assert json.loads(event.payload) == {"word": "naïve 💥"}
    assert json.loads(event.additional_metadata or "") == {"tag": tag}


async def test_filters_decide_and_give_their_payload(hatchet: Hatchet, flows: SimpleNamespace) -> None:
    scope = uuid.uuid4().hex
    made = [
        await hatchet.filters.aio_create(flows.on_filtered.id, expression, scope, payload)
        for expression, payload in (
            ("input.n > payload.least", {"least": 3}),
            ("additional_metadata.who == 'me'", {"other": True}),
            ("input.no_such_key == 1", {}),
        )
    ]
    try:
        low = await hatchet.event.aio_push("wire-filtered", {"n": 1}, scope=scope)
        high = await hatchet.event.aio_push(
            "wire-filtered", {"n": 5}, scope=scope, additional_metadata={"who": "me"}
        )
        bare = await hatchet.event.aio_push("wire-filtered", {"n": 5})
        found = await outputs_of(hatchet, high.event_id, 2)
        payloads = sorted((one["filter_payload"] for one in found), key=str)
        assert payloads == [{"least": 3}, {"other": True}]
        for event in (low, bare):
            rows = (await hatchet.event.aio_list(event_ids=[event.event_id])).rows or []
            assert [row.triggered_runs for row in rows] == [[]]
    finally:
        for one in made:
            await hatchet.filters.aio_delete(one.metadata.id)


async def test_a_bulk_keeps_its_order(hatchet: Hatchet) -> None:
    events = [BulkPushEventWithMetadata(key=f"bulk-{n}", payload={"n": n}) for n in range(1_000)]
    pushed = await hatchet.event.aio_bulk_push(events)
    assert [event.key for event in pushed] == [f"bulk-{n}" for n in range(1_000)]
    assert len({event.event_id for event in pushed}) == 1_000


async def test_a_wrong_event_of_a_bulk_is_refused_alone(server: Served, hatchet: Hatchet) -> None:
    tag = uuid.uuid4().hex
    client = server.client(tenacity=TenacityConfig(max_attempts=1))
    events = [
        BulkPushEventWithMetadata(key="bulk", payload={"n": 1}, additional_metadata={"tag": tag}),
        BulkPushEventWithMetadata(key="", payload={}),
        BulkPushEventWithMetadata(key="bulk", payload={"n": 2}, additional_metadata={"tag": tag}),
    ]
    with pytest.raises(grpc.RpcError) as told:
        await client.event.aio_bulk_push(events)
    assert told.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert told.value.details() == "events[1].key: must not be empty (2 other events were stored)"
    rows = (await hatchet.event.aio_list(additional_metadata={"tag": tag})).rows or []
    assert sorted(row.payload["n"] for row in rows) == [1, 2]


async def test_a_held_key_is_the_sdks_own_error(flows: SimpleNamespace) -> None:
    key = uuid.uuid4().hex
    first = await flows.once.aio_run(Text(text=key), wait_for_result=False)
    with pytest.raises(IdempotencyCollisionError) as told:
        await flows.once.aio_run(Text(text=key), wait_for_result=False)
    assert told.value.existing_run_external_id == first.workflow_run_id
    items = [flows.once.create_bulk_run_item(Text(text=text)) for text in (key, key + "2", key + "2")]
    with pytest.raises(BulkTriggerIdempotencyCollisionError) as many:
        await flows.once.aio_run_many(items, wait_for_result=False)
    assert len(many.value.successful_workflow_run_external_ids) == 1
    existing = [one.existing_run_external_id for one in many.value.collisions]
    assert existing == [first.workflow_run_id, many.value.successful_workflow_run_external_ids[0]]


async def test_by_status_a_key_is_free_after_the_last_retry(flows: SimpleNamespace, hatchet: Hatchet) -> None:
    key = uuid.uuid4().hex
    first = await flows.once_at_a_time.aio_run(Text(text=key), wait_for_result=False)
    with pytest.raises(IdempotencyCollisionError):
        await flows.once_at_a_time.aio_run(Text(text=key), wait_for_result=False)
    assert (await first.aio_result())["attempt"] == 2
    second = await flows.once_at_a_time.aio_run(Text(text=key), wait_for_result=False)
    assert second.workflow_run_id != first.workflow_run_id
    await second.aio_result()


async def test_an_event_whose_key_is_held_starts_nothing(hatchet: Hatchet) -> None:
    key = uuid.uuid4().hex
    events = [await hatchet.event.aio_push("wire-once", {"text": key}) for _ in range(2)]
    assert await outputs_of(hatchet, events[0].event_id, 1) == [{"text": key}]
    rows = (await hatchet.event.aio_list(event_ids=[event.event_id for event in events])).rows or []
    assert sorted(len(row.triggered_runs or []) for row in rows) == [0, 1]
