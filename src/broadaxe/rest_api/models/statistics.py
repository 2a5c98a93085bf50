"""A whole tenant in numbers."""

from datetime import datetime

from msgspec import Struct


class V1LogsPointMetric(Struct, kw_only=True):
    """Log lines by level in one stretch of time."""

    time: datetime
    DEBUG: int
    INFO: int
    WARN: int
    ERROR: int


class V1LogsPointMetrics(Struct):
    """Log lines over time."""

    results: list[V1LogsPointMetric]


class V1TaskPointMetric(Struct, kw_only=True):
    """Tasks that ended in one stretch of time."""

    time: datetime
    SUCCEEDED: int
    FAILED: int


class V1TaskPointMetrics(Struct):
    """Ended tasks over time."""

    results: list[V1TaskPointMetric]


class QueueMetrics(Struct, rename="camel"):
    """Tasks that are not final."""

    num_queued: int
    num_running: int
    num_pending: int


class TenantQueueMetrics(Struct):
    """The backlog: all of it, by workflow, and by action."""

    total: QueueMetrics
    workflow: dict[str, QueueMetrics]
    queues: dict[str, int]


class WorkflowMetrics(Struct, rename="camel"):
    """Runs of a workflow, and its concurrency groups."""

    group_key_runs_count: int
    group_key_count: int


class WorkflowWorkersCount(Struct, rename="camel"):
    """Slots of the active workers that can run a workflow."""

    free_slot_count: int
    max_slot_count: int


class WorkflowRunsMetricsCounts(Struct, kw_only=True):
    """Runs by status."""

    PENDING: int
    RUNNING: int
    SUCCEEDED: int
    FAILED: int
    QUEUED: int
    CANCELLED: int


class WorkflowRunsMetrics(Struct):
    """Runs by status."""

    counts: WorkflowRunsMetricsCounts
