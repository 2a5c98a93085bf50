"""Limits and retention of tenants."""

from broadaxe.config.declare import ignored, later, section, used
from broadaxe.config.kinds import COUNT, OPTIONAL_DURATION, POSITIVE_DURATION


@section("Tenant limits")
class LimitSettings:
    """Retention always holds; the rest only with SERVER_ENFORCE_LIMITS."""

    tenant_retention_period: float = used(
        "SERVER_LIMITS_DEFAULT_TENANT_RETENTION_PERIOD",
        "runtime.limits.defaultTenantRetentionPeriod",
        POSITIVE_DURATION,
        default="720h",
        meaning="Age at which runs and events are dropped.",
    )
    core_partition_retention: float | None = used(
        "SERVER_LIMITS_CORE_PARTITION_RETENTION",
        "runtime.limits.corePartitionRetention",
        OPTIONAL_DURATION,
        default="",
        meaning="The same for the tables the engine works on; empty means the retention period.",
    )
    olap_partition_retention: float | None = ignored(
        "SERVER_LIMITS_OLAP_PARTITION_RETENTION",
        "runtime.limits.olapPartitionRetention",
        OPTIONAL_DURATION,
        default="",
        meaning="The same for Hatchet's copy of runs for its dashboard.",
        reason="there is no second copy of a run",
    )
    task_run_limit: int = later(
        "SERVER_LIMITS_DEFAULT_TASK_RUN_LIMIT",
        "runtime.limits.defaultTaskRunLimit",
        COUNT,
        default="2000",
        meaning="Tasks a tenant may run in one window.",
    )
    task_run_alarm_limit: int = later(
        "SERVER_LIMITS_DEFAULT_TASK_RUN_ALARM_LIMIT",
        "runtime.limits.defaultTaskRunAlarmLimit",
        COUNT,
        default="1600",
        meaning="Number of tasks at which the tenant is warned.",
    )
    task_run_window: float = later(
        "SERVER_LIMITS_DEFAULT_TASK_RUN_WINDOW",
        "runtime.limits.defaultTaskRunWindow",
        POSITIVE_DURATION,
        default="24h",
        meaning="Length of that window.",
    )
    worker_limit: int = later(
        "SERVER_LIMITS_DEFAULT_WORKER_LIMIT",
        "runtime.limits.defaultWorkerLimit",
        COUNT,
        default="3",
        meaning="Workers a tenant may connect.",
    )
    worker_alarm_limit: int = later(
        "SERVER_LIMITS_DEFAULT_WORKER_ALARM_LIMIT",
        "runtime.limits.defaultWorkerAlarmLimit",
        COUNT,
        default="2",
        meaning="Number of workers at which the tenant is warned.",
    )
    worker_slot_limit: int = later(
        "SERVER_LIMITS_DEFAULT_WORKER_SLOT_LIMIT",
        "runtime.limits.defaultWorkerSlotLimit",
        COUNT,
        default="2000",
        meaning="Slots of all workers of a tenant together.",
    )
    worker_slot_alarm_limit: int = later(
        "SERVER_LIMITS_DEFAULT_WORKER_SLOT_ALARM_LIMIT",
        "runtime.limits.defaultWorkerSlotAlarmLimit",
        COUNT,
        default="1600",
        meaning="Number of slots at which the tenant is warned.",
    )
    event_limit: int = later(
        "SERVER_LIMITS_DEFAULT_EVENT_LIMIT",
        "runtime.limits.defaultEventLimit",
        COUNT,
        default="1000",
        meaning="Events a tenant may push in one window.",
    )
    event_alarm_limit: int = later(
        "SERVER_LIMITS_DEFAULT_EVENT_ALARM_LIMIT",
        "runtime.limits.defaultEventAlarmLimit",
        COUNT,
        default="800",
        meaning="Number of events at which the tenant is warned.",
    )
    event_window: float = later(
        "SERVER_LIMITS_DEFAULT_EVENT_WINDOW",
        "runtime.limits.defaultEventWindow",
        POSITIVE_DURATION,
        default="24h",
        meaning="Length of that window.",
    )
    incoming_webhook_limit: int = later(
        "SERVER_LIMITS_DEFAULT_INCOMING_WEBHOOK_LIMIT",
        "runtime.limits.defaultIncomingWebhookLimit",
        COUNT,
        default="5",
        meaning="Incoming webhooks a tenant may have.",
    )
