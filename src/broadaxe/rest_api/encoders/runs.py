"""Runs and tasks on their way out."""

from typing import get_args

import msgspec

from broadaxe.rest_api.encoders.payloads import as_object, as_optional_object, as_task_input, paginate
from broadaxe.rest_api.encoders.workflows import encode_config
from broadaxe.rest_api.models.envelope import APIResourceMeta, PaginationResponse
from broadaxe.rest_api.models.runs import (
    LogLevel,
    V1LogLine,
    V1RunningDetailCount,
    V1TaskEvent,
    V1TaskEventList,
    V1TaskRunMetric,
    V1TaskSummary,
    V1TaskSummaryList,
    V1TaskTiming,
    V1WorkflowRun,
    V1WorkflowRunDetails,
    V1WorkflowRunDisplayName,
    WorkflowRunShapeItemForWorkflowRunDetails,
)
from broadaxe.views.model import (
    LogView,
    NamedRun,
    Page,
    RunKind,
    RunStatus,
    RunView,
    StateCount,
    TaskView,
    TimelineEntry,
    TimingView,
)

_LEVELS: tuple[LogLevel, ...] = get_args(LogLevel)


def encode_task(task: TaskView) -> V1TaskSummary:
    """A task, a run of one task, or a run of several with its tasks."""
    several = task.kind is RunKind.DAG
    return V1TaskSummary(
        metadata=APIResourceMeta(task.id, task.created_at, task.changed_at),
        created_at=task.created_at,
        display_name=task.display_name,
        input=as_object(task.input) if several else as_task_input(task.input),
        num_spawned_children=task.children,
        output=as_object(task.output),
        status=task.status,
        task_external_id=task.id,
        task_id=task.number,
        task_inserted_at=task.created_at,
        tenant_id=task.tenant_id,
        type=task.kind,
        workflow_id=task.workflow_id,
        workflow_run_external_id=task.run_id,
        action_id=None if several else task.action,
        additional_metadata=as_optional_object(task.metadata),
        attempt=task.attempt + 1,
        duration=task.duration_ms,
        error_message=task.error,
        finished_at=task.finished_at,
        is_durable=task.durable,
        is_evicted=False,
        parent_task_external_id=task.parent_task_id,
        retry_count=task.attempt,
        started_at=task.started_at,
        step_id=task.step_id,
        workflow_name=task.workflow_name,
        workflow_version_id=task.version_id,
        children=[encode_task(one) for one in task.tasks] if several else None,
    )


def encode_task_page(page: Page[TaskView]) -> V1TaskSummaryList:
    """A page of tasks."""
    return V1TaskSummaryList(pagination=paginate(page), rows=[encode_task(row) for row in page.rows])


def encode_run(run: RunView) -> V1WorkflowRunDetails:
    """A run with everything about it."""
    head = run.run
    return V1WorkflowRunDetails(
        run=V1WorkflowRun(
            metadata=APIResourceMeta(head.run_id, head.created_at, head.changed_at),
            status=head.status,
            tenant_id=head.tenant_id,
            display_name=head.display_name,
            workflow_id=head.workflow_id,
            output=as_object(head.output),
            input=as_object(head.input) if head.kind is RunKind.DAG else as_task_input(head.input),
            started_at=head.started_at,
            finished_at=head.finished_at,
            duration=head.duration_ms,
            additional_metadata=as_optional_object(head.metadata),
            error_message=head.error,
            workflow_version_id=head.version_id,
            created_at=head.created_at,
            parent_task_external_id=head.parent_task_id,
        ),
        task_events=[encode_entry(entry) for entry in run.timeline],
        shape=[
            WorkflowRunShapeItemForWorkflowRunDetails(
                task_external_id=item.task_id,
                step_id=item.step_id,
                children_step_ids=list(item.child_step_ids),
                task_name=item.name,
            )
            for item in run.shape
        ],
        tasks=[encode_task(task) for task in run.tasks],
        workflow_config=encode_config(run.definition),
    )


def encode_entry(entry: TimelineEntry) -> V1TaskEvent:
    """A line of a timeline."""
    return V1TaskEvent(
        id=entry.number,
        task_id=entry.task_id,
        timestamp=entry.at,
        event_type=entry.kind,
        message=entry.message,
        error_message=entry.error,
        output=entry.output,
        worker_id=entry.worker_id,
        task_display_name=entry.task_name,
        retry_count=entry.attempt,
        attempt=entry.attempt + 1,
    )


def encode_timeline(entries: list[TimelineEntry], offset: int, limit: int) -> V1TaskEventList:
    """A page of a timeline."""
    page = Page(entries[offset : offset + limit], offset, limit, len(entries))
    return V1TaskEventList(pagination=paginate(page), rows=[encode_entry(entry) for entry in page.rows])


def encode_timing(timing: TimingView) -> V1TaskTiming:
    """When a task waited and ran."""
    task = timing.task
    return V1TaskTiming(
        metadata=APIResourceMeta(task.id, task.created_at, task.changed_at),
        depth=timing.depth,
        status=task.status,
        task_display_name=task.display_name,
        task_external_id=task.id,
        task_id=task.number,
        task_inserted_at=task.created_at,
        tenant_id=task.tenant_id,
        parent_task_external_id=task.parent_task_id,
        queued_at=task.queued_at,
        started_at=task.started_at,
        finished_at=task.finished_at,
        workflow_run_id=task.run_id,
        retry_count=task.attempt,
        attempt=task.attempt + 1,
    )


def encode_name(run: NamedRun) -> V1WorkflowRunDisplayName:
    """What a run is called."""
    return V1WorkflowRunDisplayName(
        metadata=APIResourceMeta(run.id, run.created_at, run.created_at), display_name=run.display_name
    )


def encode_count(count: StateCount) -> V1TaskRunMetric:
    """Tasks in one status. None is evicted yet: all that run are on a worker."""
    running = count.status is RunStatus.RUNNING
    detail = V1RunningDetailCount(evicted=0, on_worker=count.count) if running else None
    return V1TaskRunMetric(count.status, count.count, detail)


def encode_log(line: LogView) -> V1LogLine:
    """A log line."""
    level = line.level.upper()
    if level == "WARNING":
        level = "WARN"
    return V1LogLine(
        created_at=line.at,
        message=line.message,
        metadata=as_object(line.metadata),
        task_external_id=line.task_id,
        task_display_name=line.task_name,
        retry_count=line.attempt,
        attempt=line.attempt + 1,
        level=next((known for known in _LEVELS if known == level), None),
    )


def encode_status(status: RunStatus) -> bytes:
    """A bare JSON string."""
    return msgspec.json.encode(status)


ONE_PAGE = PaginationResponse(current_page=1, next_page=1, num_pages=1)
"""For lists that are always answered whole."""
