"""The table of operations: the API, its access rules and its OpenAPI document all come from it."""

from uuid import UUID

from broadaxe.rest_api import queries as q
from broadaxe.rest_api import statistics_queries as sq
from broadaxe.rest_api.handlers import (
    events,
    fleet,
    runs,
    schedules,
    server,
    statistics,
    tasks,
    workflows,
)
from broadaxe.rest_api.models import events as em
from broadaxe.rest_api.models import fleet as fm
from broadaxe.rest_api.models import runs as rm
from broadaxe.rest_api.models import schedules as sm
from broadaxe.rest_api.models import statistics as stm
from broadaxe.rest_api.models import workflows as wm
from broadaxe.rest_api.models.envelope import APIErrors
from broadaxe.rest_api.planned import planned_routes
from broadaxe.rest_api.routing import Access, Route, Tracing
from broadaxe.views.model import RunStatus

_STABLE = "/api/v1/stable/tenants/{tenant}"
_TENANT = "/api/v1/tenants/{tenant}"
_RUN = "/api/v1/stable/workflow-runs/{v1-workflow-run}"
_TASK = "/api/v1/stable/tasks/{task}"
_PUBLIC, _OFF, _LATE = Access.PUBLIC, Tracing.OFF, Tracing.LATE

SERVER_ROUTES = (
    Route("GET", "/api/ready", "readiness:get", "Whether requests can be served", "server",
          server.get_ready, access=_PUBLIC, tracing=_OFF),
    Route("GET", "/api/live", "liveness:get", "Whether the process answers", "server",
          server.get_live, access=_PUBLIC, tracing=_OFF),
    Route("GET", "/api/v1/version", "info:get:version", "The server's version", "server",
          server.get_version, fm.Version, access=_PUBLIC),
    Route("GET", "/api/v1/meta", "metadata:get", "What a client must know first", "server",
          server.get_meta, fm.APIMeta, access=_PUBLIC),
    Route("GET", "/api/v1/cloud/metadata", "cloud-metadata:get", "An error body: not a cloud", "server",
          server.get_cloud_metadata, APIErrors, access=_PUBLIC),
    Route("GET", "/api/v1/openapi.json", "openapi:get", "This document", "server",
          server.get_document, access=_PUBLIC),
)  # fmt: skip

RUN_ROUTES = (
    Route("GET", f"{_STABLE}/workflow-runs", "v1-workflow-run:list", "List runs", "runs",
          runs.list_runs, rm.V1TaskSummaryList, query=q.RunListQuery),
    Route("GET", f"{_STABLE}/workflow-runs/count", "v1-workflow-run:count", "Count runs", "runs",
          runs.count_runs, rm.V1WorkflowRunCount, query=q.RunCountQuery),
    Route("GET", f"{_STABLE}/workflow-runs/display-names", "v1-workflow-run:display-names:list",
          "Name runs", "runs", runs.list_display_names, rm.V1WorkflowRunDisplayNameList,
          query=q.DisplayNamesQuery),
    Route("GET", f"{_STABLE}/workflow-runs/external-ids", "v1-workflow-run:external-ids:list",
          "List the ids of runs", "runs", runs.list_run_ids, list[UUID], query=q.RunMatch),
    Route("POST", f"{_STABLE}/workflow-runs/trigger", "v1-workflow-run:create", "Start a run", "runs",
          runs.trigger_run, rm.V1WorkflowRunDetails, body=rm.V1TriggerWorkflowRunRequest, tracing=_LATE),
    Route("GET", _RUN, "v1-workflow-run:get", "Get a run", "runs", runs.get_run, rm.V1WorkflowRunDetails),
    Route("GET", f"{_RUN}/status", "v1-workflow-run:get:status", "Get a run's status", "runs",
          runs.get_run_status, RunStatus),
    Route("GET", f"{_RUN}/task-events", "v1-workflow-run:task-events:list", "List a run's timeline", "runs",
          runs.list_run_events, rm.V1TaskEventList, query=q.PageQuery),
    Route("GET", f"{_RUN}/task-timings", "v1-workflow-run:get:timings", "List a run's timings", "runs",
          runs.list_run_timings, rm.V1TaskTimingList, query=q.TimingsQuery),
    Route("GET", f"{_STABLE}/task-metrics", "v1-task:list:status-metrics", "Count tasks by status", "runs",
          runs.count_by_status, list[rm.V1TaskRunMetric], query=q.RunMatch),
)  # fmt: skip

TASK_ROUTES = (
    Route("GET", _TASK, "v1-task:get", "Get a task", "tasks", tasks.get_task, rm.V1TaskSummary,
          query=q.TaskQuery),
    Route("GET", "/api/v1/stable/dags/tasks", "v1-dag:list:tasks", "List the tasks of runs", "tasks",
          tasks.list_dag_tasks, list[rm.V1DagChildren], query=q.DagTasksQuery),
    Route("GET", f"{_TASK}/task-events", "v1-task-event:list", "List a task's timeline", "tasks",
          tasks.list_task_events, rm.V1TaskEventList, query=q.PageQuery),
    Route("GET", f"{_TASK}/logs", "v1-log-line:list", "List a task's log lines", "tasks",
          tasks.list_task_logs, rm.V1LogLineList, query=q.LogQuery),
    Route("POST", f"{_STABLE}/tasks/cancel", "v1-task:cancel", "Cancel tasks", "tasks",
          tasks.cancel_tasks, rm.V1CancelledTasks, body=rm.V1CancelTaskRequest),
    Route("POST", f"{_STABLE}/tasks/replay", "v1-task:replay", "Run tasks again", "tasks",
          tasks.replay_tasks, rm.V1ReplayedTasks, body=rm.V1ReplayTaskRequest),
)  # fmt: skip

WORKFLOW_ROUTES = (
    Route("GET", f"{_TENANT}/workflows", "workflow:list", "List workflows", "workflows",
          workflows.list_workflows, wm.WorkflowList, query=q.WorkflowListQuery),
    Route("GET", "/api/v1/workflows/{workflow}", "workflow:get", "Get a workflow", "workflows",
          workflows.get_workflow, wm.Workflow),
    Route("GET", "/api/v1/workflows/{workflow}/versions", "workflow-version:get", "Get a version",
          "workflows", workflows.get_version, wm.WorkflowVersion, query=q.VersionQuery),
    Route("PATCH", "/api/v1/workflows/{workflow}", "workflow:update", "Pause or resume a workflow",
          "workflows", workflows.update_workflow, wm.Workflow, body=sm.WorkflowUpdateRequest),
    Route("DELETE", "/api/v1/workflows/{workflow}", "workflow:delete", "Delete a workflow", "workflows",
          workflows.delete_workflow),
)  # fmt: skip

_CRON = f"{_TENANT}/workflows/crons/{{cron-workflow}}"
_SCHEDULED = f"{_TENANT}/workflows/scheduled"
_PLANNED = f"{_SCHEDULED}/{{scheduled-workflow-run}}"

SCHEDULE_ROUTES = (
    Route("POST", f"{_TENANT}/workflows/{{workflow}}/crons", "cron-workflow-trigger:create", "Make a cron",
          "crons", schedules.create_cron, sm.CronWorkflows, body=sm.CreateCronWorkflowTriggerRequest),
    Route("GET", f"{_TENANT}/workflows/crons", "cron-workflow:list", "List crons", "crons",
          schedules.list_crons, sm.CronWorkflowsList, query=q.CronListQuery),
    Route("GET", _CRON, "workflow-cron:get", "Get a cron", "crons", schedules.get_cron, sm.CronWorkflows),
    Route("PATCH", _CRON, "workflow-cron:update", "Switch a cron on or off", "crons",
          schedules.update_cron, body=sm.UpdateCronWorkflowTriggerRequest),
    Route("DELETE", _CRON, "workflow-cron:delete", "Delete a cron", "crons", schedules.delete_cron),
    Route("POST", _CRON, "workflow-cron:trigger", "Start a cron's run now", "crons", schedules.run_cron,
          rm.TriggerRunResult, tracing=_LATE),
    Route("POST", f"{_TENANT}/workflows/{{workflow}}/scheduled", "scheduled-workflow-run:create",
          "Plan a run", "scheduled runs", schedules.schedule_run, sm.ScheduledWorkflows,
          body=sm.ScheduleWorkflowRunRequest),
    Route("GET", _SCHEDULED, "workflow-scheduled:list", "List planned runs", "scheduled runs",
          schedules.list_scheduled, sm.ScheduledWorkflowsList, query=q.ScheduledListQuery),
    Route("POST", f"{_SCHEDULED}/bulk-delete", "workflow-scheduled:bulk:delete", "Delete planned runs",
          "scheduled runs", schedules.delete_many, sm.ScheduledWorkflowsBulkDeleteResponse,
          body=sm.ScheduledWorkflowsBulkDeleteRequest),
    Route("POST", f"{_SCHEDULED}/bulk-update", "workflow-scheduled:bulk:update",
          "Give planned runs other times", "scheduled runs", schedules.update_many,
          sm.ScheduledWorkflowsBulkUpdateResponse, body=sm.ScheduledWorkflowsBulkUpdateRequest),
    Route("GET", _PLANNED, "workflow-scheduled:get", "Get a planned run", "scheduled runs",
          schedules.get_scheduled, sm.ScheduledWorkflows),
    Route("PATCH", _PLANNED, "workflow-scheduled:update", "Give a planned run another time",
          "scheduled runs", schedules.update_scheduled, sm.ScheduledWorkflows,
          body=sm.UpdateScheduledWorkflowRunRequest),
    Route("DELETE", _PLANNED, "workflow-scheduled:delete", "Delete a planned run", "scheduled runs",
          schedules.delete_scheduled),
    Route("POST", _PLANNED, "workflow-scheduled:trigger", "Start a planned run's like now",
          "scheduled runs", schedules.run_scheduled, rm.TriggerRunResult, tracing=_LATE),
)  # fmt: skip

FLEET_ROUTES = (
    Route("GET", f"{_TENANT}/worker", "worker:list", "List workers", "workers",
          fleet.list_workers, fm.WorkerList, query=q.WorkerListQuery),
    Route("GET", "/api/v1/workers/{worker}", "worker:get", "Get a worker", "workers",
          fleet.get_worker, fm.Worker),
    Route("PATCH", "/api/v1/workers/{worker}", "worker:update", "Pause or resume a worker", "workers",
          fleet.update_worker, fm.Worker, body=fm.UpdateWorkerRequest),
    Route("GET", f"{_TENANT}/step-run-queue-metrics", "tenant:get:step-run-queue-metrics",
          "Count waiting tasks by action", "tenant", fleet.get_queue_depths, fm.TenantStepRunQueueMetrics),
    Route("GET", f"{_TENANT}/task-stats", "tenant:get:task-stats", "Count live tasks by name", "tenant",
          fleet.get_task_stats, dict[str, fm.TaskStat], query=q.TaskStatsQuery),
    Route("GET", _TENANT, "tenant:get", "Get the tenant", "tenant", fleet.get_tenant, fm.Tenant),
)  # fmt: skip

EVENT_ROUTES = (
    Route("GET", f"{_STABLE}/events", "v1-event:list", "List events", "events", events.list_events,
          em.V1EventList, query=q.EventListQuery),
    Route("GET", f"{_STABLE}/events/keys", "v1-event:list:keys", "List the keys of events", "events",
          events.list_event_keys, em.EventKeyList),
    Route("GET", f"{_STABLE}/events/{{v1-event}}", "v1-event:get", "Get an event", "events",
          events.get_event, em.V1Event),
    Route("POST", f"{_TENANT}/events", "event:create", "Push an event", "events", events.push_event,
          em.Event, body=em.CreateEventRequest, tracing=_LATE),
    Route("POST", f"{_TENANT}/events/bulk", "event:create:bulk", "Push events", "events",
          events.push_events, em.Events, body=em.BulkCreateEventRequest, tracing=_LATE),
    Route("GET", f"{_TENANT}/events/keys", "event:list:keys", "List the keys of events", "events",
          events.list_event_keys, em.EventKeyList),
    Route("GET", f"{_STABLE}/filters", "v1-filter:list", "List filters", "filters", events.list_filters,
          em.V1FilterList, query=q.FilterListQuery),
    Route("POST", f"{_STABLE}/filters", "v1-filter:create", "Make a filter", "filters",
          events.create_filter, em.V1Filter, body=em.V1CreateFilterRequest),
    Route("GET", f"{_STABLE}/filters/{{v1-filter}}", "v1-filter:get", "Get a filter", "filters",
          events.get_filter, em.V1Filter),
    Route("PATCH", f"{_STABLE}/filters/{{v1-filter}}", "v1-filter:update", "Change a filter", "filters",
          events.update_filter, em.V1Filter, body=em.V1UpdateFilterRequest),
    Route("DELETE", f"{_STABLE}/filters/{{v1-filter}}", "v1-filter:delete", "Take a filter away", "filters",
          events.delete_filter, em.V1Filter),
    Route("POST", f"{_STABLE}/cel/debug", "v1-cel:debug", "Try an expression out", "filters",
          events.debug_expression, em.V1CELDebugResponse, body=em.V1CELDebugRequest),
)  # fmt: skip

STATISTICS_ROUTES = (
    Route("GET", f"{_STABLE}/logs", "v1-tenant-log-line:list", "List the tenant's log lines", "logs",
          statistics.list_logs, rm.V1LogLineList, query=sq.TenantLogQuery),
    Route("GET", f"{_STABLE}/log-point-metrics", "v1-tenant-log-line:point-metrics",
          "Count log lines over time", "logs", statistics.count_logs, stm.V1LogsPointMetrics,
          query=sq.LogPointQuery),
    Route("GET", f"{_STABLE}/task-point-metrics", "v1-task:get:point-metrics",
          "Count ended tasks over time", "tasks", statistics.count_ended_tasks, stm.V1TaskPointMetrics,
          query=sq.TaskPointQuery),
    Route("GET", f"{_TENANT}/queue-metrics", "tenant:get:queue-metrics", "What waits and what runs",
          "tenant", statistics.get_backlog, stm.TenantQueueMetrics, query=sq.QueueMetricsQuery),
    Route("GET", f"{_TENANT}/workflows/{{workflow}}/worker-count", "workflow:get:workers-count",
          "Count slots for a workflow", "workflows", statistics.count_workers, stm.WorkflowWorkersCount),
    Route("GET", "/api/v1/workflows/{workflow}/metrics", "workflow:get:metrics", "Count a workflow's runs",
          "workflows", statistics.count_workflow_runs, stm.WorkflowMetrics, query=sq.WorkflowMetricsQuery),
    Route("GET", f"{_TENANT}/prometheus-metrics", "tenant:get:prometheus-metrics",
          "The tenant's gauges as Prometheus text", "tenant", statistics.write_metrics, str,
          content_type="text/plain"),
    Route("GET", f"{_TENANT}/workflows/runs/metrics", "workflow-run:get:metrics", "Count runs by status",
          "runs", statistics.count_runs, stm.WorkflowRunsMetrics, query=sq.RunsMetricsQuery),
)  # fmt: skip

ROUTES: tuple[Route, ...] = (
    *SERVER_ROUTES,
    *RUN_ROUTES,
    *TASK_ROUTES,
    *WORKFLOW_ROUTES,
    *SCHEDULE_ROUTES,
    *FLEET_ROUTES,
    *EVENT_ROUTES,
    *STATISTICS_ROUTES,
    *planned_routes(),
)
