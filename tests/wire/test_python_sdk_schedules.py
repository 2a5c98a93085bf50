"""Crons, planned runs and pauses with the official Python SDK."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from hatchet_sdk import Hatchet, RunStatus
from hatchet_sdk.clients.rest.exceptions import ApiException
from hatchet_sdk.clients.rest.models.scheduled_run_status import ScheduledRunStatus
from hatchet_sdk.clients.rest.models.workflow_run_status import WorkflowRunStatus
from hatchet_sdk.types.priority import Priority
from sdk_models import Count, Text
from sdk_server import has_status

from broadaxe.testkit.conditions import until

pytestmark = pytest.mark.usefixtures("worker")


async def outputs(hatchet: Hatchet, flow: Any, **pairs: str) -> list[dict[str, Any]]:
    """What the completed runs with this metadata returned."""
    rows = await flow.aio_list_runs(additional_metadata=pairs)
    return [row.output for row in rows if row.status.value == "COMPLETED"]


async def test_planned_run_starts_with_its_input_priority_and_metadata(
    flows: SimpleNamespace, hatchet: Hatchet
) -> None:
    pair = {"plan": "past"}
    made = await flows.echo_sync.aio_schedule(
        datetime.now(UTC) - timedelta(seconds=1), Text(text="now"), additional_metadata=pair, priority=3
    )
    planned = made.scheduled_workflows[0].id
    assert (made.workflow_id, bool(made.id)) == (flows.echo_sync.id, True)

    async def succeeded() -> Any:
        found = await hatchet.scheduled.aio_get(planned)
        return found if found.workflow_run_status is WorkflowRunStatus.SUCCEEDED else None

    found = await until(succeeded, "the planned run", 30.0, period=0.1)
    assert (found.input, found.priority, found.additional_metadata) == ({"text": "now"}, 3, pair)
    assert (await outputs(hatchet, flows.echo_sync, **pair)) == [{"text": "NOW"}]
    details = await hatchet.runs.aio_get_details(found.workflow_run_id)
    assert details.status == RunStatus.COMPLETED


async def test_planned_runs_are_listed_moved_and_deleted(flows: SimpleNamespace, hatchet: Hatchet) -> None:
    at = datetime(2031, 1, 1, tzinfo=UTC)
    made = [
        await hatchet.scheduled.aio_create("echo", at + timedelta(days=day), {"day": day}, {"set": "moved"})
        for day in range(3)
    ]
    ids = [one.metadata.id for one in made]
    where: Any = {"additional_metadata": {"set": "moved"}, "statuses": [ScheduledRunStatus.SCHEDULED]}
    listed = await hatchet.scheduled.aio_list(**where)
    assert {row.metadata.id for row in listed.rows} == set(ids)
    later = at + timedelta(days=40)
    moved = await hatchet.scheduled.aio_update(ids[0], later)
    assert moved.trigger_at == later
    bulk = await hatchet.scheduled.aio_bulk_update([(ids[1], later), (ids[2], later)])
    assert set(bulk.updated_ids) == {ids[1], ids[2]}
    await hatchet.scheduled.aio_delete(ids[0])
    gone = await hatchet.scheduled.aio_bulk_delete(additional_metadata={"set": "moved"})
    assert set(gone.deleted_ids) == {ids[1], ids[2]}
    assert not (await hatchet.scheduled.aio_list(**where)).rows


async def test_cron_starts_runs_until_it_is_deleted(flows: SimpleNamespace, hatchet: Hatchet) -> None:
    cron = await flows.echo.aio_create_cron(
        "every-second", "* * * * * *", additional_metadata={"cron": "mine"}, priority=Priority.MEDIUM
    )

    async def ran() -> Any:
        return await outputs(hatchet, flows.echo, cron="mine")

    first = (await until(ran, "a run of the cron", 30.0, period=0.2))[0]
    assert first["metadata"]["hatchet__cron_name"] == "every-second"
    assert first["metadata"]["hatchet__cron_expression"] == "* * * * * *"
    assert datetime.fromisoformat(first["metadata"]["hatchet__cron_scheduled_at"]).tzinfo is not None
    assert first["priority"] == 2
    listed = await hatchet.cron.aio_list(cron_name="every-second")
    assert [row.metadata.id for row in listed.rows] == [cron.metadata.id]
    with pytest.raises(ApiException) as error:
        await flows.echo.aio_create_cron("every-second", "* * * * * *")
    assert error.value.status == 400
    await hatchet.cron.aio_delete(cron.metadata.id)
    assert not (await hatchet.cron.aio_list(cron_name="every-second")).rows


async def test_bad_expression_is_refused_with_its_field(flows: SimpleNamespace, hatchet: Hatchet) -> None:
    with pytest.raises(ApiException) as error:
        await hatchet.cron.aio_create("echo", "bad", "0 0 31 2 *", {}, {})
    assert error.value.status == 400
    assert "cronExpression" in str(error.value.body)


async def test_paused_workflow_takes_runs_and_starts_them_when_it_is_resumed(
    flows: SimpleNamespace, hatchet: Hatchet
) -> None:
    paused = await flows.counted.aio_pause(queue_ttl=timedelta(minutes=5))
    try:
        assert paused.is_paused
        reference = await flows.counted.aio_run(Count(count=1), wait_for_result=False)
        details = await hatchet.runs.aio_get_details(reference.workflow_run_id)
        assert details.status == RunStatus.QUEUED
    finally:
        resumed = await flows.counted.aio_unpause()
    assert not resumed.is_paused
    await has_status(hatchet, reference.workflow_run_id, RunStatus.COMPLETED)


async def test_run_that_waits_for_longer_than_the_pause_allows_is_cancelled(
    flows: SimpleNamespace, hatchet: Hatchet
) -> None:
    await flows.counted.aio_pause(queue_ttl=timedelta(seconds=1))
    try:
        reference = await flows.counted.aio_run(Count(count=1), wait_for_result=False)
        await has_status(hatchet, reference.workflow_run_id, RunStatus.CANCELLED)
    finally:
        await flows.counted.aio_unpause()
