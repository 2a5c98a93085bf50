"""Runs: lists, one run, its status, timeline and timings, and starting one."""

import asyncio
from uuid import UUID

from broadaxe.domain.errors import Unavailable
from broadaxe.engine.api import Origin, Trigger
from broadaxe.rest_api.call import Answer, Call
from broadaxe.rest_api.decoding import object_bytes, optional_object_bytes
from broadaxe.rest_api.encoders.payloads import paginate
from broadaxe.rest_api.encoders.runs import (
    ONE_PAGE,
    encode_count,
    encode_name,
    encode_run,
    encode_status,
    encode_task_page,
    encode_timeline,
    encode_timing,
)
from broadaxe.rest_api.models.runs import (
    V1TaskEventList,
    V1TaskRunMetric,
    V1TaskSummaryList,
    V1TaskTimingList,
    V1TriggerWorkflowRunRequest,
    V1WorkflowRunCount,
    V1WorkflowRunDetails,
    V1WorkflowRunDisplayNameList,
)
from broadaxe.rest_api.problems import not_found
from broadaxe.rest_api.queries import (
    DisplayNamesQuery,
    PageQuery,
    RunCountQuery,
    RunListQuery,
    RunMatch,
    TimingsQuery,
)
from broadaxe.telemetry import names as T
from broadaxe.views.model import Page, RunView

RUN = "v1-workflow-run"

_VISIBLE_STEP = 0.05


async def list_runs(call: Call) -> V1TaskSummaryList:
    """A page of runs, newest first; with `only_tasks` of tasks. A run of one task is its task."""
    query = call.query(RunListQuery)
    page = await call.views.list_runs(
        call.tenant_id,
        query.to_filter(),
        query.offset,
        query.limit,
        payloads=query.include_payloads,
        total=query.include_num_pages,
        only_tasks=query.only_tasks,
    )
    return encode_task_page(page)


async def count_runs(call: Call) -> V1WorkflowRunCount:
    """How many runs match."""
    query = call.query(RunCountQuery)
    return V1WorkflowRunCount(
        await call.views.count_runs(call.tenant_id, query.to_filter(), query.only_tasks)
    )


async def list_run_ids(call: Call) -> list[UUID]:
    """The ids of all runs that match."""
    return await call.views.list_run_ids(call.tenant_id, call.query(RunMatch).to_filter())


async def list_display_names(call: Call) -> V1WorkflowRunDisplayNameList:
    """What these runs are called."""
    query = call.query(DisplayNamesQuery)
    names = await call.views.get_display_names(call.tenant_id, query.external_ids)
    return V1WorkflowRunDisplayNameList(ONE_PAGE, [encode_name(name) for name in names])


async def get_run(call: Call) -> V1WorkflowRunDetails:
    """A run with everything about it."""
    run_id = call.id(RUN)
    call.span.set(T.ATTR_RUN_ID, str(run_id))
    run = await call.views.get_run(call.tenant_id, run_id)
    if run is None:
        raise not_found("workflow run")
    return encode_run(run)


async def get_run_status(call: Call) -> Answer:
    """A run's status as a bare string."""
    run_id = call.id(RUN)
    call.span.set(T.ATTR_RUN_ID, str(run_id))
    status = await call.views.get_run_status(call.tenant_id, run_id)
    if status is None:
        raise not_found("workflow run")
    return Answer(encode_status(status))


async def list_run_events(call: Call) -> V1TaskEventList:
    """The timeline of a run."""
    run_id, query = call.id(RUN), call.query(PageQuery)
    call.span.set(T.ATTR_RUN_ID, str(run_id))
    entries = await call.views.get_timeline(call.tenant_id, run_id)
    if entries is None:
        raise not_found("workflow run")
    return encode_timeline(entries, query.offset, query.limit)


async def list_run_timings(call: Call) -> V1TaskTimingList:
    """When the tasks of a run, and of the runs it spawned, waited and ran."""
    run_id, query = call.id(RUN), call.query(TimingsQuery)
    call.span.set(T.ATTR_RUN_ID, str(run_id))
    timings = await call.views.get_run_timings(call.tenant_id, run_id, query.depth)
    if timings is None:
        raise not_found("workflow run")
    page = Page(timings, 0, max(1, len(timings)), len(timings))
    return V1TaskTimingList(paginate(page), [encode_timing(timing) for timing in timings])


async def count_by_status(call: Call) -> list[V1TaskRunMetric]:
    """Tasks by status."""
    counts = await call.views.count_by_status(call.tenant_id, call.query(RunMatch).to_filter())
    return [encode_count(count) for count in counts]


async def trigger_run(call: Call) -> V1WorkflowRunDetails:
    """Start a run; the answer comes once the run can be read."""
    request = call.json(V1TriggerWorkflowRunRequest)
    origin = Origin(caller=call.span.caller)
    trigger = Trigger(
        workflow=request.workflow_name,
        input=object_bytes("input", request.input),
        metadata=optional_object_bytes("additionalMetadata", request.additional_metadata),
        priority=request.priority,
    )
    run_id = await call.services.commands.trigger(call.tenant_id, trigger, origin)
    call.span.place(origin.parent)
    call.span.set(T.ATTR_RUN_ID, str(run_id))
    return encode_run(await _visible(call, run_id))


async def _visible(call: Call, run_id: UUID) -> RunView:
    """The run as soon as the read side has it. On the primary it is there at once."""
    clock = call.services.clock
    deadline = clock.monotonic() + call.services.options.visible_timeout
    while True:
        run = await call.views.get_run(call.tenant_id, run_id, always=True)
        if run is not None:
            return run
        if clock.monotonic() >= deadline:
            raise Unavailable(f"run {run_id} was started, but cannot be read yet")
        await asyncio.sleep(_VISIBLE_STEP)
