"""Logs, metrics to fetch, and what is kept of users' own traces and runs."""

from broadaxe.config.declare import ignored, later, section, used
from broadaxe.config.kinds import BOOL, FORMAT, HTTP_URL, LEVEL, LISTEN, POSITIVE, RATIO, TEXT, URL_PATH
from broadaxe.config.values import HostPort


@section("Logs")
class LoggerSettings:
    """What is logged, and how."""

    level: str = used(
        "SERVER_LOGGER_LEVEL",
        "logger.level",
        LEVEL,
        default="warn",
        meaning="Least important level that is logged.",
    )
    format: str = used(
        "SERVER_LOGGER_FORMAT",
        "logger.format",
        FORMAT,
        default="",
        meaning="`json` or `console`; empty means console on a terminal and json elsewhere.",
    )
    queue_level: str = used(
        "SERVER_ADDITIONAL_LOGGERS_QUEUE_LEVEL",
        "additionalLoggers.queue.level",
        LEVEL,
        default="warn",
        meaning="Level for the scheduler; SERVER_LOGGER_LEVEL counts unless this is given.",
    )
    queue_format: str = ignored(
        "SERVER_ADDITIONAL_LOGGERS_QUEUE_FORMAT",
        "additionalLoggers.queue.format",
        FORMAT,
        default="",
        meaning="Format of the scheduler's lines.",
        reason="all lines of a process have one format",
    )
    pgxstats_level: str = ignored(
        "SERVER_ADDITIONAL_LOGGERS_PGXSTATS_LEVEL",
        "additionalLoggers.pgxStats.level",
        LEVEL,
        default="warn",
        meaning="Level of Hatchet's pool statistics.",
        reason="the pool is watched by metrics",
    )
    pgxstats_format: str = ignored(
        "SERVER_ADDITIONAL_LOGGERS_PGXSTATS_FORMAT",
        "additionalLoggers.pgxStats.format",
        FORMAT,
        default="",
        meaning="Format of these lines.",
        reason="all lines of a process have one format",
    )


@section("Traces of users")
class ObservabilitySettings:
    """Storing the spans that workers send, for the dashboard."""

    enabled: bool = later(
        "SERVER_OBSERVABILITY_ENABLED",
        "observability.enabled",
        BOOL,
        default="false",
        meaning="Whether the engine takes spans of workers and the API shows them.",
    )
    max_batch_size: int = later(
        "SERVER_OBSERVABILITY_MAX_BATCH_SIZE",
        "observability.maxBatchSize",
        POSITIVE,
        default="1000",
        meaning="Most spans in one request.",
    )


@section("Prometheus")
class PrometheusSettings:
    """Metrics for a Prometheus server to fetch."""

    enabled: bool = used(
        "SERVER_PROMETHEUS_ENABLED",
        "prometheus.enabled",
        BOOL,
        default="false",
        meaning="Whether there is a port to fetch metrics from.",
    )
    address: HostPort = used(
        "SERVER_PROMETHEUS_ADDRESS",
        "prometheus.address",
        LISTEN,
        default=":9090",
        meaning="Address and port it listens on; an empty host means every address.",
    )
    path: str = used(
        "SERVER_PROMETHEUS_PATH",
        "prometheus.path",
        URL_PATH,
        default="/metrics",
        meaning="Path of the metrics there.",
    )
    server_url: str = later(
        "SERVER_PROMETHEUS_SERVER_URL",
        "prometheus.prometheusServerURL",
        HTTP_URL,
        default="",
        meaning="Prometheus server that the API asks for the metrics of a tenant.",
    )
    server_username: str = later(
        "SERVER_PROMETHEUS_SERVER_USERNAME",
        "prometheus.prometheusServerUsername",
        TEXT,
        default="",
        meaning="User name there.",
    )
    server_password: str = later(
        "SERVER_PROMETHEUS_SERVER_PASSWORD",
        "prometheus.prometheusServerPassword",
        TEXT,
        default="",
        meaning="Password there.",
        secret=True,
    )
    tenant_scoped: bool = later(
        "SERVER_PROMETHEUS_SERVER_TENANT_SCOPED",
        "prometheus.tenantScoped",
        BOOL,
        default="false",
        meaning="Whether only tenants with the right to it may ask.",
    )


@section("Sampling of runs")
class SamplingSettings:
    """Which runs the dashboard keeps. It is no sampling of traces."""

    enabled: bool = used(
        "SERVER_SAMPLING_ENABLED",
        "sampling.enabled",
        BOOL,
        default="false",
        meaning="Whether the dashboard keeps a share of runs only.",
    )
    rate: float = used(
        "SERVER_SAMPLING_RATE",
        "sampling.samplingRate",
        RATIO,
        default="1",
        meaning="That share, from 0 to 1.",
    )
