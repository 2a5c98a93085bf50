"""The official Python SDK against the server: running workflows and getting their results."""

import asyncio
import json
from types import SimpleNamespace

import grpc
import pytest
from gates import Gates
from hatchet_sdk import EmptyModel, Hatchet, StepRunEventType
from hatchet_sdk.config import TenacityConfig
from hatchet_sdk.contracts.v1.shared.trigger_pb2 import TriggerWorkflowRequest
from hatchet_sdk.types.trigger import TriggerWorkflowOptions
from sdk_models import Big, Count, Gate, Point, Text
from sdk_server import Served, Worker
from sdk_workflows import flat

pytestmark = pytest.mark.usefixtures("worker")


async def test_aio_run_returns_output_with_the_context_of_the_task(flows: SimpleNamespace) -> None:
    result = await flows.echo.aio_run(
        EmptyModel(word="naïve 日本 💥", nested={"a": [1, 2.5, None, True]}),
        additional_metadata={"tenant": "acme", "number": 7},
    )
    assert result["input"] == {"word": "naïve 日本 💥", "nested": {"a": [1, 2.5, None, True]}}
    assert result["metadata"]["tenant"] == "acme"
    assert result["metadata"]["number"] == 7
    assert result["attempt"] == 1
    assert result["priority"] == 1
    assert result["run"] == result["task"]
    assert result["lifespan"] == {"from": "the lifespan"}


async def test_run_sync_in_a_thread_polls_the_result(flows: SimpleNamespace) -> None:
    result = await asyncio.to_thread(flows.echo_sync.run, Text(text="shout"))
    assert result == Text(text="SHOUT")


async def test_run_without_waiting_gives_a_reference_with_both_kinds_of_result(
    flows: SimpleNamespace,
) -> None:
    reference = await flows.echo_sync.aio_run(Text(text="later"), wait_for_result=False)
    assert await reference.aio_result() == Text(text="LATER")
    assert await asyncio.to_thread(reference.result) == Text(text="LATER")
    assert await reference.aio_result() == Text(text="LATER"), "a finished run is answered again"


async def test_run_many_keeps_the_order_of_its_items(flows: SimpleNamespace) -> None:
    items = [flows.counted.create_bulk_run_item(Count(count=number)) for number in range(20)]
    results = await flows.counted.aio_run_many(items)
    assert [result["count"] for result in results] == list(range(20))
    references = await asyncio.to_thread(flows.counted.run_many, items[:3], wait_for_result=False)
    assert [(await one.aio_result())["count"] for one in references] == [0, 1, 2]


async def test_bulk_of_thousand_and_more_all_complete(flows: SimpleNamespace) -> None:
    total = 1_100  # the SDK makes two calls of it: 1,000 and the rest
    items = [flows.counted.create_bulk_run_item(Count(count=number)) for number in range(total)]
    references = await flows.counted.aio_run_many(items, wait_for_result=False)
    assert len({one.workflow_run_id for one in references}) == total
    async with asyncio.timeout(90):
        results = await asyncio.gather(*(one.aio_result() for one in references))
    assert [result["count"] for result in results] == list(range(total))


async def test_dataclass_in_and_out_keeps_its_type(flows: SimpleNamespace) -> None:
    assert await flows.mirror.aio_run(Point(3, 1.5, "p")) == Point(-3, -1.5, "p")


async def test_task_that_returns_nothing_completes_with_an_empty_result(flows: SimpleNamespace) -> None:
    reference = await flows.nothing.aio_run(wait_for_result=False)
    assert await reference._wrr.aio_result() == {}


async def test_name_with_capitals_is_found_by_its_lower_case_action(flows: SimpleNamespace) -> None:
    result = await flows.mixed_case.aio_run()
    assert result == {"action": "mixedcase-task.v1:mixedcase-task.v1"}


async def test_payloads_near_four_mebibytes_pass_both_ways(flows: SimpleNamespace) -> None:
    size = 4 * 1024 * 1024 - 16 * 1024
    result = await flows.big.aio_run(Big(filler="x" * size))
    assert result["got"] == size
    result = await flows.big.aio_run(Big(answer=2 * 1024 * 1024))
    assert len(result["filler"].encode()) == 2 * 1024 * 1024


async def test_result_near_four_mebibytes_is_read_by_polling(flows: SimpleNamespace) -> None:
    size = 4 * 1024 * 1024 - 16 * 1024
    reference = await flows.big.aio_run(Big(answer=size), wait_for_result=False)
    result = await asyncio.to_thread(reference.result)
    assert len(result["filler"].encode()) == size


async def test_payload_over_the_limit_is_refused_by_the_server(server: Served) -> None:
    once = TenacityConfig(max_attempts=0)
    client = server.client(grpc_max_send_message_length=8 << 20, tenacity=once)
    with pytest.raises(grpc.RpcError) as refused:
        await flat(client).big.aio_run(Big(filler="x" * (4 << 20)))
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_default_and_given_metadata_reach_run_details(hatchet: Hatchet, flows: SimpleNamespace) -> None:
    reference = await flows.counted.aio_run(
        Count(count=4), wait_for_result=False, additional_metadata={"who": "me"}
    )
    await reference.aio_result()
    details = await hatchet.runs.aio_get_details(reference.workflow_run_id)
    assert details.done
    assert details.status == "COMPLETED"
    assert details.input == {"count": 4}
    assert details.additional_metadata is not None
    assert details.additional_metadata["who"] == "me"
    task = details.task_runs["counted"]
    assert (task.output, task.error, task.status) == ({"count": 4}, None, "COMPLETED")
    assert task.external_id == reference.workflow_run_id


async def test_json_with_null_character_is_refused_at_once(flows: SimpleNamespace) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        await asyncio.to_thread(flows.echo_sync.run, Text(text="a\x00b"), wait_for_result=False)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "input" in refused.value.details()


@pytest.mark.parametrize("priority", [0, 4])
async def test_priority_out_of_range_is_refused_naming_it(hatchet: Hatchet, priority: int) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        await hatchet._client.admin.aio_run_workflow("echo", "{}", TriggerWorkflowOptions(priority=priority))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "priority" in refused.value.details()


async def test_unknown_workflow_is_not_found_naming_it_at_once(hatchet: Hatchet) -> None:
    stub = hatchet.stubs.task(name="no-such-workflow")
    loop = asyncio.get_running_loop()
    begun = loop.time()
    with pytest.raises(grpc.RpcError) as refused:
        await stub.aio_run()
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    assert "no-such-workflow" in refused.value.details()
    assert loop.time() - begun < 20.0


async def test_unknown_workflow_in_a_bulk_refuses_all(hatchet: Hatchet, flows: SimpleNamespace) -> None:
    stub = hatchet.stubs.task(name="no-such-workflow")
    items = [flows.counted.create_bulk_run_item(Count()), stub.create_bulk_run_item()]
    with pytest.raises(grpc.RpcError) as refused:
        await flows.counted.aio_run_many(items, wait_for_result=False)
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    assert "no-such-workflow" in refused.value.details()


async def test_details_of_an_unknown_run_are_not_found(server: Served) -> None:
    client = server.client(tenacity=TenacityConfig(max_attempts=0))
    with pytest.raises(grpc.RpcError) as missing:
        await client.runs.aio_get_details("11111111-1111-7111-8111-111111111111")
    assert missing.value.code() is grpc.StatusCode.NOT_FOUND
    with pytest.raises(grpc.RpcError) as malformed:
        await client.runs.aio_get_details("not-an-id")
    assert malformed.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_stream_chunks_arrive_in_order_and_the_stream_ends(
    flows: SimpleNamespace, gates: Gates, gate: str, hatchet: Hatchet
) -> None:
    reference = await flows.streams.aio_run(Gate(gate=gate), wait_for_result=False)
    chunks: list[str] = []
    async with asyncio.timeout(30):
        async for chunk in hatchet.runs.subscribe_to_stream(reference.workflow_run_id):
            if chunk != ".":
                chunks.append(chunk)
            elif gate not in gates.opened:
                await gates.open(gate)
    assert chunks == [f"{number}·" for number in range(50)]


async def test_stream_of_a_finished_run_ends_at_once(flows: SimpleNamespace, hatchet: Hatchet) -> None:
    reference = await flows.counted.aio_run(Count(), wait_for_result=False)
    await reference.aio_result()
    async with asyncio.timeout(30):
        assert [chunk async for chunk in hatchet.runs.subscribe_to_stream(reference.workflow_run_id)] == []


async def test_events_by_metadata_follow_every_matching_run_until_the_last_ends(
    flows: SimpleNamespace, gates: Gates, gate: str, hatchet: Hatchet
) -> None:
    mark = {"followed": gate}
    first, second = [
        await flows.streams.aio_run(Gate(gate=gate), wait_for_result=False, additional_metadata=mark)
        for _ in range(2)
    ]
    await gates.wait(gate, 2)
    kinds: list[StepRunEventType] = []
    async with asyncio.timeout(30):
        async for event in hatchet.listener.stream_by_additional_metadata("followed", gate):
            kinds.append(event.type)
            if gate not in gates.opened:
                await gates.open(gate)
    assert kinds.count(StepRunEventType.STEP_RUN_EVENT_TYPE_COMPLETED) == 4, "two tasks and their runs"
    assert kinds.count(StepRunEventType.STEP_RUN_EVENT_TYPE_STREAM) >= 100
    assert await first.aio_result() == await second.aio_result() == {"chunks": 50}


async def test_logs_are_taken(flows: SimpleNamespace) -> None:
    result = await flows.logs.aio_run()
    assert result["task"]


async def test_engine_version_opens_the_newest_features(hatchet: Hatchet) -> None:
    assert await hatchet.aio_get_engine_version() == "v0.111.0"


async def test_worker_that_carries_a_durable_task_runs_the_rest_and_triggering_it_is_unimplemented(
    flows: SimpleNamespace, worker: Worker
) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        await flows.sleeps_long.aio_run()
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert "durable" in refused.value.details()
    assert (await flows.counted.aio_run(Count(count=1)))["count"] == 1
    assert worker.process.running


async def test_wrong_token_is_unauthenticated(server: Served) -> None:
    header, payload, signature = server.token.split(".")
    forged = ".".join((header, payload, signature[::-1]))
    client = server.client(token=forged)
    with pytest.raises(grpc.RpcError) as refused:
        await client.stubs.task(name="echo").aio_run()
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_metadata_that_is_no_object_is_refused(hatchet: Hatchet) -> None:
    stub = hatchet._client.admin._get_or_create_v0_client()
    for field in ("input", "additional_metadata"):
        with pytest.raises(grpc.RpcError) as refused:
            await asyncio.to_thread(
                stub.TriggerWorkflow,
                TriggerWorkflowRequest(name="echo", **{"input": "{}", field: json.dumps([1])}),
                metadata=(("authorization", f"bearer {hatchet.config.token}"),),
            )
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert field in refused.value.details()
