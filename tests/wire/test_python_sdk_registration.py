"""Registration of everything the Python SDK can say, and what triggering what is not there yet answers."""

import asyncio
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from hatchet_sdk import Hatchet
from hatchet_sdk.contracts.v1 import workflows_pb2 as pb
from sdk_features import UNSUPPORTED, graphs, mixed, runnable


@pytest.fixture(scope="module")
async def registered(hatchet: Hatchet) -> dict[str, Any]:
    """Every workflow of the features, put once."""
    flows = [flow for make in (runnable, graphs, *UNSUPPORTED) for flow in make(hatchet)]
    for flow in flows:
        await hatchet._client.admin.aio_put_workflow(flow.to_proto())
    return {flow.name: flow for flow in flows}


def names_of(make: Any) -> Iterator[str]:
    """The workflows' names, without a server."""
    from hatchet_sdk import ClientConfig
    from sdk_server import offline_token

    client = Hatchet(config=ClientConfig(token=offline_token()))
    yield from (flow.name for flow in make(client))


@pytest.mark.parametrize("name", [name for make in UNSUPPORTED for name in names_of(make)])
async def test_trigger_of_what_is_not_there_yet_is_unimplemented_at_once(
    registered: dict[str, Any], name: str
) -> None:
    loop = asyncio.get_running_loop()
    begun = loop.time()
    with pytest.raises(grpc.RpcError) as refused:
        await registered[name].aio_run(wait_for_result=False)
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert name in refused.value.details()
    assert "not there yet" in refused.value.details()
    assert loop.time() - begun < 20.0


@pytest.mark.parametrize("name", [*names_of(runnable), *names_of(graphs)])
async def test_trigger_by_name_works_whatever_else_would_trigger_it(
    hatchet: Hatchet, registered: dict[str, Any], name: str
) -> None:
    reference = await registered[name].aio_run(wait_for_result=False)
    details = await hatchet.runs.aio_get_details(reference.workflow_run_id)
    assert details.status == "QUEUED"
    await hatchet.runs.aio_cancel(reference.workflow_run_id)


async def test_same_definition_again_is_the_same_version_and_a_changed_one_is_new(
    hatchet: Hatchet, registered: dict[str, Any]
) -> None:
    put = hatchet._client.admin.aio_put_workflow
    for name in ("f-crons", "f-batch", "f-rate-dynamic"):
        request = registered[name].to_proto()
        first, second = await put(request), await put(request)
        assert (first.id, first.workflow_id) == (second.id, second.workflow_id)
        request.description = "changed"
        changed = await put(request)
        assert changed.workflow_id == first.workflow_id
        assert changed.id != first.id


async def test_definition_is_read_back_over_rest(hatchet: Hatchet, registered: dict[str, Any]) -> None:
    listed = await hatchet.workflows.aio_list(workflow_name="f-dag")
    (row,) = listed.rows or []
    assert row.name == "f-dag"
    found = await hatchet.workflows.aio_get(row.metadata.id)
    assert found.name == "f-dag"
    version = await hatchet.workflows.aio_get_version(row.metadata.id)
    assert version.workflow_id == row.metadata.id


def _without(request: pb.CreateWorkflowVersionRequest, **changes: Any) -> pb.CreateWorkflowVersionRequest:
    copy = pb.CreateWorkflowVersionRequest()
    copy.CopyFrom(request)
    for field, value in changes.items():
        setattr(copy, field, value)
    return copy


def _wrong(request: pb.CreateWorkflowVersionRequest) -> Iterator[tuple[str, pb.CreateWorkflowVersionRequest]]:
    """Definitions with one thing wrong, and the field that the answer must name."""
    yield "name", _without(request, name="spaces are wrong")
    for field, value in (
        ("retries", -1),
        ("timeout", "soon"),
        ("backoff_factor", 0.5),
        ("readable_id", "a b"),
    ):
        copy = _without(request)
        setattr(copy.tasks[0], field, value)
        yield field, copy
    copy = _without(request)
    copy.tasks[1].parents[0] = "nobody"
    yield "nobody", copy
    copy = _without(request)
    copy.cron_triggers.append("not a cron")
    yield "cron", copy
    copy = _without(request, default_priority=9)
    yield "priority", copy
    copy = _without(request)
    copy.tasks[0].concurrency.append(pb.Concurrency(expression="input.", max_runs=1))
    yield "concurrency", copy
    copy = _without(request)
    copy.tasks[0].slot_requests["default"] = 0
    yield "slot", copy
    copy = _without(request)
    copy.tasks[0].parents.append("last")
    yield "cycle", copy
    copy = _without(request)
    del copy.tasks[:]
    yield "task", copy


async def test_wrong_definitions_are_refused_naming_the_field(hatchet: Hatchet) -> None:
    (dag, *_) = mixed(hatchet)
    for field, request in _wrong(dag.to_proto()):
        with pytest.raises(grpc.RpcError) as refused:
            await hatchet._client.admin.aio_put_workflow(request)
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT, field
        assert field in refused.value.details().lower(), (field, refused.value.details())


async def test_features_that_come_later_answer_unimplemented(hatchet: Hatchet) -> None:
    with pytest.raises(grpc.RpcError) as limit:
        await hatchet.rate_limits.aio_put("api", 10)
    assert limit.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert "not there yet" in limit.value.details()
