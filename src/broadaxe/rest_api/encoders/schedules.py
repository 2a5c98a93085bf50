"""Crons and planned runs on their way out."""

from broadaxe.domain.schedule import Method
from broadaxe.rest_api.encoders.payloads import as_object, paginate
from broadaxe.rest_api.models.envelope import APIResourceMeta
from broadaxe.rest_api.models.schedules import (
    CronWorkflows,
    CronWorkflowsList,
    ScheduledWorkflows,
    ScheduledWorkflowsList,
    WorkflowRunStatus,
)
from broadaxe.views.model import Page, RunStatus
from broadaxe.views.schedule_model import ListedCron, ScheduledView

_STATUSES: dict[RunStatus, WorkflowRunStatus] = {
    RunStatus.QUEUED: "QUEUED",
    RunStatus.RUNNING: "RUNNING",
    RunStatus.COMPLETED: "SUCCEEDED",
    RunStatus.FAILED: "FAILED",
    RunStatus.CANCELLED: "CANCELLED",
}


def encode_cron(cron: ListedCron) -> CronWorkflows:
    """A cron."""
    return CronWorkflows(
        metadata=APIResourceMeta(cron.id, cron.created_at, cron.updated_at),
        tenant_id=cron.tenant_id,
        workflow_version_id=cron.version_id,
        workflow_id=cron.workflow_id,
        workflow_name=cron.workflow_name,
        cron=cron.expression,
        enabled=cron.enabled,
        method="DEFAULT" if cron.method is Method.DECLARED else "API",
        name=cron.name,
        input=as_object(cron.input),
        additional_metadata=as_object(cron.metadata),
        priority=cron.priority or 1,
    )


def encode_cron_page(page: Page[ListedCron]) -> CronWorkflowsList:
    """A page of crons."""
    return CronWorkflowsList([encode_cron(row) for row in page.rows], paginate(page))


def encode_scheduled(view: ScheduledView) -> ScheduledWorkflows:
    """A planned run."""
    planned, status = view.planned, view.run_status
    return ScheduledWorkflows(
        metadata=APIResourceMeta(planned.id, planned.created_at, planned.updated_at),
        tenant_id=planned.tenant_id,
        workflow_version_id=planned.version_id,
        workflow_id=planned.workflow_id,
        workflow_name=planned.workflow_name,
        trigger_at=planned.trigger_at,
        method="API",
        input=as_object(planned.input),
        additional_metadata=as_object(planned.metadata),
        workflow_run_created_at=planned.run_created_at,
        workflow_run_name=view.run_name,
        workflow_run_status=None if status is None else _STATUSES[status],
        workflow_run_id=planned.run_id,
        priority=planned.priority or 1,
    )


def encode_scheduled_page(page: Page[ScheduledView]) -> ScheduledWorkflowsList:
    """A page of planned runs."""
    return ScheduledWorkflowsList([encode_scheduled(row) for row in page.rows], paginate(page))
