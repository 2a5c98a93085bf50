"""The official Python SDK against the server: workflows of several tasks."""

import asyncio
from types import SimpleNamespace
from uuid import uuid4

import pytest
from hatchet_sdk import Hatchet, RunStatus
from hatchet_sdk.clients.rest.models.v1_task_status import V1TaskStatus
from hatchet_sdk.clients.rest.models.v1_workflow_type import V1WorkflowType
from sdk_models import Count, Text

from broadaxe.testkit.conditions import until

pytestmark = pytest.mark.usefixtures("worker")


async def test_outputs_reach_children_and_the_caller(flows: SimpleNamespace) -> None:
    reference = await flows.dag.aio_run(
        Count(count=10), wait_for_result=False, additional_metadata={"team": "a"}
    )
    result = await reference.aio_result()
    one = {"count": 11, "text": "naïve 日本 💥"}
    assert result["one"] == one
    assert result["two"] == {"count": 12}
    assert result["both"] == {"sum": 23}
    last = result["last"]
    assert (last["one"], last["sum"]) == (one, 23)
    assert last["run"] == reference.workflow_run_id
    assert last["task"] != last["run"]
    assert last["metadata"]["team"] == "a"
    assert await asyncio.to_thread(reference.result) == result


async def test_details_name_tasks_by_step_and_show_outputs_at_the_end(
    hatchet: Hatchet, flows: SimpleNamespace
) -> None:
    reference = await flows.dag.aio_run(Count(count=1), wait_for_result=False)
    await reference.aio_result()
    details = await hatchet.runs.aio_get_details(reference.workflow_run_id)
    assert details.status == RunStatus.COMPLETED
    assert set(details.task_runs) == {"one", "two", "both", "last"}
    assert details.task_runs["both"].output == {"sum": 5}


@pytest.mark.parametrize(("count", "runs", "skipped"), [(7, "left", "right"), (77, "right", "left")])
async def test_branches_are_chosen_by_conditions_on_the_parent(
    flows: SimpleNamespace, count: int, runs: str, skipped: str
) -> None:
    result = await flows.branching.aio_run(Count(count=count))
    assert result[runs] == {"side": runs}
    assert result[skipped] == {"skipped": True}
    assert result["joined"] == {"skipped": False, runs: False, skipped: True}


async def test_cancelling_condition_cancels_what_is_behind(hatchet: Hatchet, flows: SimpleNamespace) -> None:
    reference = await flows.refused.aio_run(wait_for_result=False)
    await reference.aio_result()
    details = await hatchet.runs.aio_get_details(reference.workflow_run_id)
    assert details.status == RunStatus.CANCELLED
    states = {name: task.status for name, task in details.task_runs.items()}
    assert states == {
        "begin": RunStatus.COMPLETED,
        "cancelled": RunStatus.CANCELLED,
        "behind": RunStatus.CANCELLED,
    }


async def test_sleeps_are_waited_for_and_told_to_the_task(flows: SimpleNamespace) -> None:
    began = asyncio.get_running_loop().time()
    result = await flows.dozing.aio_run()
    assert asyncio.get_running_loop().time() - began >= 2.0
    assert result["nap"]["triggers"]["nap"] == {"sleep_duration": "1s"}
    assert result["again"]["triggers"]["sleep:1s"] == {"sleep_duration": "1s"}


async def test_conditions_of_a_workflow_of_one_task_are_honoured(flows: SimpleNamespace) -> None:
    result = await flows.lone.aio_run()
    assert result["only"]["triggers"] == {"sleep:1s": {"sleep_duration": "1s"}}


async def test_cancel_reaches_a_step_that_only_waits(hatchet: Hatchet, flows: SimpleNamespace) -> None:
    reference = await flows.forever.aio_run(wait_for_result=False)
    await hatchet.runs.aio_cancel(reference.workflow_run_id)
    assert await reference.aio_result() == {}
    details = await hatchet.runs.aio_get_details(reference.workflow_run_id)
    assert details.status == RunStatus.CANCELLED
    assert details.task_runs["never"].status == RunStatus.CANCELLED


async def waits_for_payment(hatchet: Hatchet, run_id: str) -> None:
    """Its order is there: the wait was opened in the same commit."""

    async def ordered() -> bool:
        details = await hatchet.runs.aio_get_details(run_id)
        return "order" in details.task_runs and details.task_runs["order"].status == RunStatus.COMPLETED

    await until(ordered, "the order")


async def test_event_lets_a_step_go_with_its_payload(hatchet: Hatchet, flows: SimpleNamespace) -> None:
    reference = await flows.paid.aio_run(Text(text="a"), wait_for_result=False)
    await waits_for_payment(hatchet, reference.workflow_run_id)
    await hatchet.event.aio_push("dag:paid", {"amount": 1})
    await hatchet.event.aio_push("dag:paid", {"amount": 9, "by": "card"})
    result = await reference.aio_result()
    assert result["ship"]["triggers"] == {"dag:paid": {"amount": 9, "by": "card"}}


async def test_event_that_came_before_the_run_lets_a_step_go_that_considers_it(
    hatchet: Hatchet, flows: SimpleNamespace
) -> None:
    for amount in (1, 8, 9):
        await hatchet.event.aio_push("dag:before", {"amount": amount}, scope="looked-back")
    result = await flows.early.aio_run(Text(text="a"))
    assert result["pack"]["triggers"] == {"dag:before": {"amount": 8}}


async def test_event_cancels_a_step(hatchet: Hatchet, flows: SimpleNamespace) -> None:
    reference = await flows.paid.aio_run(Text(text="b"), wait_for_result=False)
    await waits_for_payment(hatchet, reference.workflow_run_id)
    await hatchet.event.aio_push("dag:refused", {})
    await reference.aio_result()
    details = await hatchet.runs.aio_get_details(reference.workflow_run_id)
    assert details.status == RunStatus.CANCELLED


async def test_runs_list_shows_a_run_as_one_row_with_its_tasks(
    hatchet: Hatchet, flows: SimpleNamespace
) -> None:
    mark = {"mark": uuid4().hex}
    reference = await flows.dag.aio_run(Count(count=1), wait_for_result=False, additional_metadata=mark)
    await reference.aio_result()
    runs = (await hatchet.runs.aio_list(additional_metadata=mark, only_tasks=False)).rows
    assert [(one.type, one.status) for one in runs] == [(V1WorkflowType.DAG, V1TaskStatus.COMPLETED)]
    assert runs[0].metadata.id == reference.workflow_run_id
    assert runs[0].display_name.startswith("dag-")
    assert {one.display_name.rsplit("-", 1)[0] for one in runs[0].children or ()} == {
        "one",
        "two",
        "both",
        "last",
    }
    tasks = (await hatchet.runs.aio_list(additional_metadata=mark, only_tasks=True)).rows
    assert len(tasks) == 4
    whole = await hatchet.runs.aio_get(reference.workflow_run_id)
    assert {one.task_name for one in whole.shape} == {"one", "two", "both", "last"}
    assert whole.run.output["both"] == {"sum": 5}
    assert whole.run.input == {"count": 1}


async def test_on_failure_task_gets_the_errors_and_the_run_stays_failed(
    hatchet: Hatchet, flows: SimpleNamespace
) -> None:
    reference = await flows.failing.aio_run(Count(count=5), wait_for_result=False)
    with pytest.raises(Exception, match="it broke"):
        await reference.aio_result()
    details = await hatchet.runs.aio_get_details(reference.workflow_run_id)
    assert details.status == RunStatus.FAILED
    assert "it broke" in details.task_runs["on_failure-on-failure"].output["errors"]["breaks"]
    assert details.task_runs["after"].status == RunStatus.CANCELLED


async def test_on_failure_task_is_skipped_after_a_retry_that_works(flows: SimpleNamespace) -> None:
    result = await flows.failing.aio_run(Count(count=1))
    assert result["breaks"] == {"attempt": 2}
    assert result["on_failure-on-failure"] == {"skipped": True}


async def test_on_success_task_runs_last(flows: SimpleNamespace) -> None:
    result = await flows.succeeding.aio_run()
    assert result["on_success-on-success"] == {"after": {"done": 1}}


async def test_fan_in_of_fifty(flows: SimpleNamespace) -> None:
    result = await flows.wide.aio_run()
    assert result["total"] == {"total": sum(range(50))}


async def test_replay_runs_all_tasks_again_under_the_same_ids(
    hatchet: Hatchet, flows: SimpleNamespace
) -> None:
    reference = await flows.dag.aio_run(Count(count=3), wait_for_result=False)
    first = await reference.aio_result()
    run_id = reference.workflow_run_id
    before = await hatchet.runs.aio_get_details(run_id)
    await hatchet.runs.aio_replay(run_id)
    assert await reference.aio_result() == first
    after = await hatchet.runs.aio_get_details(run_id)
    assert {n: t.external_id for n, t in after.task_runs.items()} == {
        n: t.external_id for n, t in before.task_runs.items()
    }

    async def twice() -> bool:
        tasks = (await hatchet.runs.aio_get(run_id)).tasks
        return all(task.retry_count == 1 and task.status is V1TaskStatus.COMPLETED for task in tasks)

    await until(twice, "every task ran twice")
