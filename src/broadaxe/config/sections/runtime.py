"""Addresses, ports and behaviour of the processes."""

from broadaxe.config.declare import ignored, later, section, used
from broadaxe.config.kinds import (
    BIND,
    BOOL,
    COUNT,
    DURATION,
    HTTP_URL,
    PORT,
    POSITIVE,
    POSITIVE_DURATION,
    RATE,
    SERVICES,
    TEXT,
    WORDS,
)


@section("Addresses and processes")
class RuntimeSettings:
    """Where the processes listen and what they run. Ports may be 0, which means any free port."""

    port: int = used(
        "SERVER_PORT",
        "runtime.port",
        PORT,
        default="8080",
        meaning="Port of the REST API and the dashboard.",
    )
    bind_address: str = used(
        "SERVER_BIND_ADDRESS",
        "runtime.bindAddress",
        BIND,
        default="0.0.0.0",
        meaning="Address the REST API listens on (127.0.0.1 under `broadaxe dev`).",
    )
    url: str = used(
        "SERVER_URL",
        "runtime.url",
        HTTP_URL,
        default="http://localhost:8080",
        meaning=(
            "Public URL of the API. It is written into tokens, for clients to find the API; changing "
            "it voids no token."
        ),
    )
    frontend_url: str = later(
        "SERVER_FRONTEND_URL",
        "runtime.frontendUrl",
        HTTP_URL,
        default="",
        meaning="URL of the dashboard in mails; empty means SERVER_URL.",
    )
    healthcheck: bool = used(
        "SERVER_HEALTHCHECK",
        "runtime.healthcheck",
        BOOL,
        default="true",
        meaning="Whether the engine has a health port with `/live`, `/ready` and `/version`.",
    )
    healthcheck_port: int = used(
        "SERVER_HEALTHCHECK_PORT",
        "runtime.healthcheckPort",
        PORT,
        default="8733",
        meaning="Port of these health answers.",
    )
    healthcheck_bind_address: str = used(
        "SERVER_HEALTHCHECK_BIND_ADDRESS",
        "runtime.healthcheckBindAddress",
        BIND,
        default="0.0.0.0",
        meaning="Address the health port listens on (127.0.0.1 under `broadaxe dev`).",
    )
    services: tuple[str, ...] = used(
        "SERVER_SERVICES",
        "servicesString",
        SERVICES,
        default="all",
        meaning=(
            "Which parts of the engine a process runs: `grpc-api` (the SDKs' port), `scheduler` (decides who "
            "runs what), `controllers` (upkeep of the database). Hatchet's older names are understood."
        ),
    )
    paused_controllers: tuple[str, ...] = later(
        "SERVER_PAUSED_CONTROLLERS",
        "pausedControllers",
        WORDS,
        default="",
        meaning="Background services to leave out.",
    )
    shutdown_wait: float = used(
        "SERVER_SHUTDOWN_WAIT",
        "runtime.shutdownWait",
        DURATION,
        default="0s",
        meaning=(
            "How long a process goes on serving after SIGTERM, told not ready, before it stops: the time in"
            " which balancers notice. A second signal ends it."
        ),
    )
    shutdown_timeout: float = used(
        "SERVER_SHUTDOWN_TIMEOUT",
        "runtime.shutdownTimeout",
        POSITIVE_DURATION,
        default="30s",
        meaning="How long a process may take to stop cleanly after SIGTERM and SERVER_SHUTDOWN_WAIT.",
    )
    version_override: str = used(
        "SERVER_VERSION_OVERRIDE",
        "versionOverride",
        TEXT,
        default="",
        meaning=(
            "Version told to SDKs and on `/api/v1/version`, by which they choose features; empty "
            "means v0.111.0."
        ),
    )
    enable_data_retention: bool = used(
        "SERVER_ENABLE_DATA_RETENTION",
        "enableDataRetention",
        BOOL,
        default="true",
        meaning="Whether runs older than the retention period are dropped.",
    )
    enable_worker_retention: bool = later(
        "SERVER_ENABLE_WORKER_RETENTION",
        "enableWorkerRetention",
        BOOL,
        default="false",
        meaning="Whether rows of long gone workers are dropped.",
    )
    replay_enabled: bool = used(
        "SERVER_REPLAY_ENABLED",
        "runtime.replayEnabled",
        BOOL,
        default="true",
        meaning="Whether runs can be replayed by hand.",
    )
    log_ingestion_enabled: bool = used(
        "SERVER_LOG_INGESTION_ENABLED",
        "runtime.logIngestionEnabled",
        BOOL,
        default="true",
        meaning="Whether log lines of tasks are stored; when off they are taken and dropped.",
    )
    max_internal_retry_count: int = used(
        "SERVER_MAX_INTERNAL_RETRY_COUNT",
        "runtime.maxInternalRetryCount",
        COUNT,
        default="10",
        meaning="How many times a task is reassigned after losing its worker before it fails.",
    )
    workflow_run_buffer_size: int = used(
        "SERVER_WORKFLOW_RUN_BUFFER_SIZE",
        "runtime.workflowRunBufferSize",
        POSITIVE,
        default="1000",
        meaning="Results of runs kept waiting for one slow subscriber.",
    )
    stream_event_buffer_timeout: float = used(
        "SERVER_STREAM_EVENT_BUFFER_TIMEOUT",
        "runtime.streamEventBufferTimeout",
        DURATION,
        default="5s",
        meaning="How long a stream event waits for an earlier one that is missing.",
    )
    disable_tenant_pubs: bool = ignored(
        "SERVER_DISABLE_TENANT_PUBS",
        "runtime.disableTenantPubs",
        BOOL,
        default="false",
        meaning="Switch of Hatchet's message fan-out.",
        reason="messages between replicas are rows in PostgreSQL",
    )
    prevent_tenant_version_upgrade: bool = ignored(
        "SERVER_PREVENT_TENANT_VERSION_UPGRADE",
        "runtime.preventTenantVersionUpgrade",
        BOOL,
        default="false",
        meaning="Keeps a tenant on an old engine generation of Hatchet.",
        reason="there is one generation only",
    )
    operator_infra_blocked_cidrs: tuple[str, ...] = later(
        "SERVER_OPERATOR_INFRA_BLOCKED_CIDRS",
        "runtime.operatorInfraBlockedCIDRsString",
        WORDS,
        default="",
        meaning="Networks that outgoing requests of the engine must not reach.",
    )
    dag_operator_default_slots: int = ignored(
        "SERVER_DAG_OPERATOR_DEFAULT_SLOTS",
        "runtime.dagOperatorDefaultSlots",
        COUNT,
        default="10000",
        meaning="Slots of Hatchet's built-in worker for graphs.",
        reason="steps of a graph are started by the engine itself, without a worker",
    )
    incoming_webhook_rate_limit: float = later(
        "SERVER_INCOMING_WEBHOOK_RATE_LIMIT",
        "runtime.webhookRateLimit",
        RATE,
        default="50",
        meaning="Requests a second that one incoming webhook accepts.",
    )
    incoming_webhook_rate_limit_burst: int = later(
        "SERVER_INCOMING_WEBHOOK_RATE_LIMIT_BURST",
        "runtime.webhookRateLimitBurst",
        COUNT,
        default="100",
        meaning="How far a burst may go above that rate.",
    )


@section("Version check")
class SecurityCheckSettings:
    """Broadaxe never calls home, whatever these say."""

    enabled: bool = ignored(
        "SERVER_SECURITY_CHECK_ENABLED",
        "securityCheck.enabled",
        BOOL,
        default="true",
        meaning="Version check against a server of Hatchet.",
        reason="Broadaxe never calls home",
    )
    endpoint: str = ignored(
        "SERVER_SECURITY_CHECK_ENDPOINT",
        "securityCheck.endpoint",
        TEXT,
        default="",
        meaning="Where that check would ask.",
        reason="Broadaxe never calls home",
    )
