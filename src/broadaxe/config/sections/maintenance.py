"""Settings of Hatchet's inner workings, accepted so that its files start."""

from broadaxe.config.declare import ignored, section
from broadaxe.config.kinds import BOOL, COUNT, DURATION, TEXT


@section("Payload store")
class PayloadStoreSettings:
    """Moving old payloads of Hatchet out of its tables."""

    process_interval: float = ignored(
        "SERVER_PAYLOAD_STORE_EXTERNAL_CUTOVER_PROCESS_INTERVAL",
        "payloadStore.externalCutoverProcessInterval",
        DURATION,
        default="15s",
        meaning="Pause between two passes.",
        reason="payloads stay in PostgreSQL and go with their partition",
    )
    batch_size: int = ignored(
        "SERVER_PAYLOAD_STORE_EXTERNAL_CUTOVER_BATCH_SIZE",
        "payloadStore.externalCutoverBatchSize",
        COUNT,
        default="1000",
        meaning="Payloads in one pass.",
        reason="payloads stay in PostgreSQL and go with their partition",
    )
    num_concurrent_offloads: int = ignored(
        "SERVER_PAYLOAD_STORE_EXTERNAL_CUTOVER_NUM_CONCURRENT_OFFLOADS",
        "payloadStore.externalCutoverNumConcurrentOffloads",
        COUNT,
        default="10",
        meaning="Moves at once.",
        reason="payloads stay in PostgreSQL and go with their partition",
    )
    inline_store_ttl_days: int = ignored(
        "SERVER_PAYLOAD_STORE_INLINE_STORE_TTL_DAYS",
        "payloadStore.inlineStoreTTLDays",
        COUNT,
        default="2",
        meaning="Days before a payload is moved.",
        reason="payloads stay in PostgreSQL and go with their partition",
    )
    enable_window_size_optimization: bool = ignored(
        "SERVER_PAYLOAD_STORE_ENABLE_WINDOW_SIZE_OPTIMIZATION",
        "payloadStore.enableWindowSizeOptimization",
        BOOL,
        default="true",
        meaning="Whether passes find their own size.",
        reason="payloads stay in PostgreSQL and go with their partition",
    )


@section("Background work of Hatchet")
class MaintenanceSettings:
    """Its passes over tenants and its copy of runs for the dashboard."""

    operations_jitter: int = ignored(
        "SERVER_OPERATIONS_JITTER",
        "olap.jitter",
        COUNT,
        default="0",
        meaning="Random pause before a pass, in milliseconds.",
        reason="nothing polls",
    )
    operations_poll_interval: int = ignored(
        "SERVER_OPERATIONS_POLL_INTERVAL",
        "olap.pollInterval",
        COUNT,
        default="2",
        meaning="Seconds between passes.",
        reason="nothing polls",
    )
    task_analyze_cron_interval: float = ignored(
        "SERVER_CRON_OPERATIONS_TASK_ANALYZE_CRON_INTERVAL",
        "cronOperations.taskAnalyzeCronInterval",
        DURATION,
        default="3h",
        meaning="How often table statistics are renewed.",
        reason="PostgreSQL's autovacuum does it",
    )
    olap_analyze_cron_interval: float = ignored(
        "SERVER_CRON_OPERATIONS_OLAP_ANALYZE_CRON_INTERVAL",
        "cronOperations.olapAnalyzeCronInterval",
        DURATION,
        default="3h",
        meaning="The same for the dashboard's tables.",
        reason="PostgreSQL's autovacuum does it",
    )
    dag_batch_size_limit: int = ignored(
        "SERVER_OLAP_STATUS_UPDATE_DAG_BATCH_SIZE_LIMIT",
        "statusUpdates.dagBatchSizeLimit",
        COUNT,
        default="1000",
        meaning="Graphs brought up to date in one pass.",
        reason="there is no second copy of a run",
    )
    task_batch_size_limit: int = ignored(
        "SERVER_OLAP_STATUS_UPDATE_TASK_BATCH_SIZE_LIMIT",
        "statusUpdates.taskBatchSizeLimit",
        COUNT,
        default="1000",
        meaning="Tasks brought up to date in one pass.",
        reason="there is no second copy of a run",
    )
    olap_mq_qos: int = ignored(
        "SERVER_OLAP_MQ_QOS",
        "olap.olapMqQos",
        COUNT,
        default="100",
        meaning="Messages fetched ahead for that copy.",
        reason="there is no second copy of a run",
    )
    buffer_flush_interval: str = ignored(
        "SERVER_DEFAULT_BUFFER_FLUSH_INTERVAL",
        None,
        TEXT,
        default="",
        meaning="How often write buffers are emptied.",
        reason="writes that arrive together share one commit, see SERVER_COMMIT_MAX_BATCH",
    )
    buffer_idle_timeout: str = ignored(
        "SERVER_DEFAULT_BUFFER_IDLE_TIMEOUT",
        None,
        TEXT,
        default="",
        meaning="When an idle write buffer is let go.",
        reason="writes that arrive together share one commit",
    )
    buffer_size: str = ignored(
        "SERVER_DEFAULT_BUFFER_SIZE",
        None,
        TEXT,
        default="",
        meaning="Rows in a write buffer.",
        reason="writes that arrive together share one commit",
    )
    buffer_concurrency: str = ignored(
        "SERVER_DEFAULT_BUFFER_CONCURRENCY",
        None,
        TEXT,
        default="",
        meaning="Write buffers emptied at once.",
        reason="writes that arrive together share one commit",
    )


@section("Container images of Hatchet")
class ImageSettings:
    """Variables that its images read, outside of its settings."""

    lite_static_asset_dir: str = ignored(
        "LITE_STATIC_ASSET_DIR",
        None,
        TEXT,
        default="",
        meaning="Where its dashboard lies.",
        reason="the dashboard is part of the package",
    )
    lite_frontend_port: str = ignored(
        "LITE_FRONTEND_PORT",
        None,
        TEXT,
        default="",
        meaning="Port of its dashboard.",
        reason="dashboard and API share SERVER_PORT",
    )
    lite_runtime_port: str = ignored(
        "LITE_RUNTIME_PORT",
        None,
        TEXT,
        default="",
        meaning="Port of its dashboard and API together.",
        reason="dashboard and API share SERVER_PORT",
    )
    lite_frontend_base_path: str = ignored(
        "LITE_FRONTEND_BASE_PATH",
        None,
        TEXT,
        default="",
        meaning="Path its dashboard lies under.",
        reason="the dashboard lies at the root",
    )
    base_path: str = ignored(
        "BASE_PATH",
        None,
        TEXT,
        default="",
        meaning="The same in its dashboard image.",
        reason="the dashboard lies at the root",
    )
    hostname: str = ignored(
        "HOSTNAME",
        None,
        TEXT,
        default="",
        meaning="Name of the machine.",
        reason="the machine is asked for its name",
    )
