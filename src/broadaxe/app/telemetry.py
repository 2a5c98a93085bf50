"""Telemetry and logs of a process, from its settings."""

import logging
import sys
from pathlib import Path

from broadaxe.clock import Clock, Ids
from broadaxe.config.errors import SettingsError
from broadaxe.config.settings import Settings
from broadaxe.telemetry.logs import LEVELS, configure
from broadaxe.telemetry.options import TelemetryOptions
from broadaxe.telemetry.runtime import Telemetry
from broadaxe.telemetry.tuning import Tuning, parse_resource_attributes


def set_up_logs(settings: Settings) -> None:
    """Logs to standard error; JSON unless a terminal is there or the settings say otherwise."""
    level = settings.logger.level
    match settings.logger.format:
        case "json":
            configure(level, "json")
        case "console":
            configure(level, "console")
        case _:
            configure(level, "console" if sys.stderr.isatty() else "json")
    _set_level(
        settings, "broadaxe.engine", "SERVER_ADDITIONAL_LOGGERS_QUEUE_LEVEL", settings.logger.queue_level
    )
    _set_level(settings, "broadaxe.store", "DATABASE_LOGGER_LEVEL", settings.database.logger_level)


def _set_level(settings: Settings, logger: str, variable: str, level: str) -> None:
    """The level of one part, when it was given; otherwise that of the process counts."""
    given = settings.origin(variable) != "default"
    logging.getLogger(logger).setLevel(LEVELS[level] if given else logging.NOTSET)


def telemetry_options(settings: Settings, role: str) -> TelemetryOptions:
    """The exporter's options; `SettingsError` for a certificate file that cannot be read or is none."""
    try:
        return _telemetry_options(settings, role)
    except ValueError as error:
        name, _, text = str(error).partition(" ")
        raise SettingsError.single(name, text) from None


def _telemetry_options(settings: Settings, role: str) -> TelemetryOptions:
    otel = settings.otel
    return TelemetryOptions(
        collector_url=otel.collector_url,
        service_name=otel.service_name,
        ratio=otel.trace_id_ratio,
        insecure=otel.insecure,
        auth=otel.collector_auth,
        metrics_enabled=otel.metrics_enabled,
        prometheus_enabled=settings.prometheus.enabled,
        prometheus_address=str(settings.prometheus.address),
        prometheus_path=settings.prometheus.path,
        k8s_pod_name=otel.pod_name,
        k8s_namespace=settings.pod_namespace,
        role=role,
        tuning=Tuning(
            queue_size=otel.batch_max_queue_size,
            batch_size=min(otel.batch_max_export_size, otel.batch_max_queue_size),
            delay=otel.batch_delay_ms / 1000,
            export_timeout=otel.batch_export_timeout_ms / 1000,
            call_timeout=otel.export_timeout_ms / 1000,
            metric_interval=otel.metric_interval_ms / 1000,
            metric_timeout=otel.metric_timeout_ms / 1000,
            gzip=otel.compression == "gzip",
            certificate=_pem("OTEL_EXPORTER_OTLP_CERTIFICATE", otel.certificate_file),
            client_certificate=_pem("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", otel.client_certificate_file),
            client_key=_pem("OTEL_EXPORTER_OTLP_CLIENT_KEY", otel.client_key_file),
            resource_attributes=parse_resource_attributes(otel.resource_attributes),
        ),
    )


def _pem(variable: str, path: str) -> bytes | None:
    if not path:
        return None
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise SettingsError.single(variable, f"cannot read {path}: {error.strerror}") from None


def build_telemetry(settings: Settings, role: str, clock: Clock, ids: Ids) -> Telemetry:
    """The telemetry of one process, not started yet."""
    return Telemetry(telemetry_options(settings, role), clock, ids)
