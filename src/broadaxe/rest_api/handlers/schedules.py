"""Crons and planned runs."""

from collections.abc import Sequence
from uuid import UUID

from broadaxe.domain.errors import AlreadyExists
from broadaxe.engine.api import Origin, Trigger
from broadaxe.engine.schedules.requests import CronRequest, ScheduleRequest
from broadaxe.rest_api.call import Answer, Call
from broadaxe.rest_api.decoding import decode_pairs, object_bytes, optional_object_bytes
from broadaxe.rest_api.encoders.schedules import (
    encode_cron,
    encode_cron_page,
    encode_scheduled,
    encode_scheduled_page,
)
from broadaxe.rest_api.models.runs import TriggerRunResult
from broadaxe.rest_api.models.schedules import (
    CreateCronWorkflowTriggerRequest,
    CronWorkflows,
    CronWorkflowsList,
    ScheduledWorkflows,
    ScheduledWorkflowsBulkDeleteFilter,
    ScheduledWorkflowsBulkDeleteRequest,
    ScheduledWorkflowsBulkDeleteResponse,
    ScheduledWorkflowsBulkError,
    ScheduledWorkflowsBulkUpdateRequest,
    ScheduledWorkflowsBulkUpdateResponse,
    ScheduledWorkflowsList,
    ScheduleWorkflowRunRequest,
    UpdateCronWorkflowTriggerRequest,
    UpdateScheduledWorkflowRunRequest,
)
from broadaxe.rest_api.problems import Refusal, not_found
from broadaxe.rest_api.queries import CronListQuery, ScheduledListQuery, utc
from broadaxe.telemetry import names as T
from broadaxe.views.schedule_model import ListedCron, ScheduledFilter, ScheduledView

CRON, SCHEDULED = "cron-workflow", "scheduled-workflow-run"
BULK = 500

_EMPTY = Answer(b"", 204)


async def create_cron(call: Call) -> CronWorkflows:
    """Make a named cron; the path holds the workflow's name."""
    request = call.json(CreateCronWorkflowTriggerRequest)
    wanted = CronRequest(
        workflow=call.path["workflow"],
        expression=request.cron_expression,
        name=request.cron_name,
        input=object_bytes("input", request.input),
        metadata=optional_object_bytes("additionalMetadata", request.additional_metadata) or b"{}",
        priority=request.priority,
    )
    try:
        cron_id = await call.services.commands.schedules.create_cron(call.tenant_id, wanted, _origin(call))
    except AlreadyExists as error:
        # Clients know this as a plain bad request.
        raise Refusal(400, error.message, "cronName") from None
    return encode_cron(await _cron(call, cron_id))


async def list_crons(call: Call) -> CronWorkflowsList:
    """A page of crons."""
    query = call.query(CronListQuery)
    page = await call.views.list_crons(
        call.tenant_id, query.to_filter(), query.order, query.newest_first, query.offset, query.limit
    )
    return encode_cron_page(page)


async def get_cron(call: Call) -> CronWorkflows:
    """A cron."""
    return encode_cron(await _cron(call, call.id(CRON)))


async def update_cron(call: Call) -> Answer:
    """Switch a cron on or off."""
    cron_id, request = call.id(CRON), call.json(UpdateCronWorkflowTriggerRequest)
    if request.enabled is None:
        await _cron(call, cron_id)
    else:
        await call.services.commands.schedules.enable_cron(call.tenant_id, cron_id, request.enabled)
    return _EMPTY


async def delete_cron(call: Call) -> Answer:
    """Delete a cron that was made through the API."""
    await call.services.commands.schedules.delete_cron(call.tenant_id, call.id(CRON))
    return _EMPTY


async def run_cron(call: Call) -> TriggerRunResult:
    """Start a run as the cron would, now; its own times stay as they are."""
    cron = await _cron(call, call.id(CRON))
    return await _run(call, Trigger(cron.workflow_name, cron.input, cron.metadata, cron.priority))


async def schedule_run(call: Call) -> ScheduledWorkflows:
    """Plan a run; the path holds the workflow's name."""
    request = call.json(ScheduleWorkflowRunRequest)
    wanted = ScheduleRequest(
        workflow=call.path["workflow"],
        times=(utc(request.trigger_at),),
        input=object_bytes("input", request.input),
        metadata=optional_object_bytes("additionalMetadata", request.additional_metadata) or b"{}",
        priority=request.priority,
    )
    planned = await call.services.commands.schedules.schedule(call.tenant_id, wanted, _origin(call))
    return encode_scheduled(await _scheduled(call, planned.runs[0][0]))


async def list_scheduled(call: Call) -> ScheduledWorkflowsList:
    """A page of planned runs."""
    query = call.query(ScheduledListQuery)
    page = await call.views.list_scheduled(
        call.tenant_id, query.to_filter(), query.order, query.newest_first, query.offset, query.limit
    )
    return encode_scheduled_page(page)


async def get_scheduled(call: Call) -> ScheduledWorkflows:
    """A planned run."""
    return encode_scheduled(await _scheduled(call, call.id(SCHEDULED)))


async def update_scheduled(call: Call) -> ScheduledWorkflows:
    """Give a planned run another time."""
    one, request = call.id(SCHEDULED), call.json(UpdateScheduledWorkflowRunRequest)
    moved = await call.services.commands.schedules.move(call.tenant_id, [(one, utc(request.trigger_at))])
    found = await _scheduled(call, one)
    if not moved:
        raise Refusal(400, _STARTED, SCHEDULED)
    return encode_scheduled(found)


async def delete_scheduled(call: Call) -> Answer:
    """Delete a planned run that has not been started."""
    one = call.id(SCHEDULED)
    if not await call.services.commands.schedules.delete_scheduled(call.tenant_id, [one]):
        await _scheduled(call, one)
        raise Refusal(400, _STARTED, SCHEDULED)
    return _EMPTY


async def run_scheduled(call: Call) -> TriggerRunResult:
    """Start a run like the planned one, now; the planned one stays as it is."""
    planned = (await _scheduled(call, call.id(SCHEDULED))).planned
    return await _run(call, Trigger(planned.workflow_name, planned.input, planned.metadata, planned.priority))


async def delete_many(call: Call) -> ScheduledWorkflowsBulkDeleteResponse:
    """Delete planned runs by ids or filter; those that cannot be are named."""
    request = call.json(ScheduledWorkflowsBulkDeleteRequest)
    if (request.scheduled_workflow_run_ids is None) == (request.filter is None):
        raise Refusal(
            400, "Give exactly one of scheduledWorkflowRunIds and filter", "scheduledWorkflowRunIds"
        )
    if request.filter is not None:
        return ScheduledWorkflowsBulkDeleteResponse(await _delete_matching(call, request.filter), [])
    ids = list(dict.fromkeys(request.scheduled_workflow_run_ids or ()))
    gone = await call.services.commands.schedules.delete_scheduled(call.tenant_id, ids)
    return ScheduledWorkflowsBulkDeleteResponse(
        [one for one in ids if one in gone], await _errors(call, [one for one in ids if one not in gone])
    )


async def update_many(call: Call) -> ScheduledWorkflowsBulkUpdateResponse:
    """Give planned runs other times; those that cannot have them are named."""
    updates = call.json(ScheduledWorkflowsBulkUpdateRequest).updates
    moves = [(update.id, utc(update.trigger_at)) for update in updates]
    moved = await call.services.commands.schedules.move(call.tenant_id, moves)
    ids = list(dict.fromkeys(update.id for update in updates))
    return ScheduledWorkflowsBulkUpdateResponse(
        [one for one in ids if one in moved], await _errors(call, [one for one in ids if one not in moved])
    )


_STARTED = "The planned run was already started or dropped"


async def _delete_matching(call: Call, where: ScheduledWorkflowsBulkDeleteFilter) -> list[UUID]:
    criteria = ScheduledFilter(
        workflow_id=where.workflow_id,
        parent_run_id=where.parent_workflow_run_id,
        parent_task_id=where.parent_step_run_id,
        metadata=decode_pairs("filter.additionalMetadata", where.additional_metadata or ()),
    )
    deleted: list[UUID] = []
    while True:
        ids = await call.views.list_waiting(call.tenant_id, criteria, BULK)
        gone = await call.services.commands.schedules.delete_scheduled(call.tenant_id, ids) if ids else set()
        deleted += [one for one in ids if one in gone]
        # What was started between the two statements is no longer among those that wait.
        if len(ids) < BULK:
            return deleted


async def _errors(call: Call, ids: Sequence[UUID]) -> list[ScheduledWorkflowsBulkError]:
    errors = []
    for one in ids:
        known = await call.views.get_scheduled(call.tenant_id, one)
        text = "scheduled workflow run not found" if known is None else _STARTED
        errors.append(ScheduledWorkflowsBulkError(text, one))
    return errors


async def _cron(call: Call, cron_id: UUID) -> ListedCron:
    cron = await call.views.get_cron(call.tenant_id, cron_id)
    if cron is None:
        raise not_found("cron")
    return cron


async def _scheduled(call: Call, one: UUID) -> ScheduledView:
    planned = await call.views.get_scheduled(call.tenant_id, one)
    if planned is None:
        raise not_found("scheduled workflow run")
    return planned


async def _run(call: Call, trigger: Trigger) -> TriggerRunResult:
    origin = _origin(call)
    run_id = await call.services.commands.trigger(call.tenant_id, trigger, origin)
    call.span.place(origin.parent)
    call.span.set(T.ATTR_RUN_ID, str(run_id))
    return TriggerRunResult(run_id)


def _origin(call: Call) -> Origin:
    return Origin(caller=call.span.caller)
