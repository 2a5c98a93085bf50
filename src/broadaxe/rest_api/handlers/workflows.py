"""Workflows and their versions; pausing, resuming and deleting them."""

import re

from broadaxe.domain.durations import parse_duration
from broadaxe.domain.errors import InvalidArgument
from broadaxe.domain.schedule import Pause, PausedRuns
from broadaxe.rest_api.call import Answer, Call
from broadaxe.rest_api.encoders.workflows import encode_version, encode_workflow, encode_workflow_page
from broadaxe.rest_api.models.schedules import PauseWorkflowRequest, WorkflowUpdateRequest
from broadaxe.rest_api.models.workflows import Workflow, WorkflowList, WorkflowVersion
from broadaxe.rest_api.problems import Refusal, not_found
from broadaxe.rest_api.queries import VersionQuery, WorkflowListQuery


async def list_workflows(call: Call) -> WorkflowList:
    """A page of workflows, by name."""
    query = call.query(WorkflowListQuery)
    return encode_workflow_page(
        await call.views.list_workflows(call.tenant_id, query.name or None, query.offset, query.limit)
    )


async def get_workflow(call: Call) -> Workflow:
    """A workflow with its newest versions."""
    workflow = await call.views.get_workflow(call.tenant_id, call.id("workflow"))
    if workflow is None:
        raise not_found("workflow")
    return encode_workflow(workflow, await call.views.get_pause(call.tenant_id, workflow.id))


async def update_workflow(call: Call) -> Workflow:
    """Pause or resume a workflow; without `pause` nothing changes."""
    workflow_id, request = call.id("workflow"), call.json(WorkflowUpdateRequest)
    schedules = call.services.commands.schedules
    if request.pause is not None and request.pause.action == "pause":
        await schedules.pause(call.tenant_id, workflow_id, _pause(request.pause))
    elif request.pause is not None:
        await schedules.resume(call.tenant_id, workflow_id)
    return await get_workflow(call)


async def delete_workflow(call: Call) -> Answer:
    """Delete a workflow; its runs stay."""
    workflow_id = call.id("workflow")
    await call.services.commands.schedules.delete_workflow(call.tenant_id, workflow_id)
    return Answer(b"", 204)


_TTL = "pausedWorkflowQueueTTL"
_DAYS = re.compile(r"([0-9]{1,5})d(.*)")


def _pause(request: PauseWorkflowRequest) -> Pause:
    """How to pause. Days stand before what a duration may hold otherwise: `1d7h30m`."""
    if request.ttl is None:
        raise Refusal(400, f"pause.{_TTL}: this member of the body is required", f"pause.{_TTL}")
    days = _DAYS.fullmatch(request.ttl)
    rest = request.ttl if days is None else days[2]
    try:
        seconds = parse_duration(rest) if rest or days is None else 0.0
    except InvalidArgument as error:
        raise Refusal(400, f"pause.{_TTL}: {error.message}", f"pause.{_TTL}") from None
    seconds += 86_400 * int(days[1]) if days is not None else 0
    if seconds < 0:
        raise Refusal(400, f"pause.{_TTL}: must not be negative", f"pause.{_TTL}")
    return Pause(ttl=seconds, crons=PausedRuns[request.crons], scheduled=PausedRuns[request.scheduled])


async def get_version(call: Call) -> WorkflowVersion:
    """A version with its definition."""
    workflow_id, query = call.id("workflow"), call.query(VersionQuery)
    version = await call.views.get_version(call.tenant_id, workflow_id, query.version)
    if version is None:
        raise not_found("workflow" if query.version is None else "workflow version")
    return encode_version(version)
