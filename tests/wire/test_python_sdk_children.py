"""Parents and children with the official Python SDK."""

from types import SimpleNamespace

import pytest
from gates import Gates
from hatchet_sdk import Hatchet
from hatchet_sdk.clients.rest.models.v1_task_status import V1TaskStatus
from sdk_models import Count

from broadaxe.testkit.conditions import until

pytestmark = pytest.mark.usefixtures("worker")


@pytest.mark.parametrize(("name", "count"), [("gathers", 100), ("gathers_sync", 5)])
async def test_parent_gathers_its_children_in_order(flows: SimpleNamespace, name: str, count: int) -> None:
    result = await getattr(flows, name).aio_run(Count(count=count))
    assert result["counts"] == list(range(count))


async def test_children_inherit_metadata_and_know_their_parent(flows: SimpleNamespace) -> None:
    result = await flows.spawns_echo.aio_run(additional_metadata={"from": "parent", "shared": "parent"})
    own, plain = result["children"]
    assert (own["index"], plain["index"]) == (0, 1)
    assert own["metadata"]["own"] == "child"
    assert own["metadata"]["shared"] == "child"
    assert plain["metadata"]["shared"] == "parent"
    for child in (own, plain):
        assert child["metadata"]["from"] == "parent"
        assert child["metadata"]["hatchet__parent_workflow_run_id"] == result["run"]
        assert child["metadata"]["hatchet__parent_step_run_id"] == result["run"]
        assert child["parent"] == result["run"]


async def test_children_are_listed_under_their_parent(flows: SimpleNamespace, hatchet: Hatchet) -> None:
    result = await flows.one_by_one.aio_run(Count(count=3))
    for run_id in result["ids"]:
        await hatchet.runs.get_run_ref(run_id).aio_result()

    async def listed() -> list[str] | None:
        rows = (await hatchet.runs.aio_list(parent_task_external_id=result["task"])).rows
        done = [row for row in rows if row.status == V1TaskStatus.COMPLETED]
        return [row.task_external_id for row in done] if len(done) == 3 else None

    assert sorted(await until(listed, "three children are listed", period=0.1)) == sorted(result["ids"])
    parent = (await hatchet.runs.aio_get(result["task"])).tasks[0]
    assert parent.num_spawned_children == 3


async def test_equal_child_keys_are_one_child(flows: SimpleNamespace) -> None:
    result = await flows.same_key.aio_run()
    assert len(set(result["ids"])) == 1
    assert result["counts"] == [0, 0, 0], "the first spawn's input counts"
    assert result["other"] not in result["ids"]
    again = await flows.same_key.aio_run()
    assert again["ids"][0] != result["ids"][0], "the key holds within one parent"


async def test_retried_parent_finds_the_child_it_had_spawned(
    flows: SimpleNamespace, gates: Gates, hatchet: Hatchet
) -> None:
    reference = await flows.spawns_again.aio_run(wait_for_result=False)
    result = await reference.aio_result()
    mine = [one for one in gates.at("seen:spawned") if one.run == reference.workflow_run_id]
    assert [one.retry for one in mine] == [0, 1]
    assert {one.note["child"] for one in mine} == {result["child"]}
    assert result["result"] == {"count": 1}, "the child of the first attempt"


async def test_failure_of_a_child_reaches_its_parent(flows: SimpleNamespace) -> None:
    result = await flows.passes_failure_on.aio_run()
    assert result["type"] == "FailedTaskRunExceptionGroup"
    assert "not again" in result["error"]


async def test_replayed_parent_attaches_to_its_children(flows: SimpleNamespace, hatchet: Hatchet) -> None:
    reference = await flows.one_by_one.aio_run(Count(count=2), wait_for_result=False)
    first = await reference.aio_result()
    await hatchet.runs.aio_replay(reference.workflow_run_id)

    async def again() -> dict[str, object] | None:
        run = await hatchet.runs.aio_get(reference.workflow_run_id)
        return run.tasks[0].output if run.tasks[0].attempt == 2 and run.run.output else None

    second = await until(again, "the replay is over", period=0.1)
    assert second["ids"] == first["ids"]
