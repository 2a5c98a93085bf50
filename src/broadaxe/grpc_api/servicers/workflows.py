"""`WorkflowService`: triggers by name; registration in its old form."""

from broadaxe.domain.workflow import WorkflowVersion
from broadaxe.engine.api import Engine, Origin, Trigger
from broadaxe.engine.schedules.requests import ScheduleRequest
from broadaxe.grpc_api.call import Call
from broadaxe.grpc_api.method import Method, service_methods
from broadaxe.grpc_api.rate_limit import RateGroup
from broadaxe.grpc_api.servicers.definitions import legacy_definition
from broadaxe.grpc_api.servicers.fields import label_requests, optional_uuid, time_field
from broadaxe.grpc_api.wire import workflows_pb2 as pb
from broadaxe.grpc_api.wire.v1.shared.trigger_pb2 import TriggerWorkflowRequest

MISSING = "is not there yet: rate limits come later"


def trigger(request: TriggerWorkflowRequest, where: str = "") -> Trigger:
    """One trigger from the wire; `where` prefixes field names in errors."""
    return Trigger(
        workflow=request.name,
        input=request.input.encode(),
        metadata=request.additional_metadata.encode() if request.additional_metadata else None,
        priority=request.priority if request.HasField("priority") else None,
        parent_run_id=optional_uuid(request.parent_id, f"{where}parent_id"),
        parent_task_id=optional_uuid(
            request.parent_task_run_external_id, f"{where}parent_task_run_external_id"
        ),
        child_index=request.child_index if request.HasField("child_index") else None,
        child_key=request.child_key if request.child_key else None,
        desired_worker_id=optional_uuid(request.desired_worker_id, f"{where}desired_worker_id"),
        desired_labels=label_requests(request.desired_worker_labels)
        if request.desired_worker_labels
        else None,
    )


def _version(version: WorkflowVersion) -> pb.WorkflowVersion:
    message = pb.WorkflowVersion(
        id=str(version.version_id),
        version=version.definition.version,
        order=version.number,
        workflow_id=str(version.workflow_id),
    )
    message.created_at.FromDatetime(version.created_at)
    message.updated_at.FromDatetime(version.created_at)
    return message


class WorkflowServicer:
    """Decodes, calls the engine, encodes."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def methods(self) -> list[Method]:
        """The service's methods, for a transport."""
        return service_methods(
            pb.DESCRIPTOR.services_by_name["WorkflowService"],
            {
                "PutWorkflow": self.put_workflow,
                "TriggerWorkflow": self.trigger,
                "BulkTriggerWorkflow": self.trigger_many,
                "ScheduleWorkflow": self.schedule,
            },
            RateGroup.WORKFLOW,
            placed=frozenset({"TriggerWorkflow", "BulkTriggerWorkflow"}),
            missing=MISSING,
        )

    async def put_workflow(self, request: pb.PutWorkflowRequest, call: Call) -> pb.WorkflowVersion:
        """Register a workflow in the old form."""
        version = await self._engine.put_workflow(
            call.tenant_id, legacy_definition(request.opts), Origin(caller=call.caller)
        )
        return _version(version)

    async def schedule(self, request: pb.ScheduleWorkflowRequest, call: Call) -> pb.WorkflowVersion:
        """Plan runs."""
        wanted = ScheduleRequest(
            workflow=request.name,
            times=tuple(time_field(one, f"schedules[{at}]") for at, one in enumerate(request.schedules)),
            input=request.input.encode(),
            metadata=request.additional_metadata.encode(),
            priority=request.priority if request.HasField("priority") else None,
            parent_run_id=optional_uuid(request.parent_id, "parent_id"),
            parent_task_id=optional_uuid(request.parent_task_run_external_id, "parent_task_run_external_id"),
            child_index=request.child_index if request.HasField("child_index") else None,
            child_key=request.child_key or None,
        )
        planned = await self._engine.schedules.schedule(call.tenant_id, wanted, Origin(caller=call.caller))
        message = _version(planned.version)
        for run_id, at in planned.runs:
            one = message.scheduled_workflows.add(id=str(run_id))
            one.trigger_at.FromDatetime(at)
        return message

    async def trigger(self, request: TriggerWorkflowRequest, call: Call) -> pb.TriggerWorkflowResponse:
        """Start one run."""
        origin = Origin(caller=call.caller)
        try:
            run_id = await self._engine.trigger(call.tenant_id, trigger(request), origin)
        finally:
            call.trace_parent(origin.parent)
        return pb.TriggerWorkflowResponse(workflow_run_id=str(run_id))

    async def trigger_many(
        self, request: pb.BulkTriggerWorkflowRequest, call: Call
    ) -> pb.BulkTriggerWorkflowResponse:
        """Start many runs; one wrong item refuses all."""
        triggers = [trigger(one, f"workflows[{at}].") for at, one in enumerate(request.workflows)]
        origin = Origin(caller=call.caller)
        try:
            run_ids = await self._engine.trigger_many(call.tenant_id, triggers, origin)
        finally:
            call.trace_parent(origin.parent)
        return pb.BulkTriggerWorkflowResponse(workflow_run_ids=[str(run_id) for run_id in run_ids])
