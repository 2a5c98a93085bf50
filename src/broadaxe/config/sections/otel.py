"""Export of traces and metrics of the services themselves."""

from broadaxe.config.declare import section, used
from broadaxe.config.kinds import BOOL, COLLECTOR, COMPRESSION, POSITIVE, RATIO, TEXT


@section("Traces and metrics of the services")
class OtelSettings:
    """OpenTelemetry export of Broadaxe's own work. The engine and the API server are configured apart."""

    collector_url: str = used(
        "SERVER_OTEL_COLLECTOR_URL",
        "otel.collectorURL",
        COLLECTOR,
        default="",
        meaning=(
            "OTLP gRPC address of the collector as host:port, without a scheme; empty turns export off."
        ),
    )
    service_name: str = used(
        "SERVER_OTEL_SERVICE_NAME",
        "otel.serviceName",
        TEXT,
        default="server",
        meaning="Value of the resource attribute `service.name`.",
    )
    trace_id_ratio: float = used(
        "SERVER_OTEL_TRACE_ID_RATIO",
        "otel.traceIdRatio",
        RATIO,
        default="1",
        meaning="Share of traces to export, from 0 to 1, decided when a trace begins.",
    )
    insecure: bool = used(
        "SERVER_OTEL_INSECURE",
        "otel.insecure",
        BOOL,
        default="false",
        meaning="Plaintext instead of TLS to the collector.",
    )
    collector_auth: str = used(
        "SERVER_OTEL_COLLECTOR_AUTH",
        "otel.collectorAuth",
        TEXT,
        default="",
        meaning=("Value of the Authorization header sent to the collector, word for word; empty sends none."),
        secret=True,
    )
    metrics_enabled: bool = used(
        "SERVER_OTEL_METRICS_ENABLED",
        "otel.metricsEnabled",
        BOOL,
        default="false",
        meaning="Whether metrics are exported to the same collector.",
    )
    propagate_to_workers: bool = used(
        "SERVER_OTEL_PROPAGATE_TO_WORKERS",
        "otel.propagateToWorkers",
        BOOL,
        default="true",
        meaning=(
            "Whether workers receive the `traceparent` of their task, so that their spans join its trace."
        ),
    )
    pod_name: str = used(
        "K8S_POD_NAME",
        None,
        TEXT,
        default="",
        meaning="Resource attribute `k8s.pod.name`, when set.",
    )
    resource_attributes: str = used(
        "OTEL_RESOURCE_ATTRIBUTES",
        None,
        TEXT,
        default="",
        meaning="More resource attributes, `key=value` with commas between them.",
        lenient=True,
    )
    batch_delay_ms: int = used(
        "OTEL_BSP_SCHEDULE_DELAY",
        None,
        POSITIVE,
        default="500",
        meaning="Longest wait of a span before its batch is sent, in milliseconds.",
        lenient=True,
    )
    batch_export_timeout_ms: int = used(
        "OTEL_BSP_EXPORT_TIMEOUT",
        None,
        POSITIVE,
        default="30000",
        meaning="Time a flush at the end may take, in milliseconds.",
        lenient=True,
    )
    batch_max_queue_size: int = used(
        "OTEL_BSP_MAX_QUEUE_SIZE",
        None,
        POSITIVE,
        default="32768",
        meaning="Spans kept waiting for export; more are dropped and counted.",
        lenient=True,
    )
    batch_max_export_size: int = used(
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
        None,
        POSITIVE,
        default="2048",
        meaning="Spans in one export request.",
        lenient=True,
    )
    export_timeout_ms: int = used(
        "OTEL_EXPORTER_OTLP_TIMEOUT",
        None,
        POSITIVE,
        default="10000",
        meaning="Time one export request may take, in milliseconds.",
        lenient=True,
    )
    compression: str = used(
        "OTEL_EXPORTER_OTLP_COMPRESSION",
        None,
        COMPRESSION,
        default="none",
        meaning="`gzip` or `none` for export requests.",
        lenient=True,
    )
    certificate_file: str = used(
        "OTEL_EXPORTER_OTLP_CERTIFICATE",
        None,
        TEXT,
        default="",
        meaning=(
            "File with the root certificates the collector's certificate must lead to; empty means "
            "those of the system."
        ),
        lenient=True,
    )
    client_certificate_file: str = used(
        "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
        None,
        TEXT,
        default="",
        meaning="File with a client certificate for the collector.",
        lenient=True,
    )
    client_key_file: str = used(
        "OTEL_EXPORTER_OTLP_CLIENT_KEY",
        None,
        TEXT,
        default="",
        meaning="File with the private key of that certificate.",
        lenient=True,
    )
    metric_interval_ms: int = used(
        "OTEL_METRIC_EXPORT_INTERVAL",
        None,
        POSITIVE,
        default="3000",
        meaning="Pause between two exports of metrics, in milliseconds.",
        lenient=True,
    )
    metric_timeout_ms: int = used(
        "OTEL_METRIC_EXPORT_TIMEOUT",
        None,
        POSITIVE,
        default="30000",
        meaning="Time one export of metrics may take, in milliseconds.",
        lenient=True,
    )
