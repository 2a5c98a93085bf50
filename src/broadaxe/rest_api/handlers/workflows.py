"""Workflows and their versions."""

from broadaxe.rest_api.call import Call
from broadaxe.rest_api.encoders.workflows import encode_version, encode_workflow, encode_workflow_page
from broadaxe.rest_api.models.workflows import Workflow, WorkflowList, WorkflowVersion
from broadaxe.rest_api.problems import not_found
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
    return encode_workflow(workflow)


async def get_version(call: Call) -> WorkflowVersion:
    """A version with its definition."""
    workflow_id, query = call.id("workflow"), call.query(VersionQuery)
    version = await call.views.get_version(call.tenant_id, workflow_id, query.version)
    if version is None:
        raise not_found("workflow" if query.version is None else "workflow version")
    return encode_version(version)
