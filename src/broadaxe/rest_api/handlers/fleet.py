"""Workers, the backlog and the tenant."""

from broadaxe.rest_api.call import Call
from broadaxe.rest_api.decoding import decode_pairs
from broadaxe.rest_api.encoders.fleet import (
    encode_stats,
    encode_tenant,
    encode_worker,
    encode_worker_page,
)
from broadaxe.rest_api.models.fleet import (
    TaskStat,
    Tenant,
    TenantStepRunQueueMetrics,
    UpdateWorkerRequest,
    Worker,
    WorkerList,
)
from broadaxe.rest_api.problems import not_found
from broadaxe.rest_api.queries import TaskStatsQuery, WorkerListQuery


async def list_workers(call: Call) -> WorkerList:
    """A page of workers, newest first."""
    query = call.query(WorkerListQuery)
    page = await call.views.list_workers(
        call.tenant_id,
        tuple(query.statuses),
        decode_pairs("labels", query.labels),
        query.offset,
        query.limit,
    )
    return encode_worker_page(page)


async def get_worker(call: Call) -> Worker:
    """A worker."""
    worker = await call.views.get_worker(call.tenant_id, call.id("worker"))
    if worker is None:
        raise not_found("worker")
    return encode_worker(worker)


async def update_worker(call: Call) -> Worker:
    """Pause or resume a worker; without `isPaused` nothing changes."""
    worker_id, request = call.id("worker"), call.json(UpdateWorkerRequest)
    if request.is_paused is not None:
        known = await call.services.commands.pause_worker(call.tenant_id, worker_id, request.is_paused)
        if not known:
            raise not_found("worker")
    return await get_worker(call)


async def get_queue_depths(call: Call) -> TenantStepRunQueueMetrics:
    """Waiting tasks by action."""
    return TenantStepRunQueueMetrics(await call.views.get_queue_depths(call.tenant_id))


async def get_task_stats(call: Call) -> dict[str, TaskStat]:
    """What waits and what runs, by task name."""
    wanted = call.query(TaskStatsQuery).task_names
    stats = await call.views.get_task_stats(call.tenant_id)
    return {name: encode_stats(found) for name, found in stats.items() if not wanted or name in wanted}


async def get_tenant(call: Call) -> Tenant:
    """The tenant."""
    tenant = await call.views.get_tenant(call.tenant_id)
    if tenant is None:
        raise not_found("tenant")
    return encode_tenant(tenant)
