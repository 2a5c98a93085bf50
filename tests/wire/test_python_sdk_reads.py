"""What the Python SDK's feature clients read over REST."""

import asyncio
import uuid
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from hatchet_sdk import Hatchet
from hatchet_sdk.clients.rest.exceptions import ForbiddenException, NotFoundException
from hatchet_sdk.clients.rest.models.v1_task_status import V1TaskStatus
from hatchet_sdk.config import TenacityConfig
from hatchet_sdk.exceptions import FailedTaskRunExceptionGroup
from sdk_models import Count, Failures
from sdk_server import Served, Worker

from broadaxe.testkit.conditions import until

pytestmark = pytest.mark.usefixtures("worker")


@pytest.fixture(scope="module")
async def marked(flows: SimpleNamespace) -> dict[str, str]:
    """Runs with a mark of their own: three good ones and a failed one; the mark."""
    mark = {"mark": uuid.uuid4().hex}
    for number in range(3):
        await flows.counted.aio_run(Count(count=number), additional_metadata=mark)
    with pytest.raises(FailedTaskRunExceptionGroup):
        await flows.never_retry.aio_run(additional_metadata=mark)
    return mark


async def test_tenants_metrics_are_scraped_as_text(hatchet: Hatchet) -> None:
    text = await hatchet.metrics.aio_scrape_tenant_prometheus_metrics()
    assert f'hatchet_tenant_active_workers{{tenant_id="{hatchet.tenant_id}"}} 1' in text.splitlines()


async def test_runs_are_listed_by_metadata_newest_first(hatchet: Hatchet, marked: dict[str, str]) -> None:
    async def four() -> object | None:
        found = await hatchet.runs.aio_list(additional_metadata=marked)
        return found if len(found.rows) == 4 else None

    listed = await until(four, "four runs are listed", period=0.1)
    created = [row.created_at for row in listed.rows]
    assert created == sorted(created, reverse=True)
    assert {row.workflow_name for row in listed.rows} == {"counted", "never_retry"}
    row = listed.rows[-1]
    assert row.input == {"input": {"count": 0}}, "wrapped, as tasks get it"
    assert row.output == {"count": 0}
    assert row.display_name.startswith("counted-")


async def test_runs_are_filtered_by_status_workflow_and_time(
    hatchet: Hatchet, flows: SimpleNamespace, marked: dict[str, str]
) -> None:
    failed = await hatchet.runs.aio_list(additional_metadata=marked, statuses=[V1TaskStatus.FAILED])
    assert [row.workflow_name for row in failed.rows] == ["never_retry"]
    assert "not again" in (failed.rows[0].error_message or "")
    counted_id = await asyncio.to_thread(lambda: flows.counted.id)
    counted = await hatchet.runs.aio_list(additional_metadata=marked, workflow_ids=[counted_id])
    assert len(counted.rows) == 3
    later = await hatchet.runs.aio_list(
        additional_metadata=marked, since=datetime.now(UTC) + timedelta(hours=1)
    )
    assert later.rows == []
    page = await hatchet.runs.aio_list(additional_metadata=marked, limit=1, offset=1)
    assert len(page.rows) == 1
    everything = await hatchet.runs.aio_list_with_pagination(
        since=datetime.now(UTC) - timedelta(days=2), additional_metadata=marked
    )
    assert len(everything) == 4


async def test_run_and_task_are_got_by_id(hatchet: Hatchet, flows: SimpleNamespace) -> None:
    reference = await flows.flaky.aio_run(Failures(failures=1), wait_for_result=False)
    await reference.aio_result()
    run = await hatchet.runs.aio_get(reference.workflow_run_id)
    assert run.run.status == V1TaskStatus.COMPLETED
    assert run.run.display_name.startswith("flaky-")
    assert run.workflow_config is not None
    (task,) = run.tasks
    assert task.output == {"attempt": 2, "max_attempts": 4}
    assert (task.attempt, task.retry_count) == (2, 1)
    single = await hatchet.runs.aio_get_task_run(reference.workflow_run_id)
    assert single.status == V1TaskStatus.COMPLETED
    assert single.started_at is not None
    assert single.finished_at is not None
    assert single.started_at <= single.finished_at
    assert await hatchet.runs.aio_get_status(reference.workflow_run_id) == V1TaskStatus.COMPLETED
    assert await hatchet.runs.aio_get_result(reference.workflow_run_id) == task.output


async def test_unknown_run_is_not_found(server: Served) -> None:
    client = server.client(tenacity=TenacityConfig(max_attempts=0))
    with pytest.raises(NotFoundException):
        await client.runs.aio_get(str(uuid.uuid4()))
    with pytest.raises(NotFoundException):
        await client.workflows.aio_get(str(uuid.uuid4()))
    with pytest.raises(NotFoundException):
        await client.workers.aio_get(str(uuid.uuid4()))


async def test_wrong_token_is_refused(server: Served) -> None:
    header, payload, signature = server.token.split(".")
    client = server.client(token=".".join((header, payload, signature[::-1])))
    with pytest.raises(ForbiddenException):
        await client.runs.aio_list()


async def test_workflows_are_listed_by_name_and_page(hatchet: Hatchet) -> None:
    (row,) = (await hatchet.workflows.aio_list(workflow_name="echo_sync")).rows or []
    assert row.name == "echo_sync"
    found = await hatchet.workflows.aio_get(row.metadata.id)
    assert found.metadata.id == row.metadata.id
    version = await hatchet.workflows.aio_get_version(row.metadata.id)
    assert version.workflow_id == row.metadata.id
    page = await hatchet.workflows.aio_list(limit=3, offset=2)
    assert len(page.rows or []) == 3


async def test_worker_tells_what_it_is(hatchet: Hatchet, worker: Worker) -> None:
    found = await hatchet.workers.aio_get(await worker.ready())
    assert found.name == "main"
    assert found.status == "ACTIVE"
    assert "counted:counted" in (found.actions or [])
    assert found.slot_config is not None
    assert found.slot_config["default"].limit == 100
    assert found.runtime_info is not None
    assert found.runtime_info.language == "PYTHON"
    assert found.runtime_info.sdk_version
