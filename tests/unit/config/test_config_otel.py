"""Every setting of the page on traces of the services: its default, its good and its bad values."""

import logging
from pathlib import Path

import pytest

from broadaxe.app.telemetry import set_up_logs, telemetry_options
from broadaxe.config import SettingsError, load_settings


def test_otel_unset_is_off_with_the_defaults_of_the_page() -> None:
    otel = load_settings({}).settings.otel
    assert otel.collector_url == ""
    assert otel.service_name == "server"
    assert otel.trace_id_ratio == 1.0
    assert otel.insecure is False
    assert otel.collector_auth == ""
    assert otel.metrics_enabled is False
    assert otel.propagate_to_workers is True


def test_otel_environment_sets_each() -> None:
    settings = load_settings(
        {
            "SERVER_OTEL_COLLECTOR_URL": "[::1]:4317",
            "SERVER_OTEL_SERVICE_NAME": "hatchet-engine",
            "SERVER_OTEL_TRACE_ID_RATIO": "0.25",
            "SERVER_OTEL_INSECURE": "t",
            "SERVER_OTEL_COLLECTOR_AUTH": "Bearer  a=b, c ",
            "SERVER_OTEL_METRICS_ENABLED": "1",
            "SERVER_OTEL_PROPAGATE_TO_WORKERS": "false",
            "K8S_POD_NAME": "pod-1",
            "K8S_POD_NAMESPACE": "ns-1",
        }
    ).settings
    otel = settings.otel
    assert otel.collector_url == "[::1]:4317"
    assert otel.service_name == "hatchet-engine"
    assert otel.trace_id_ratio == 0.25
    assert otel.insecure
    assert otel.collector_auth == "Bearer  a=b, c "
    assert otel.metrics_enabled
    assert not otel.propagate_to_workers
    assert (otel.pod_name, settings.pod_namespace) == ("pod-1", "ns-1")


def test_otel_yaml_sets_each(tmp_path: Path) -> None:
    (tmp_path / "server.yaml").write_text(
        "otel:\n  collectorURL: otel:4317\n  serviceName: engine\n  traceIdRatio: 0\n  insecure: true\n"
        "  collectorAuth: Basic abc\n  metricsEnabled: true\n  propagateToWorkers: false\n"
    )
    otel = load_settings({}, config_dir=tmp_path).settings.otel
    assert (otel.collector_url, otel.service_name, otel.trace_id_ratio) == ("otel:4317", "engine", 0.0)
    assert (otel.insecure, otel.collector_auth, otel.metrics_enabled) == (True, "Basic abc", True)
    assert not otel.propagate_to_workers


@pytest.mark.parametrize("ratio", ["-0.1", "1.1", "nan", "inf", "half", "50%", "0,5"])
def test_otel_bad_ratio_is_one_line_naming_the_variable(ratio: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings({"SERVER_OTEL_TRACE_ID_RATIO": ratio})
    (line,) = caught.value.lines
    assert line.startswith(f'SERVER_OTEL_TRACE_ID_RATIO (environment): "{ratio}" is not allowed')
    assert line.endswith("allowed: a number from 0 to 1")


@pytest.mark.parametrize(
    "url",
    ["http://otel:4317", "https://otel:4317", "otel", "otel:", "otel:0", "otel:70000", "::1:4317", ":4317"],
)
def test_otel_bad_collector_address_is_one_line_naming_the_variable(url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings({"SERVER_OTEL_COLLECTOR_URL": url})
    (line,) = caught.value.lines
    assert line.startswith(f'SERVER_OTEL_COLLECTOR_URL (environment): "{url}" is not allowed')
    assert "host:port without a scheme" in line


@pytest.mark.parametrize("name", ["INSECURE", "METRICS_ENABLED", "PROPAGATE_TO_WORKERS"])
def test_otel_bad_switch_is_one_line_naming_the_variable(name: str) -> None:
    with pytest.raises(SettingsError, match=f"^SERVER_OTEL_{name} .environment.: "):
        load_settings({f"SERVER_OTEL_{name}": "maybe"})


def test_otel_standard_variables_neither_turn_it_on_nor_name_it() -> None:
    otel = load_settings(
        {
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://other:4317",
            "OTEL_SERVICE_NAME": "other",
            "OTEL_TRACES_SAMPLER": "always_off",
            "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
        }
    ).settings.otel
    assert otel.collector_url == ""
    assert otel.service_name == "server"
    assert otel.compression == "gzip"


def test_otel_environment_reaches_the_exporter() -> None:
    loaded = load_settings(
        {
            "OTEL_BSP_MAX_QUEUE_SIZE": "100",
            "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "300",
            "OTEL_BSP_SCHEDULE_DELAY": "200",
            "OTEL_BSP_EXPORT_TIMEOUT": "4000",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "3000",
            "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
            "OTEL_METRIC_EXPORT_INTERVAL": "7000",
            "OTEL_METRIC_EXPORT_TIMEOUT": "6000",
            "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=a%20b,k=v,broken,=x",
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://elsewhere:4317",
            "OTEL_SERVICE_NAME": "injected",
            "OTEL_TRACES_SAMPLER": "always_off",
            "OTEL_SDK_DISABLED": "true",
        }
    )
    options = telemetry_options(loaded.settings, "engine")
    tuning = options.tuning
    assert (options.collector_url, options.service_name, options.ratio) == ("", "server", 1.0)
    assert (tuning.queue_size, tuning.batch_size, tuning.delay) == (100, 100, 0.2)
    assert (tuning.export_timeout, tuning.call_timeout, tuning.gzip) == (4.0, 3.0, True)
    assert (tuning.metric_interval, tuning.metric_timeout) == (7.0, 6.0)
    assert tuning.resource_attributes == {"deployment.environment.name": "a b", "k": "v"}


@pytest.mark.parametrize("name", ["CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY"])
def test_otel_bad_certificate_file_is_a_settings_error(name: str, tmp_path: Path) -> None:
    variable = f"OTEL_EXPORTER_OTLP_{name}"
    (tmp_path / "text.pem").write_text("no PEM")
    for path in (tmp_path / "nowhere.pem", tmp_path / "text.pem"):
        with pytest.raises(SettingsError, match=variable):
            telemetry_options(load_settings({variable: str(path)}).settings, "engine")


def test_log_levels_of_parts_count_when_given() -> None:
    quiet, scheduler = logging.getLogger("broadaxe.store"), logging.getLogger("broadaxe.engine")
    root = logging.getLogger()
    before, handlers = root.level, list(root.handlers)
    try:
        environ = {"SERVER_ADDITIONAL_LOGGERS_QUEUE_LEVEL": "debug", "DATABASE_LOGGER_LEVEL": "error"}
        set_up_logs(load_settings(environ).settings)
        assert (root.level, scheduler.level, quiet.level) == (logging.WARNING, logging.DEBUG, logging.ERROR)
        set_up_logs(load_settings({}).settings)
        assert (scheduler.level, quiet.level) == (logging.NOTSET, logging.NOTSET)
    finally:
        root.setLevel(before)
        root.handlers[:] = handlers
