"""Engine values to wire messages."""

from datetime import UTC, datetime
from functools import lru_cache
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp

from broadaxe.domain.task import TaskState
from broadaxe.engine.api import RunEvent, RunEventKind, RunFinished, TaskResult, WorkerAction
from broadaxe.grpc_api.wire import dispatcher_pb2 as pb

RESULTS_LIMIT = 3 * 1024 * 1024
"""Bytes of results in one WorkflowRunEvent; clients accept messages of 4 MiB."""

ERROR_TOO_LARGE = "Error is too large to be sent over this stream: read the run's details."

_RESOURCE = {
    RunEventKind.STARTED: (pb.RESOURCE_TYPE_STEP_RUN, pb.RESOURCE_EVENT_TYPE_STARTED),
    RunEventKind.COMPLETED: (pb.RESOURCE_TYPE_STEP_RUN, pb.RESOURCE_EVENT_TYPE_COMPLETED),
    RunEventKind.FAILED: (pb.RESOURCE_TYPE_STEP_RUN, pb.RESOURCE_EVENT_TYPE_FAILED),
    RunEventKind.CANCELLED: (pb.RESOURCE_TYPE_STEP_RUN, pb.RESOURCE_EVENT_TYPE_CANCELLED),
    RunEventKind.STREAM: (pb.RESOURCE_TYPE_STEP_RUN, pb.RESOURCE_EVENT_TYPE_STREAM),
    RunEventKind.RUN_COMPLETED: (pb.RESOURCE_TYPE_WORKFLOW_RUN, pb.RESOURCE_EVENT_TYPE_COMPLETED),
    RunEventKind.RUN_FAILED: (pb.RESOURCE_TYPE_WORKFLOW_RUN, pb.RESOURCE_EVENT_TYPE_FAILED),
    RunEventKind.RUN_CANCELLED: (pb.RESOURCE_TYPE_WORKFLOW_RUN, pb.RESOURCE_EVENT_TYPE_CANCELLED),
}


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@lru_cache(maxsize=4096)
def _known(identifier: UUID) -> str:
    """The text of an id that comes again and again: of a tenant, a step, a workflow."""
    return str(identifier)


def set_time(target: Timestamp, moment: datetime) -> None:
    """As `FromDatetime` for a moment with a zone, in a fifth of its time."""
    since = moment - _EPOCH
    target.seconds = since.days * 86_400 + since.seconds
    target.nanos = since.microseconds * 1000


def text(payload: bytes | None) -> str:
    """Bytes as proto text. Chunks that are not UTF-8 cannot be carried: bad bytes are replaced."""
    return payload.decode(errors="replace") if payload else ""


def action(source: WorkerAction) -> pb.AssignedAction:
    """A message for a worker's stream."""
    task_id, step_id = str(source.task_id), _known(source.step_id)
    message = pb.AssignedAction(
        tenant_id=_known(source.tenant_id),
        workflow_run_id=str(source.run_id),
        job_id=step_id,
        job_name=source.step_name,
        job_run_id=task_id,
        task_id=step_id,
        task_run_external_id=task_id,
        action_id=source.action,
        action_type=pb.ActionType.ValueType(source.kind),
        action_payload=text(source.payload),
        task_name=source.step_name,
        retry_count=source.attempt,
        priority=source.priority,
        workflow_id=_known(source.workflow_id),
        workflow_version_id=_known(source.version_id),
    )
    if source.metadata:
        message.additional_metadata = text(source.metadata)
    if source.child_index is not None:
        message.child_workflow_index = source.child_index
    if source.child_key is not None:
        message.child_workflow_key = source.child_key
    if source.parent_task_id is not None:
        message.parent_workflow_run_id = str(source.parent_task_id)
    set_time(message.task_inserted_at, source.created_at)
    return message


def run_finished(source: RunFinished, now: datetime) -> pb.WorkflowRunEvent:
    """The results of a finished run, trimmed to what a client accepts: errors first, then all results."""
    message = pb.WorkflowRunEvent(
        workflow_run_id=str(source.run_id),
        event_type=pb.WORKFLOW_RUN_EVENT_TYPE_FINISHED,
        results=[_result(result, trimmed=False) for result in source.results],
    )
    message.event_timestamp.FromDatetime(now)
    if message.ByteSize() > RESULTS_LIMIT:
        del message.results[:]
        message.results.extend(_result(result, trimmed=True) for result in source.results)
        if message.ByteSize() > RESULTS_LIMIT:
            del message.results[:]
    return message


def _result(result: TaskResult, *, trimmed: bool) -> pb.StepRunResult:
    message = pb.StepRunResult(
        task_run_external_id=str(result.task_id), task_name=result.step_name, job_run_id=str(result.task_id)
    )
    if result.state is TaskState.COMPLETED:
        message.output = text(result.output)
    elif trimmed and result.error:
        message.error = ERROR_TOO_LARGE
    else:
        message.error = text(result.error)
    return message


def run_event(source: RunEvent) -> pb.WorkflowEvent:
    """One entry of a watched run."""
    resource, kind = _RESOURCE[source.kind]
    of_run = resource == pb.RESOURCE_TYPE_WORKFLOW_RUN
    message = pb.WorkflowEvent(
        workflow_run_id=str(source.run_id),
        resource_type=resource,
        event_type=kind,
        resource_id=str(source.run_id if of_run else source.task_id),
        event_payload=text(source.payload),
        hangup=source.hangup,
    )
    message.event_timestamp.FromDatetime(source.at)
    if not of_run:
        message.retry_count = source.attempt
    if source.event_index is not None:
        message.event_index = source.event_index
    return message
