"""Tasks: one task, its timeline and log, and bulk cancel and replay."""

from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

from broadaxe.domain.ids import TenantId
from broadaxe.engine.api import Origin
from broadaxe.rest_api.call import Call
from broadaxe.rest_api.decoding import decode_pairs
from broadaxe.rest_api.encoders.runs import encode_log, encode_task, encode_timeline
from broadaxe.rest_api.models.runs import (
    V1CancelledTasks,
    V1CancelTaskRequest,
    V1DagChildren,
    V1LogLineList,
    V1ReplayedTasks,
    V1ReplayTaskRequest,
    V1TaskEventList,
    V1TaskFilter,
    V1TaskSummary,
)
from broadaxe.rest_api.problems import Refusal, not_found
from broadaxe.rest_api.queries import DagTasksQuery, LogQuery, PageQuery, TaskQuery, utc
from broadaxe.telemetry import names as T
from broadaxe.views.api import RunFilter

CHUNK = 500
"""Ids in one command: a bulk change over many tasks must not hold one commit for all of them."""

_Change = Callable[[TenantId, Sequence[UUID], Origin], Awaitable[list[UUID]]]


async def get_task(call: Call) -> V1TaskSummary:
    """A task, or one of its earlier attempts."""
    task_id, query = _task_id(call), call.query(TaskQuery)
    attempt = None if query.attempt is None else query.attempt - 1
    task = await call.views.get_task(call.tenant_id, task_id, attempt)
    if task is None:
        raise not_found("task")
    return encode_task(task)


async def list_dag_tasks(call: Call) -> list[V1DagChildren]:
    """The tasks of runs of several tasks; runs that are not there are left out."""
    query = call.query(DagTasksQuery)
    if query.tenant != call.tenant_id:
        raise Refusal(403, "This token is not for this tenant", "tenant")
    found = await call.views.list_tasks_of(call.tenant_id, query.dag_ids)
    return [
        V1DagChildren(dag_id, [encode_task(task) for task in found[dag_id]])
        for dag_id in dict.fromkeys(query.dag_ids)
        if dag_id in found
    ]


async def list_task_events(call: Call) -> V1TaskEventList:
    """The timeline of a task."""
    task_id, query = _task_id(call), call.query(PageQuery)
    entries = await call.views.get_timeline(call.tenant_id, task_id)
    if entries is None:
        raise not_found("task")
    return encode_timeline(entries, query.offset, query.limit)


async def list_task_logs(call: Call) -> V1LogLineList:
    """Log lines of a task."""
    task_id, query = _task_id(call), call.query(LogQuery)
    lines = await call.views.list_log_lines(call.tenant_id, task_id, query.to_criteria(), 0, query.limit)
    if lines is None:
        raise not_found("task")
    return V1LogLineList(rows=[encode_log(line) for line in lines])


async def cancel_tasks(call: Call) -> V1CancelledTasks:
    """Cancel by ids or filter."""
    request = call.json(V1CancelTaskRequest)
    return V1CancelledTasks(
        await _change(call, request.external_ids, request.filter, call.services.commands.cancel)
    )


async def replay_tasks(call: Call) -> V1ReplayedTasks:
    """Run again by ids or filter."""
    request = call.json(V1ReplayTaskRequest)
    return V1ReplayedTasks(
        await _change(call, request.external_ids, request.filter, call.services.commands.replay)
    )


async def _change(
    call: Call, ids: list[UUID] | None, where: V1TaskFilter | None, change: _Change
) -> list[UUID]:
    if (ids is None) == (where is None):
        raise Refusal(400, "Give exactly one of externalIds and filter", "externalIds")
    if ids is None and where is not None:
        # Found by the read side's rules, so that a status means here what lists show.
        ids = await call.views.list_run_ids(call.tenant_id, _filter(where))
    wanted = list(dict.fromkeys(ids or ()))
    origin = Origin(caller=call.span.below)
    changed: list[UUID] = []
    for start in range(0, len(wanted), CHUNK):
        changed += await change(call.tenant_id, wanted[start : start + CHUNK], origin)
    call.span.set(T.ATTR_BATCH_SIZE, len(changed))
    call.span.link(origin.touched)
    return changed


def _filter(where: V1TaskFilter) -> RunFilter:
    return RunFilter(
        since=utc(where.since),
        until=None if where.until is None else utc(where.until),
        statuses=tuple(where.statuses or ()),
        workflow_ids=tuple(where.workflow_ids or ()),
        metadata=decode_pairs("filter.additionalMetadata", where.additional_metadata or ()),
    )


def _task_id(call: Call) -> UUID:
    task_id = call.id("task")
    call.span.set(T.ATTR_TASK_ID, str(task_id))
    return task_id
