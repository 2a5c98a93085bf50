"""What no client should send gets a typed answer, and its neighbours in the same commit notice nothing."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest

from broadaxe.grpc_api.wire import dispatcher_pb2 as dp
from broadaxe.grpc_api.wire.v1 import workflows_pb2 as v1
from broadaxe.testkit.invariants import History, verify
from tests.faults.cluster import Cluster
from tests.faults.wire import COMPLETED, FAILED, Client, Code, Got, RawWorker, Refused, until_state

FLOW = "poison"
LIMIT = 4 * 1024 * 1024
DEEP = b'{"a":' + b"[" * 10_000 + b"]" * 10_000 + b"}"
TRIGGER = "/v1.AdminService/TriggerWorkflowRun"
REPORT = "/Dispatcher/SendStepActionEvent"
NEIGHBOURS = 20
HISTORY = History()
"""Of all tests here, since they share a database."""
ENDED = "SELECT count(*) FROM task WHERE state >= 10 AND id = ANY($1::uuid[])"


@pytest.fixture
def cluster(shared_cluster: Cluster) -> Cluster:
    return shared_cluster


@pytest.fixture
async def client(cluster: Cluster) -> AsyncIterator[Client]:
    async with Client(cluster.address, cluster.token, HISTORY) as made:
        await made.put_workflow(FLOW)
        yield made
    # Whatever was sent: the engine is there, and every run of this test can still be ended.
    async with Client(cluster.address, cluster.token, made.history) as last:
        await last.cancel(*made.history.triggered)
        runs = list(made.history.triggered)
        assert await cluster.value(ENDED, runs) == len(runs)


def trigger_of(input: bytes, metadata: bytes = b"") -> Any:
    return v1.TriggerWorkflowRunRequest(workflow_name=FLOW, input=input, additional_metadata=metadata)


async def outcome(call: Any) -> tuple[Code, str]:
    """How a call is answered."""
    try:
        reply = await call
    except Refused as refused:
        return refused.code, refused.text
    return Code.OK, getattr(reply, "external_id", "")


async def among_neighbours(client: Client, call: Any) -> tuple[Code, str]:
    """Make a call together with harmless triggers; those all succeed."""
    answers = await asyncio.gather(
        *(client.trigger(FLOW, number=number) for number in range(NEIGHBOURS)), outcome(call)
    )
    found: tuple[Code, str] = answers[-1]
    if found[0] is Code.OK:
        client.history.triggered.add(UUID(found[1]))
    return found


BAD_INPUTS = {
    "a NUL byte": b'{"a": "\x00"}',
    "a list": b"[1]",
    "a number": b"1",
    "cut off": b'{"a": ',
    "invalid UTF-8": b'{"a": "\xff\xfe"}',
    "NaN": b'{"a": NaN}',
    "two objects": b"{}{}",
}


@pytest.mark.parametrize("name", BAD_INPUTS)
async def test_trigger_with_bad_input_is_invalid_argument(client: Client, name: str) -> None:
    code, text = await among_neighbours(client, client.call(TRIGGER, trigger_of(BAD_INPUTS[name]), None))
    assert code is Code.INVALID_ARGUMENT, text
    assert "input" in text


ODD_INPUTS = {
    "an escaped NUL": b'{"a": "\\u0000"}',
    "a lone surrogate": b'{"a": "\\ud800"}',
    "a huge number": b'{"a": 1' + b"0" * 5_000 + b"}",
    "a name twice": b'{"a": 1, "a": 2}',
    "a million names": b"{" + b",".join(b'"%d":1' % n for n in range(100_000)) + b"}",
}


@pytest.mark.parametrize("name", ODD_INPUTS)
async def test_trigger_with_odd_but_valid_input_keeps_it_byte_for_byte_or_refuses_it(
    cluster: Cluster, client: Client, name: str
) -> None:
    request = trigger_of(ODD_INPUTS[name])
    code, text = await among_neighbours(client, client.call(TRIGGER, request, v1.TriggerWorkflowRunResponse))
    assert code in (Code.OK, Code.INVALID_ARGUMENT), text
    if code is Code.OK:
        stored = await cluster.value("SELECT input FROM task WHERE id = $1", UUID(text))
        assert stored == ODD_INPUTS[name]


async def test_trigger_with_json_nested_ten_thousand_deep_is_a_typed_answer(client: Client) -> None:
    code, _ = await among_neighbours(
        client, client.call(TRIGGER, trigger_of(DEEP), v1.TriggerWorkflowRunResponse)
    )
    assert code in (Code.OK, Code.INVALID_ARGUMENT)
    await client.trigger(FLOW)


async def test_trigger_larger_than_a_message_is_resource_exhausted(client: Client) -> None:
    whole = b'{"a":"' + b"x" * (LIMIT + 1 - 8) + b'"}'
    assert len(whole) == LIMIT + 1
    code, text = await among_neighbours(client, client.call(TRIGGER, trigger_of(whole), None))
    assert code in (Code.RESOURCE_EXHAUSTED, Code.INVALID_ARGUMENT), text


@pytest.mark.parametrize(
    "metadata", [b"[]", b"\xff", b'{"a": "\x00"}', b"{" + b'"k":"' + b"v" * 70_000 + b'"}']
)
async def test_trigger_with_bad_metadata_is_invalid_argument(client: Client, metadata: bytes) -> None:
    code, text = await among_neighbours(client, client.call(TRIGGER, trigger_of(b"{}", metadata), None))
    assert code is Code.INVALID_ARGUMENT, text


async def test_trigger_with_unknown_fields_runs(client: Client) -> None:
    known = trigger_of(b"{}").SerializeToString()
    unknown = b"\xfa\x7f\x03abc" + b"\xf8\x7f\x2a"  # fields 2047, one of bytes and one number
    code, _ = await among_neighbours(
        client, client.call(TRIGGER, known + unknown, v1.TriggerWorkflowRunResponse)
    )
    assert code is Code.OK


async def test_request_that_is_no_message_is_invalid_argument(client: Client) -> None:
    for garbage in (b"\xff" * 50, b"\x0a\xff\xff\xff\xff\x0f", b"\x0a\x03\xff\xff\xff"):
        code, _ = await outcome(client.call(TRIGGER, garbage, v1.TriggerWorkflowRunResponse))
        assert code is Code.INVALID_ARGUMENT
    await client.trigger(FLOW)


RESULTS = {
    "a NUL byte": ('{"a": "\x00"}', 3),
    "an escaped NUL": ('{"a": "\\u0000"}', 3),
    "a lone surrogate": ('{"a": "\\ud800"}', 2),
    "no JSON": ("no json", 3),
    "too deep": (DEEP.decode(), None),
    "just fits": (json.dumps({"a": "x" * (LIMIT - 2_000)}), 2),
}


@pytest.mark.parametrize("name", RESULTS)
async def test_result_that_is_odd_ends_its_task_and_no_other(
    cluster: Cluster, client: Client, name: str
) -> None:
    payload, wanted = RESULTS[name]
    worker = await RawWorker.register(client, "one", FLOW, slots=100)

    async def report(got: Got) -> None:
        await worker.report(got, COMPLETED, payload if got.input.get("odd") else "{}")

    worker.auto = report
    async with worker:
        odd = await client.trigger(FLOW, odd=True)
        others = await asyncio.gather(*(client.trigger(FLOW) for _ in range(NEIGHBOURS)))
        await cluster.until_value(ENDED, NEIGHBOURS + 1, 20.0, [odd, *others])
        await verify(cluster.dsn, client.history)
        details = await until_state(client, others[0], v1.COMPLETED)
        assert details.done
    completed = "SELECT count(*) FROM task WHERE state = 10 AND id = ANY($1::uuid[])"
    assert await cluster.value(completed, others) == NEIGHBOURS
    state = await cluster.value("SELECT state FROM task WHERE id = $1", odd)
    assert state == (10 if wanted == 2 else 11) or wanted is None


async def test_error_text_with_nul_and_broken_utf8_is_ends_the_task(cluster: Cluster, client: Client) -> None:
    worker = await RawWorker.register(client, "one", FLOW)
    async with worker:
        run_id = await client.trigger(FLOW)
        got = await worker.start_of(run_id)
        await worker.report(got, FAILED, "boom \x00 \u2028 \U0001f4a5")
        other = await client.trigger(FLOW)
        broken = await worker.start_of(other)
        request = dp.StepActionEvent(
            worker_id=worker.id, task_run_external_id=str(other), event_type=FAILED, retry_count=0,
            event_payload="PLACE",
        ).SerializeToString()  # fmt: skip
        code, _ = await outcome(client.call(REPORT, request.replace(b"PLACE", b"\xff\xfe\x80!!"), None))
        assert code is Code.INVALID_ARGUMENT
        await worker.report(broken, FAILED, "plain")
    failed = "SELECT count(*) FROM task WHERE state = 11 AND id = ANY($1::uuid[])"
    assert await cluster.value(failed, [run_id, other]) == 2
    details = await client.details(run_id)
    error = next(iter(details.task_runs.values())).error
    assert error
    assert "\x00" not in error


async def test_odd_ids_are_invalid_argument(client: Client) -> None:
    for bad in ("", "no-uuid", "\x00", "0" * 4_000):
        request = v1.GetRunDetailsRequest(external_id=bad)
        code, _ = await outcome(client.call("/v1.AdminService/GetRunDetails", request, None))
        assert code is Code.INVALID_ARGUMENT
        event = dp.StepActionEvent(task_run_external_id=bad, event_type=COMPLETED)
        code, _ = await outcome(client.call(REPORT, event, None))
        assert code is Code.INVALID_ARGUMENT


async def test_worker_with_odd_names_and_labels_is_refused_or_kept(cluster: Cluster, client: Client) -> None:
    for name in ("", "a\x00b", "x" * 5_000, "emoji \U0001f4a5"):
        request = dp.WorkerRegisterRequest(worker_name=name, actions=[f"{FLOW}:step"])
        code, text = await outcome(client.call("/Dispatcher/Register", request, dp.WorkerRegisterResponse))
        assert code is (Code.OK if "emoji" in name else Code.INVALID_ARGUMENT), text
    for label in ("a\x00b", "x" * 100_000):
        request = dp.WorkerRegisterRequest(worker_name="ok", actions=[f"{FLOW}:step"])
        request.labels[label].str_value = label
        wanted = Code.INVALID_ARGUMENT if "\x00" in label else Code.OK
        code, text = await outcome(client.call("/Dispatcher/Register", request, dp.WorkerRegisterResponse))
        assert code is wanted, text
        request = dp.WorkerRegisterRequest(worker_name="ok", actions=[label])
        code, text = await outcome(client.call("/Dispatcher/Register", request, dp.WorkerRegisterResponse))
        assert code is wanted, text
    run_id = await client.trigger(FLOW)
    worker = await RawWorker.register(client, "fine", FLOW)
    async with worker:
        await worker.complete(await worker.start_of(run_id))
    assert await cluster.value("SELECT state FROM task WHERE id = $1", run_id) == 10


async def test_workflow_with_odd_names_is_refused_naming_the_field(client: Client) -> None:
    for name in ("", "a\x00b", "x" * 10_000):
        task = v1.CreateTaskOpts(readable_id="step", action=f"{name}:step", inputs="{}", timeout="5s")
        request = v1.CreateWorkflowVersionRequest(name=name, tasks=[task])
        code, text = await outcome(
            client.call("/v1.AdminService/PutWorkflow", request, v1.CreateWorkflowVersionResponse)
        )
        assert code is Code.INVALID_ARGUMENT, (name[:10], text)
