"""Failures, retries, time-outs, cancellation and replay, seen by the official Python SDK."""

import asyncio
import itertools
import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from gates import Arrival, Gates
from hatchet_sdk import EmptyModel, Hatchet, RunStatus
from hatchet_sdk.clients.rest.models.v1_task_event_type import V1TaskEventType
from hatchet_sdk.clients.rest.models.v1_task_status import V1TaskStatus
from hatchet_sdk.exceptions import FailedTaskRunExceptionGroup, TaskRunError
from hatchet_sdk.features.runs import BulkCancelReplayOpts, RunFilter
from sdk_models import FAILURE, RETRY_AFTER, Failures, Gate
from sdk_server import Worker, has_status

from broadaxe.testkit.conditions import until

pytestmark = pytest.mark.usefixtures("worker")


async def events_of(hatchet: Hatchet, run_id: str, *wanted: V1TaskEventType) -> Counter[V1TaskEventType]:
    """The kinds of the run's task events, once those that are wanted are all there."""

    async def read() -> Counter[V1TaskEventType] | None:
        run = await hatchet.runs.aio_get(run_id)
        found = Counter(event.event_type for event in run.task_events)
        return found if not Counter(wanted) - found else None

    return await until(read, f"events {wanted} of {run_id}", period=0.1)


@pytest.mark.parametrize("name", ["flaky", "flaky_sync"])
async def test_task_that_fails_twice_succeeds_at_the_third_attempt(
    flows: SimpleNamespace, hatchet: Hatchet, name: str
) -> None:
    flow = getattr(flows, name)
    reference = await flow.aio_run(Failures(failures=2), wait_for_result=False)
    result = await reference.aio_result()
    assert result["attempt"] == 3
    kinds = await events_of(hatchet, reference.workflow_run_id, V1TaskEventType.FINISHED)
    assert kinds[V1TaskEventType.RETRYING] == 2
    assert kinds[V1TaskEventType.STARTED] == 3
    assert kinds[V1TaskEventType.FINISHED] == 1
    run = await hatchet.runs.aio_get(reference.workflow_run_id)
    assert run.run.status == V1TaskStatus.COMPLETED
    assert [(task.attempt, task.retry_count) for task in run.tasks] == [(3, 2)]


async def test_non_retryable_failure_is_final_at_the_first_attempt(
    flows: SimpleNamespace, hatchet: Hatchet
) -> None:
    reference = await flows.never_retry.aio_run(wait_for_result=False)
    with pytest.raises(FailedTaskRunExceptionGroup):
        await reference.aio_result()
    kinds = await events_of(hatchet, reference.workflow_run_id, V1TaskEventType.FAILED)
    assert kinds[V1TaskEventType.RETRYING] == 0
    assert kinds[V1TaskEventType.FAILED] == 1


async def test_error_text_comes_back_byte_for_byte(
    flows: SimpleNamespace, hatchet: Hatchet, worker: Worker
) -> None:
    reference = await flows.always_fails.aio_run(wait_for_result=False)
    run_id = reference.workflow_run_id
    with pytest.raises(FailedTaskRunExceptionGroup) as streamed:
        await reference.aio_result()
    with pytest.raises(FailedTaskRunExceptionGroup) as polled:
        await asyncio.to_thread(reference.result)
    error = (await hatchet.runs.aio_get_details(run_id)).task_runs["always_fails"].error
    assert error is not None
    metadata = {"__hatchet_error_metadata__": {"task_run_external_id": run_id}}
    text = error.removesuffix("\n\n" + json.dumps(metadata))
    assert text != error
    escaped = FAILURE.replace("\n", "\\\n")  # as the SDK writes it
    assert text.startswith(f"ValueError: {escaped}\nTraceback (most recent call last):\n")
    said = f"failed step run: always_fails:always_fails/{run_id}\n{text.rstrip()}\n"
    assert said in worker.process.output("out") + "\n", "what the worker logs is what it sent"
    for failed in (streamed.value, polled.value):
        assert failed.message == f"Workflow run {run_id} failed."
        (only,) = failed.exceptions
        expected = TaskRunError.deserialize(error)
        assert (only.exc, only.exc_type, only.trace) == (expected.exc, expected.exc_type, expected.trace)
        assert only.task_run_external_id == run_id
    assert (await hatchet.runs.aio_get(run_id)).tasks[0].error_message == error


async def test_error_with_null_character_fails_the_run_with_a_readable_text(flows: SimpleNamespace) -> None:
    with pytest.raises(FailedTaskRunExceptionGroup) as failed:
        await flows.fails_with_nul.aio_run()
    assert "\x00" not in str(failed.value)


@pytest.mark.parametrize(
    ("name", "text"), [("returns_nul", "null character"), ("returns_text", "a dictionary")]
)
async def test_output_that_is_not_allowed_fails_the_run(flows: SimpleNamespace, name: str, text: str) -> None:
    with pytest.raises(FailedTaskRunExceptionGroup, match=text):
        await getattr(flows, name).aio_run()


def gaps(arrivals: list[Arrival]) -> list[float]:
    """Seconds between the begins of attempts, by the worker: news of one may come late to this process."""
    begins = [one.note["began"] for one in arrivals]
    return [later - earlier for earlier, later in itertools.pairwise(begins)]


async def test_back_off_waits_the_factor_to_the_power_of_the_retry(
    flows: SimpleNamespace, gates: Gates
) -> None:
    reference = await flows.backs_off.aio_run(wait_for_result=False)
    assert (await reference.aio_result())["attempt"] == 3
    mine = [one for one in gates.at("seen:backs_off") if one.run == reference.workflow_run_id]
    assert [one.retry for one in mine] == [0, 1, 2]
    first, second = gaps(mine)
    # How much more is up to the machine; the exact rule is a unit test's.
    assert first >= 1.2
    assert second >= 1.44


async def test_retry_after_replaces_the_back_off(flows: SimpleNamespace, gates: Gates) -> None:
    reference = await flows.asks_later.aio_run(wait_for_result=False)
    assert (await reference.aio_result())["attempt"] == 2
    mine = [one for one in gates.at("seen:asks_later") if one.run == reference.workflow_run_id]
    (gap,) = gaps(mine)
    assert gap >= RETRY_AFTER


async def test_execution_time_out_cancels_the_attempt_and_retries(
    flows: SimpleNamespace, hatchet: Hatchet, gates: Gates
) -> None:
    reference = await flows.times_out.aio_run(wait_for_result=False)
    run_id = reference.workflow_run_id
    assert (await reference.aio_result())["attempt"] == 2
    (cancelled,) = await gates.wait("seen:timed_out", where=lambda one: one.run == run_id)
    assert (cancelled.retry, cancelled.note["cancelled"]) == (0, True)
    kinds = await events_of(hatchet, run_id, V1TaskEventType.TIMED_OUT, V1TaskEventType.FINISHED)
    assert kinds[V1TaskEventType.TIMED_OUT] == 1


async def test_refreshed_time_out_lets_the_task_live_longer(
    flows: SimpleNamespace, gates: Gates, hatchet: Hatchet
) -> None:
    reference = await flows.refreshes.aio_run(wait_for_result=False)
    run_id = reference.workflow_run_id
    await gates.wait("refreshed", where=lambda one: one.run == run_id)
    # Another task times out in full after this one refreshed: then the old deadline has passed as well.
    assert (await flows.times_out.aio_run())["attempt"] == 2
    await gates.open("refreshed")
    assert await reference.aio_result() == {"state": "alive"}
    kinds = await events_of(hatchet, run_id, V1TaskEventType.FINISHED)
    assert kinds[V1TaskEventType.TIMEOUT_REFRESHED] == 1
    assert kinds[V1TaskEventType.TIMED_OUT] == 0


async def test_schedule_time_out_ends_a_run_that_no_worker_takes(
    flows: SimpleNamespace, hatchet: Hatchet
) -> None:
    await hatchet._client.admin.aio_put_workflow(flows.unserved.to_proto())
    reference = await flows.unserved.aio_run(wait_for_result=False)
    run_id = reference.workflow_run_id
    kinds = await events_of(hatchet, run_id, V1TaskEventType.SCHEDULING_TIMED_OUT)
    assert kinds[V1TaskEventType.STARTED] == 0
    async with asyncio.timeout(30):
        assert await reference._wrr.aio_result() == {}, "a cancelled task has an empty error"


@pytest.mark.parametrize("name", ["waits", "waits_sync"])
async def test_cancel_of_a_running_task_reaches_the_worker(
    flows: SimpleNamespace, hatchet: Hatchet, gates: Gates, gate: str, name: str
) -> None:
    reference = await getattr(flows, name).aio_run(Gate(gate=gate), wait_for_result=False)
    run_id = reference.workflow_run_id
    await gates.wait(gate)
    running = await has_status(hatchet, run_id, RunStatus.RUNNING)
    assert not running.done
    assert running.task_runs[name].status == V1TaskStatus.RUNNING
    await hatchet.runs.aio_cancel(run_id)
    details = await has_status(hatchet, run_id, RunStatus.CANCELLED)
    assert details.done
    assert details.task_runs[name].status == V1TaskStatus.CANCELLED
    if name == "waits":
        (seen,) = await gates.wait("seen:cancelled", where=lambda one: one.run == run_id)
        assert seen.note["cancelled"]
    await gates.open(gate)
    assert await reference._wrr.aio_result() == {}
    with pytest.raises(ValueError, match="was cancelled"):
        await asyncio.to_thread(reference.result)
    kinds = await events_of(hatchet, run_id, V1TaskEventType.CANCELLED)
    assert kinds[V1TaskEventType.FINISHED] == 0
    assert await hatchet.runs.aio_get_status(run_id) == V1TaskStatus.CANCELLED


async def test_task_that_cancels_itself_ends_cancelled(
    flows: SimpleNamespace, hatchet: Hatchet, gates: Gates, gate: str
) -> None:
    reference = await flows.cancels_itself.aio_run(Gate(gate=gate), wait_for_result=False)
    await has_status(hatchet, reference.workflow_run_id, RunStatus.CANCELLED)
    await gates.open(gate)
    assert await reference._wrr.aio_result() == {}


async def test_cancel_of_a_queued_run_never_starts_it(flows: SimpleNamespace, hatchet: Hatchet) -> None:
    await hatchet._client.admin.aio_put_workflow(flows.nobodys.to_proto())
    reference = await flows.nobodys.aio_run(wait_for_result=False)
    assert (await hatchet.runs.aio_get_details(reference.workflow_run_id)).status == RunStatus.QUEUED
    await hatchet.runs.aio_cancel(reference.workflow_run_id)
    await has_status(hatchet, reference.workflow_run_id, RunStatus.CANCELLED)
    kinds = await events_of(hatchet, reference.workflow_run_id, V1TaskEventType.CANCELLED)
    assert kinds[V1TaskEventType.ASSIGNED] == 0


async def test_cancel_by_filter_takes_only_what_matches(flows: SimpleNamespace, hatchet: Hatchet) -> None:
    await hatchet._client.admin.aio_put_workflow(flows.nobodys.to_proto())
    since = datetime.now(UTC) - timedelta(seconds=5)
    marks = [{"batch": "cancel-me"}, {"batch": "cancel-me"}, {"batch": "not-me"}]
    references = [
        await flows.nobodys.aio_run(wait_for_result=False, additional_metadata=mark) for mark in marks
    ]
    opts = BulkCancelReplayOpts(filters=RunFilter(since=since, additional_metadata={"batch": "cancel-me"}))
    await hatchet.runs.aio_bulk_cancel(opts)
    for reference in references[:2]:
        await has_status(hatchet, reference.workflow_run_id, RunStatus.CANCELLED)
    assert (await hatchet.runs.aio_get_details(references[2].workflow_run_id)).status == RunStatus.QUEUED
    await hatchet.runs.aio_cancel(references[2].workflow_run_id)


async def test_replay_of_a_failed_run_keeps_its_id_input_and_metadata(
    flows: SimpleNamespace, hatchet: Hatchet
) -> None:
    reference = await flows.flaky.aio_run(
        Failures(failures=4), wait_for_result=False, additional_metadata={"mark": "kept"}
    )
    run_id = reference.workflow_run_id
    with pytest.raises(FailedTaskRunExceptionGroup):
        await reference.aio_result()
    await hatchet.runs.aio_replay(run_id)
    details = await has_status(hatchet, run_id, RunStatus.COMPLETED)
    assert details.input == {"failures": 4}
    assert details.additional_metadata["mark"] == "kept"
    assert details.task_runs["flaky"].output["attempt"] == 5
    assert await reference.aio_result() == {"attempt": 5, "max_attempts": 4}
    kinds = await events_of(hatchet, run_id, V1TaskEventType.RETRIED_BY_USER, V1TaskEventType.FINISHED)
    assert kinds[V1TaskEventType.RETRIED_BY_USER] == 1


async def test_replay_of_a_completed_run_completes_again(flows: SimpleNamespace, hatchet: Hatchet) -> None:
    reference = await flows.echo.aio_run(EmptyModel(word="again"), wait_for_result=False)
    first = await reference.aio_result()
    await hatchet.runs.aio_replay(reference.workflow_run_id)

    async def again() -> dict[str, Any] | None:
        details = await hatchet.runs.aio_get_details(reference.workflow_run_id)
        output = details.task_runs["echo"].output
        return output if details.done and output and output["attempt"] == 2 else None

    second = await until(again, "the second attempt is over", period=0.05)
    assert second["input"] == first["input"] == {"word": "again"}


async def test_replay_by_ids_and_by_filter(flows: SimpleNamespace, hatchet: Hatchet) -> None:
    since = datetime.now(UTC) - timedelta(seconds=5)
    mark = {"replay": "these"}
    items = [
        flows.flaky.create_bulk_run_item(Failures(failures=failures), additional_metadata=mark)
        for failures in (4, 4, 8)
    ]
    references = await flows.flaky.aio_run_many(items, wait_for_result=False)
    outcomes = await asyncio.gather(*(one.aio_result() for one in references), return_exceptions=True)
    assert all(isinstance(one, FailedTaskRunExceptionGroup) for one in outcomes)
    first, second, third = (one.workflow_run_id for one in references)
    await hatchet.runs.aio_bulk_replay(BulkCancelReplayOpts(ids=[first]))
    await has_status(hatchet, first, RunStatus.COMPLETED)
    assert (await hatchet.runs.aio_get_details(second)).status == RunStatus.FAILED
    filters = RunFilter(since=since, statuses=[V1TaskStatus.FAILED], additional_metadata=mark)
    await hatchet.runs.aio_bulk_replay(BulkCancelReplayOpts(filters=filters))
    await has_status(hatchet, second, RunStatus.COMPLETED)
    await events_of(hatchet, third, V1TaskEventType.RETRIED_BY_USER)
    await has_status(hatchet, third, RunStatus.FAILED)
    await hatchet.runs.aio_bulk_replay(BulkCancelReplayOpts(ids=[third]))
    await has_status(hatchet, third, RunStatus.COMPLETED)
    listed = await hatchet.runs.aio_list(since=since, additional_metadata=mark, only_tasks=True)
    assert sorted(row.retry_count for row in listed.rows) == [4, 4, 8]


async def test_cancel_of_a_final_run_changes_nothing(flows: SimpleNamespace, hatchet: Hatchet) -> None:
    reference = await flows.counted.aio_run(wait_for_result=False)
    await reference.aio_result()
    await hatchet.runs.aio_cancel(reference.workflow_run_id)
    # A second cancel of another run is dealt with after the first: both go the same way.
    await hatchet._client.admin.aio_put_workflow(flows.nobodys.to_proto())
    marker = await flows.nobodys.aio_run(wait_for_result=False)
    await hatchet.runs.aio_cancel(marker.workflow_run_id)
    await has_status(hatchet, marker.workflow_run_id, RunStatus.CANCELLED)
    assert (await hatchet.runs.aio_get_details(reference.workflow_run_id)).status == RunStatus.COMPLETED


async def test_wrong_ids_of_cancel_and_replay_are_refused(hatchet: Hatchet) -> None:
    from hatchet_sdk.contracts.v1 import workflows_pb2 as pb

    stub = hatchet._client.admin._get_or_create_v1_client()
    metadata = (("authorization", f"bearer {hatchet._client.config.token}"),)
    both = {"external_ids": ["x"], "filter": pb.TasksFilter()}
    for call, request in (
        (stub.CancelTasks, pb.CancelTasksRequest),
        (stub.ReplayTasks, pb.ReplayTasksRequest),
    ):
        for fields in (both, {"external_ids": ["not-an-id"]}, {}):
            with pytest.raises(grpc.RpcError) as refused:
                await asyncio.to_thread(call, request(**fields), metadata=metadata)
            assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
