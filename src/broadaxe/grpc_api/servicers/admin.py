"""`v1.AdminService`: registration, triggers with byte payloads, details, cancel, replay."""

from uuid import UUID

from broadaxe.domain.errors import InvalidArgument
from broadaxe.domain.task import TaskFilter, TaskState
from broadaxe.engine.api import Engine, Origin, RunDetails, Trigger
from broadaxe.grpc_api.call import Call
from broadaxe.grpc_api.method import Method, service_methods
from broadaxe.grpc_api.rate_limit import RateGroup
from broadaxe.grpc_api.servicers.definitions import definition
from broadaxe.grpc_api.servicers.encode import text
from broadaxe.grpc_api.servicers.fields import label_requests, time_field, uuid_field
from broadaxe.grpc_api.wire.v1 import workflows_pb2 as pb

MISSING = "is not there yet: durable tasks come later"

_STATUS = {
    TaskState.QUEUED: pb.QUEUED,
    TaskState.DELAYED: pb.QUEUED,
    TaskState.PENDING: pb.QUEUED,
    TaskState.ASSIGNED: pb.RUNNING,
    TaskState.COMPLETED: pb.COMPLETED,
    TaskState.FAILED: pb.FAILED,
    TaskState.CANCELLED: pb.CANCELLED,
}
_STATES = {
    "QUEUED": (TaskState.QUEUED, TaskState.DELAYED, TaskState.PENDING),
    "RUNNING": (TaskState.ASSIGNED,),
    "COMPLETED": (TaskState.COMPLETED,),
    "FAILED": (TaskState.FAILED,),
    "CANCELLED": (TaskState.CANCELLED,),
}


class AdminServicer:
    """Decodes, calls the engine, encodes."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def methods(self) -> list[Method]:
        """The service's methods, for a transport."""
        return service_methods(
            pb.DESCRIPTOR.services_by_name["AdminService"],
            {
                "PutWorkflow": self.put_workflow,
                "TriggerWorkflowRun": self.trigger,
                "GetRunDetails": self.details,
                "CancelTasks": self.cancel,
                "ReplayTasks": self.replay,
            },
            RateGroup.ADMIN,
            placed=frozenset({"TriggerWorkflowRun"}),
            missing=MISSING,
        )

    async def put_workflow(
        self, request: pb.CreateWorkflowVersionRequest, call: Call
    ) -> pb.CreateWorkflowVersionResponse:
        """Register a workflow."""
        version = await self._engine.put_workflow(
            call.tenant_id, definition(request), Origin(caller=call.caller)
        )
        return pb.CreateWorkflowVersionResponse(
            id=str(version.version_id), workflow_id=str(version.workflow_id)
        )

    async def trigger(
        self, request: pb.TriggerWorkflowRunRequest, call: Call
    ) -> pb.TriggerWorkflowRunResponse:
        """Start one run."""
        origin = Origin(caller=call.caller)
        wanted = Trigger(
            workflow=request.workflow_name,
            input=request.input,
            metadata=request.additional_metadata or None,
            priority=request.priority if request.HasField("priority") else None,
            desired_labels=label_requests(request.desired_worker_labels)
            if request.desired_worker_labels
            else None,
        )
        try:
            run_id = await self._engine.trigger(call.tenant_id, wanted, origin)
        finally:
            call.trace_parent(origin.parent)
        return pb.TriggerWorkflowRunResponse(external_id=str(run_id))

    async def details(self, request: pb.GetRunDetailsRequest, call: Call) -> pb.GetRunDetailsResponse:
        """A run as it is now: reads what was written."""
        run_id = uuid_field(request.external_id, "external_id")
        return _details(await self._engine.run_details(call.tenant_id, run_id))

    async def cancel(self, request: pb.CancelTasksRequest, call: Call) -> pb.CancelTasksResponse:
        """Cancel by ids or by filter."""
        ids, where = _selection(request)
        origin = Origin(caller=call.caller)
        affected = await self._engine.cancel(call.tenant_id, ids, where, origin)
        call.link(origin.touched)
        return pb.CancelTasksResponse(cancelled_tasks=[str(one) for one in affected])

    async def replay(self, request: pb.ReplayTasksRequest, call: Call) -> pb.ReplayTasksResponse:
        """Run final tasks again, by ids or by filter."""
        ids, where = _selection(request)
        origin = Origin(caller=call.caller)
        affected = await self._engine.replay(call.tenant_id, ids, where, origin)
        call.link(origin.touched)
        return pb.ReplayTasksResponse(replayed_tasks=[str(one) for one in affected])


def _selection(
    request: pb.CancelTasksRequest | pb.ReplayTasksRequest,
) -> tuple[list[UUID], TaskFilter | None]:
    if bool(request.external_ids) == request.HasField("filter"):
        raise InvalidArgument("external_ids: give either external_ids or filter")
    if request.external_ids:
        ids = [uuid_field(one, f"external_ids[{at}]") for at, one in enumerate(request.external_ids)]
        return ids, None
    where = request.filter
    if not where.HasField("since"):
        raise InvalidArgument("filter.since: is required")
    states: list[TaskState] = []
    for status in where.statuses:
        if status not in _STATES:
            raise InvalidArgument(f"filter.statuses: {status!r} is none of {', '.join(_STATES)}")
        states.extend(_STATES[status])
    pairs = []
    for pair in where.additional_metadata:
        key, colon, value = pair.partition(":")
        if not colon:
            raise InvalidArgument(f"filter.additional_metadata: {pair!r} is not of the form key:value")
        pairs.append((key, value))
    return [], TaskFilter(
        since=time_field(where.since, "filter.since"),
        until=time_field(where.until, "filter.until") if where.HasField("until") else None,
        states=tuple(states),
        workflow_ids=tuple(uuid_field(one, "filter.workflow_ids") for one in where.workflow_ids),
        metadata=tuple(pairs),
    )


def _details(found: RunDetails) -> pb.GetRunDetailsResponse:
    message = pb.GetRunDetailsResponse(
        input=found.input,
        status=_STATUS[found.state],
        done=found.done,
        additional_metadata=found.metadata,
        is_evicted=False,
    )
    for task in found.tasks:
        detail = message.task_runs[task.step_name]
        detail.external_id = str(task.task_id)
        detail.status = _STATUS[task.state]
        detail.readable_id = task.step_name
        # Outputs and errors appear once the whole run is final, as SDKs expect.
        if found.done and task.output is not None:
            detail.output = task.output
        if found.done and task.error is not None:
            detail.error = text(task.error)
    return message
