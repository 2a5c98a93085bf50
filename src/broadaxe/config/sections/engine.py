"""Scheduling and the limits of the engine."""

from broadaxe.config.declare import ignored, section, used
from broadaxe.config.kinds import (
    BOOL,
    BYTES,
    COUNT,
    DAYS_AHEAD,
    DURATION,
    LEASE_BY,
    PARTITIONS,
    POSITIVE,
    POSITIVE_DURATION,
)


@section("Engine limits")
class EngineSettings:
    """What the engine holds, batches and waits for."""

    commit_max_batch: int = used(
        "SERVER_COMMIT_MAX_BATCH",
        "engine.commitMaxBatch",
        POSITIVE,
        default="1000",
        meaning="Most operations that share one commit.",
    )
    started_commit_delay: float = used(
        "SERVER_STARTED_COMMIT_DELAY",
        "engine.startedCommitDelay",
        DURATION,
        default="50ms",
        meaning="Longest wait of a STARTED report for a commit it can ride on.",
    )
    queue_max_depth: int = used(
        "SERVER_QUEUE_MAX_DEPTH",
        "engine.queueMaxDepth",
        POSITIVE,
        default="1000000",
        meaning="Most waiting tasks of one queue (an action of a tenant); triggers beyond are answered "
        "RESOURCE_EXHAUSTED. An engine that does not schedule the tenant refuses once it is told of it.",
    )
    hold_max_bytes: int = used(
        "SERVER_HOLD_MAX_BYTES",
        "engine.holdMaxBytes",
        BYTES,
        default="67108864",
        meaning="Most bytes of task events held in memory while the database is away.",
    )
    hold_max_duration: float = used(
        "SERVER_HOLD_MAX_DURATION",
        "engine.holdMaxDuration",
        POSITIVE_DURATION,
        default="5m",
        meaning="Longest time they are held before RESOURCE_EXHAUSTED.",
    )
    trigger_wait: float = used(
        "SERVER_TRIGGER_WAIT",
        "engine.triggerWait",
        DURATION,
        default="2s",
        meaning="How long a trigger or a read waits for an absent database before UNAVAILABLE.",
    )
    partitions_ahead: int = used(
        "SERVER_PARTITIONS_AHEAD",
        "engine.partitionsAhead",
        DAYS_AHEAD,
        default="3",
        meaning="Days for which table partitions are made ahead.",
    )
    tenant_partitions: int = used(
        "SERVER_TENANT_PARTITIONS",
        "engine.tenantPartitions",
        PARTITIONS,
        default="4",
        meaning=(
            "Over how many partitions tenants are spread; engines share these, a tenant is scheduled by one. "
            "A new number counts once no engine with the old one runs."
        ),
    )
    lease_by: str = used(
        "SERVER_LEASE_BY",
        "engine.leaseBy",
        LEASE_BY,
        default="lock",
        meaning=(
            "`lock`: a lease ends with its owner's connection. `time`: SERVER_LEASE_LIFE after its last sign "
            "of life, for a lease connection through a transaction pooler, where no NOTIFY is heard."
        ),
    )
    lease_life: float = used(
        "SERVER_LEASE_LIFE",
        "engine.leaseLife",
        POSITIVE_DURATION,
        default="5s",
        meaning="With SERVER_LEASE_BY=time: silence of an engine after which others take its leases.",
    )
    engine_dead_after: float = used(
        "SERVER_ENGINE_DEAD_AFTER",
        "engine.engineDeadAfter",
        POSITIVE_DURATION,
        default="5s",
        meaning="Silence of an engine after which the sessions of workers at it count as closed.",
    )
    worker_dead_after: float = used(
        "SERVER_WORKER_DEAD_AFTER",
        "engine.workerDeadAfter",
        POSITIVE_DURATION,
        default="30s",
        meaning=(
            "Silence after which a worker counts as dead and its tasks go to others. "
            "The SDKs send a heartbeat every four seconds."
        ),
    )
    worker_silent_after: float = used(
        "SERVER_WORKER_SILENT_AFTER",
        "engine.workerSilentAfter",
        POSITIVE_DURATION,
        default="5s",
        meaning="Silence after which a worker gets no new task.",
    )
    in_doubt_wait: float = used(
        "SERVER_IN_DOUBT_WAIT",
        "engine.inDoubtWait",
        DURATION,
        default="2s",
        meaning=(
            "How long a returning worker is given to report a task that may or may not have reached it."
        ),
    )
    workflow_max_steps: int = used(
        "SERVER_WORKFLOW_MAX_STEPS",
        "engine.workflowMaxSteps",
        POSITIVE,
        default="1000",
        meaning="Most tasks of one workflow; more are refused at registration.",
    )
    workflow_max_waits: int = used(
        "SERVER_WORKFLOW_MAX_WAITS",
        "engine.workflowMaxWaits",
        POSITIVE,
        default="1000",
        meaning="Most sleeps and user events that the conditions of one workflow wait for, all together.",
    )
    run_max_kept_bytes: int = used(
        "SERVER_RUN_MAX_KEPT_BYTES",
        "engine.runMaxKeptBytes",
        BYTES,
        default="1048576",
        meaning="Most bytes of outputs of one run that are kept in memory for the tasks behind them.",
    )


@section("Scheduling")
class SchedulerSettings:
    """Settings of Hatchet's polling scheduler. Broadaxe wakes on events and keeps its queues in memory."""

    concurrency_rate_limit: int = ignored(
        "SCHEDULER_CONCURRENCY_RATE_LIMIT",
        "runtime.schedulerConcurrencyRateLimit",
        COUNT,
        default="20",
        meaning="Passes a second over concurrency rules in Hatchet.",
        reason="concurrency is decided when something changes, not in passes",
    )
    concurrency_polling_min_interval: float = ignored(
        "SCHEDULER_CONCURRENCY_POLLING_MIN_INTERVAL",
        "runtime.schedulerConcurrencyPollingMinInterval",
        DURATION,
        default="500ms",
        meaning="Shortest pause between such passes.",
        reason="nothing polls",
    )
    concurrency_polling_max_interval: float = ignored(
        "SCHEDULER_CONCURRENCY_POLLING_MAX_INTERVAL",
        "runtime.schedulerConcurrencyPollingMaxInterval",
        DURATION,
        default="5s",
        meaning="Longest pause between such passes.",
        reason="nothing polls",
    )
    check_active_min_interval: float = ignored(
        "SCHEDULER_CHECK_ACTIVE_MIN_INTERVAL",
        "runtime.schedulerCheckActiveMinInterval",
        DURATION,
        default="30s",
        meaning="Shortest pause between checks whether a rule is still in use.",
        reason="nothing polls",
    )
    check_active_max_interval: float = ignored(
        "SCHEDULER_CHECK_ACTIVE_MAX_INTERVAL",
        "runtime.schedulerCheckActiveMaxInterval",
        DURATION,
        default="60s",
        meaning="Longest pause between these checks.",
        reason="nothing polls",
    )
    advisory_lock_timeout: float = ignored(
        "SCHEDULER_ADVISORY_LOCK_TIMEOUT",
        "runtime.schedulerAdvisoryLockTimeout",
        DURATION,
        default="5s",
        meaning="Wait for a lock of a concurrency rule in Hatchet.",
        reason="a tenant is scheduled by one process, without such locks",
    )
    concurrency_in_memory_index_enabled: bool = ignored(
        "SERVER_CONCURRENCY_IN_MEMORY_INDEX_ENABLED",
        "runtime.concurrencyInMemoryIndexEnabled",
        BOOL,
        default="true",
        meaning="Whether Hatchet keeps concurrency groups in memory.",
        reason="groups are always kept in memory",
    )
    single_queue_limit: int = ignored(
        "SERVER_SINGLE_QUEUE_LIMIT",
        "runtime.singleQueueLimit",
        COUNT,
        default="100",
        meaning="Rows Hatchet reads in one pass over a queue.",
        reason="queues are kept in memory",
    )
    optimistic_scheduling_enabled: bool = ignored(
        "SERVER_OPTIMISTIC_SCHEDULING_ENABLED",
        "runtime.optimisticSchedulingEnabled",
        BOOL,
        default="true",
        meaning="Whether Hatchet assigns inside the trigger call.",
        reason="a task is assigned in the commit that creates it whenever a slot is free",
    )
    optimistic_scheduling_slots: int = ignored(
        "SERVER_OPTIMISTIC_SCHEDULING_SLOTS",
        "runtime.optimisticSchedulingSlots",
        COUNT,
        default="5",
        meaning="How many of these go at once in Hatchet.",
        reason="work that arrives together shares one commit",
    )
