"""Every method of every service that SDKs know: it answers, or says what is missing."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import grpc
import grpc.aio
import pytest
from google.protobuf.descriptor import MethodDescriptor
from sdk_server import Served

from broadaxe.clock import SystemClock
from broadaxe.grpc_api.wire import dispatcher_pb2, events_pb2, workflows_pb2
from broadaxe.grpc_api.wire.v1 import dispatcher_pb2 as v1_dispatcher
from broadaxe.grpc_api.wire.v1 import workflows_pb2 as v1_workflows
from broadaxe.testkit.invariants import History
from tests.faults.wire import Client, RawWorker, Refused

Code = grpc.StatusCode
FILES = (dispatcher_pb2, events_pb2, workflows_pb2, v1_dispatcher, v1_workflows)
METHODS = [
    method
    for file in FILES
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]
ANSWERS = {Code.OK, Code.INVALID_ARGUMENT, Code.NOT_FOUND, Code.UNIMPLEMENTED}
"""What an empty request may be answered with."""
PUT_WORKFLOW = "/WorkflowService/PutWorkflow"
WAITS = "/Dispatcher/SubscribeToWorkflowRuns"
"""Says nothing of a run that nobody knows, for the sake of the others on the stream."""


def path_of(method: MethodDescriptor) -> str:
    return f"/{method.containing_service.full_name}/{method.name}"


async def answer(server: Served, method: MethodDescriptor, token: str | None) -> tuple[grpc.StatusCode, str]:
    """The status of a call with one empty request; a stream is left after its first message."""
    metadata = () if token is None else (("authorization", f"bearer {token}"),)

    async def requests() -> AsyncIterator[bytes]:
        if token is None:
            # grpcio takes it for a fault of its own when the refusal comes before its message left.
            await asyncio.Event().wait()
        yield b""

    async with grpc.aio.insecure_channel(server.client_env["HATCHET_CLIENT_HOST_PORT"]) as channel:
        path = path_of(method)
        # Only what is let in says nothing.
        patience = 0.5 if path == WAITS and token is not None else 20.0
        try:
            if method.server_streaming:
                kind = channel.stream_stream if method.client_streaming else channel.unary_stream
                given = requests() if method.client_streaming else b""
                async for _ in kind(path, None, None)(given, metadata=metadata, timeout=patience):
                    break
            elif method.client_streaming:
                await channel.stream_unary(path, None, None)(requests(), metadata=metadata, timeout=20)
            else:
                await channel.unary_unary(path, None, None)(b"", metadata=metadata, timeout=20)
        except grpc.aio.AioRpcError as error:
            return error.code(), error.details() or ""
    return Code.OK, ""


@pytest.mark.parametrize("method", METHODS, ids=path_of)
async def test_method_answers_an_empty_request(server: Served, method: MethodDescriptor) -> None:
    code, text = await answer(server, method, server.client_env["HATCHET_CLIENT_TOKEN"])
    if path_of(method) == WAITS:
        assert code is Code.DEADLINE_EXCEEDED
        return
    assert code in ANSWERS, (code, text)
    if code is Code.UNIMPLEMENTED:
        assert "not there yet" in text or "not available" in text, "it says what is missing"


@pytest.mark.parametrize("method", METHODS, ids=path_of)
async def test_method_wants_a_token(server: Served, method: MethodDescriptor) -> None:
    code, _ = await answer(server, method, None)
    assert code is Code.UNAUTHENTICATED


async def test_old_listen_serves_a_worker(server: Served) -> None:
    env = server.client_env
    async with Client(env["HATCHET_CLIENT_HOST_PORT"], env["HATCHET_CLIENT_TOKEN"], History()) as client:
        await client.put_workflow("old-listen")
        worker = await RawWorker.register(client, "old", "old-listen")
        request = dispatcher_pb2.WorkerListenRequest(worker_id=worker.id)
        actions = aiter(client.stream("/Dispatcher/Listen", request))
        run = await client.trigger("old-listen")
        action = dispatcher_pb2.AssignedAction.FromString(await anext(actions))
        assert (action.task_run_external_id, action.action_type) == (
            str(run),
            dispatcher_pb2.START_STEP_RUN,
        )


async def test_old_registration_and_planned_runs_tell_the_order_of_the_version(server: Served) -> None:
    env = server.client_env
    async with Client(env["HATCHET_CLIENT_HOST_PORT"], env["HATCHET_CLIENT_TOKEN"], History()) as client:

        async def put(timeout: str) -> workflows_pb2.WorkflowVersion:
            request = workflows_pb2.PutWorkflowRequest()
            request.opts.name = "old-order"
            steps = request.opts.jobs.add(name="job").steps
            steps.add(readable_id="step", action="old:step", timeout=timeout)
            reply = workflows_pb2.WorkflowVersion
            version: workflows_pb2.WorkflowVersion = await client.call(PUT_WORKFLOW, request, reply)
            return version

        versions = [await put("10s"), await put("10s"), await put("11s")]
        assert [version.order for version in versions] == [1, 1, 2]
        plan = workflows_pb2.ScheduleWorkflowRequest(name="old-order", input="{}")
        plan.schedules.add().FromDatetime(SystemClock().now() + timedelta(days=1))
        planned = await client.call("/WorkflowService/ScheduleWorkflow", plan, workflows_pb2.WorkflowVersion)
        assert (planned.id, planned.order) == (versions[2].id, 2)


async def test_durable_stream_registers_and_refuses_each_other_request_by_a_message(server: Served) -> None:
    env = server.client_env
    async with grpc.aio.insecure_channel(env["HATCHET_CLIENT_HOST_PORT"]) as channel:
        metadata = (("authorization", f"bearer {env['HATCHET_CLIENT_TOKEN']}"),)
        call = channel.stream_stream("/v1.V1Dispatcher/DurableTask", None, None)(metadata=metadata)

        async def ask(request: v1_dispatcher.DurableTaskRequest) -> v1_dispatcher.DurableTaskResponse:
            await call.write(request.SerializeToString())
            reply: v1_dispatcher.DurableTaskResponse = v1_dispatcher.DurableTaskResponse.FromString(
                await call.read()
            )
            return reply

        register = v1_dispatcher.DurableTaskRequest()
        register.register_worker.worker_id = "11111111-1111-4111-8111-111111111111"
        assert (await ask(register)).register_worker.worker_id == register.register_worker.worker_id
        memo = v1_dispatcher.DurableTaskRequest()
        memo.memo.durable_task_external_id = "22222222-2222-4222-8222-222222222222"
        memo.memo.invocation_count = 3
        error = (await ask(memo)).error
        assert "not there yet" in error.error_message
        assert error.ref.durable_task_external_id == memo.memo.durable_task_external_id
        assert (await ask(register)).register_worker.worker_id, "the stream goes on"
        await call.done_writing()


async def test_unknown_method_is_unimplemented(server: Served) -> None:
    env = server.client_env
    async with Client(env["HATCHET_CLIENT_HOST_PORT"], env["HATCHET_CLIENT_TOKEN"], History()) as client:
        with pytest.raises(Refused) as refused:
            await client.call("/Dispatcher/NoSuchMethod", b"", None)
    assert refused.value.code is Code.UNIMPLEMENTED
