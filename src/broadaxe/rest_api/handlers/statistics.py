"""A whole tenant: its log lines, counts over time, its backlog."""

from datetime import UTC, datetime, timedelta

from broadaxe.rest_api.call import Answer, Call
from broadaxe.rest_api.decoding import decode_pairs
from broadaxe.rest_api.encoders.metrics import encode_metrics
from broadaxe.rest_api.encoders.runs import encode_log
from broadaxe.rest_api.models.runs import V1LogLineList
from broadaxe.rest_api.models.statistics import (
    QueueMetrics,
    TenantQueueMetrics,
    V1LogsPointMetric,
    V1LogsPointMetrics,
    V1TaskPointMetric,
    V1TaskPointMetrics,
    WorkflowMetrics,
    WorkflowRunsMetrics,
    WorkflowRunsMetricsCounts,
    WorkflowWorkersCount,
)
from broadaxe.rest_api.problems import Refusal, not_found
from broadaxe.rest_api.queries import utc
from broadaxe.rest_api.statistics_queries import (
    LogPointQuery,
    QueueMetricsQuery,
    RunsMetricsQuery,
    TaskPointQuery,
    TenantLogQuery,
    WorkflowMetricsQuery,
)
from broadaxe.telemetry.prometheus import CONTENT_TYPE
from broadaxe.views.api import RunFilter
from broadaxe.views.model import RunStatus
from broadaxe.views.statistics import Backed, LogPoint

DAY = timedelta(days=1)
_SHOWN = {
    "RUNNING": RunStatus.RUNNING,
    "SUCCEEDED": RunStatus.COMPLETED,
    "FAILED": RunStatus.FAILED,
    "CANCELLED": RunStatus.CANCELLED,
    "QUEUED": RunStatus.QUEUED,
}
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


async def list_logs(call: Call) -> V1LogLineList:
    """Log lines of the tenant, the last day's unless said otherwise."""
    query = call.query(TenantLogQuery)
    since, until = _window(call, query.since, query.until)
    lines = await call.views.list_tenant_logs(call.tenant_id, query.to_criteria(since, until), query.limit)
    return V1LogLineList(rows=[encode_log(line) for line in lines])


async def count_logs(call: Call) -> V1LogsPointMetrics:
    """Log lines by level over time, over the last day unless said otherwise."""
    query = call.query(LogPointQuery)
    since, until = _window(call, query.since, query.until)
    points = await call.views.count_log_points(call.tenant_id, query.to_criteria(since, until))
    return V1LogsPointMetrics([_log_point(point) for point in points])


async def count_ended_tasks(call: Call) -> V1TaskPointMetrics:
    """Ended tasks over time, over the last day unless said otherwise."""
    query = call.query(TaskPointQuery)
    since, until = _window(call, query.created_after, query.finished_before)
    points = await call.views.count_task_points(call.tenant_id, since, until)
    return V1TaskPointMetrics(
        [V1TaskPointMetric(time=point.at, SUCCEEDED=point.completed, FAILED=point.failed) for point in points]
    )


async def get_backlog(call: Call) -> TenantQueueMetrics:
    """What waits and what runs."""
    query = call.query(QueueMetricsQuery)
    pairs = decode_pairs("additionalMetadata", query.additional_metadata)
    found = await call.views.get_backlog(call.tenant_id, query.workflows, pairs)
    return TenantQueueMetrics(
        total=_backed(found.total),
        workflow={str(workflow): _backed(backed) for workflow, backed in found.workflows.items()},
        queues=found.queues,
    )


async def count_workers(call: Call) -> WorkflowWorkersCount:
    """Slots for the newest version of a workflow."""
    version = await call.views.get_version(call.tenant_id, call.id("workflow"), None)
    if version is None:
        raise not_found("workflow")
    actions = [step.action for step in version.definition.steps]
    return WorkflowWorkersCount(*await call.views.count_slots(call.tenant_id, actions))


async def count_runs(call: Call) -> WorkflowRunsMetrics:
    """Runs by status. Those that wait are all QUEUED here."""
    query = call.query(RunsMetricsQuery)
    where = RunFilter(
        since=_BEGINNING if query.created_after is None else utc(query.created_after),
        until=None if query.created_before is None else utc(query.created_before),
        workflow_ids=() if query.workflow_id is None else (query.workflow_id,),
        metadata=decode_pairs("additionalMetadata", query.additional_metadata),
        parent_task_id=query.parent_step_run_id,
        event_id=query.event_id,
    )
    counts = {one.status: one.count for one in await call.views.count_by_status(call.tenant_id, where)}
    return WorkflowRunsMetrics(
        WorkflowRunsMetricsCounts(
            PENDING=0,
            RUNNING=counts.get(RunStatus.RUNNING, 0),
            SUCCEEDED=counts.get(RunStatus.COMPLETED, 0),
            FAILED=counts.get(RunStatus.FAILED, 0),
            QUEUED=counts.get(RunStatus.QUEUED, 0),
            CANCELLED=counts.get(RunStatus.CANCELLED, 0),
        )
    )


async def count_workflow_runs(call: Call) -> WorkflowMetrics:
    """Runs of a workflow. No workflow that runs here has concurrency groups, so none has a key."""
    workflow_id, query = call.id("workflow"), call.query(WorkflowMetricsQuery)
    if await call.views.get_version(call.tenant_id, workflow_id, None) is None:
        raise not_found("workflow")
    if query.group_key:
        return WorkflowMetrics(0, 0)
    where = RunFilter(since=_BEGINNING, workflow_ids=(workflow_id,))
    counts = {one.status: one.count for one in await call.views.count_by_status(call.tenant_id, where)}
    if query.status is None:
        return WorkflowMetrics(sum(counts.values()), 0)
    # Those that wait are all QUEUED here: none is PENDING or in BACKOFF.
    shown = _SHOWN.get(query.status)
    return WorkflowMetrics(0 if shown is None else counts.get(shown, 0), 0)


async def write_metrics(call: Call) -> Answer:
    """The tenant's gauges, read from rows: whichever process is asked answers for all engines."""
    backlog = await call.views.get_backlog(call.tenant_id, (), ())
    fleet = await call.views.get_fleet(call.tenant_id)
    return Answer(encode_metrics(call.tenant_id, backlog.total, fleet), content_type=CONTENT_TYPE)


def _window(call: Call, since: datetime | None, until: datetime | None) -> tuple[datetime, datetime]:
    end = call.services.clock.now() if until is None else utc(until)
    try:
        begin = end - DAY if since is None else utc(since)
    except OverflowError:
        begin = _BEGINNING
    if begin >= end:
        raise Refusal(400, "since: must lie before until", "since")
    return begin, end


def _log_point(point: LogPoint) -> V1LogsPointMetric:
    levels = point.levels
    return V1LogsPointMetric(
        time=point.at,
        DEBUG=levels.get("DEBUG", 0),
        INFO=levels.get("INFO", 0),
        WARN=levels.get("WARN", 0),
        ERROR=levels.get("ERROR", 0),
    )


def _backed(backed: Backed) -> QueueMetrics:
    return QueueMetrics(backed.queued, backed.running, backed.pending)
