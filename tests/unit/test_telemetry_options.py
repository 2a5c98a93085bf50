from pathlib import Path

import pytest

from broadaxe.clock import SystemIds
from broadaxe.telemetry.options import (
    TelemetryOptions,
    check_collector_url,
    check_listen_address,
    check_ratio,
)
from broadaxe.telemetry.resource import build_resource
from broadaxe.telemetry.runtime import options_with_env
from broadaxe.telemetry.tuning import Tuning, parse_resource_attributes

PEM = """\
-----BEGIN CERTIFICATE-----
MIHJMH2gAwIBAgIBATAFBgMrZXAwDzENMAsGA1UEAwwEdGVzdDAeFw0yMDAxMDEw
MDAwMDBaFw00MDAxMDEwMDAwMDBaMA8xDTALBgNVBAMMBHRlc3QwKjAFBgMrZXAD
IQC0cQczNhERPpubpKaTGb1J0XnYUZ5TsP3aRfnUEn+fejAFBgMrZXADQQDxp/hM
OrZHuU+AlQ2/q4NtnzUPyKPc23iM5vL6XrGqx9EcF3510fpRgG7AT2DIRVerUjPo
OQX98AOQTz1w70YI
-----END CERTIFICATE-----
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("  ", ""),
        ("collector:4317", "collector:4317"),
        (" otel.example.com:65535 ", "otel.example.com:65535"),
        ("10.0.0.1:1", "10.0.0.1:1"),
        ("[::1]:4317", "[::1]:4317"),
        ("otel_collector:4317", "otel_collector:4317"),
    ],
)
def test_check_collector_url_valid_is_returned(text: str, expected: str) -> None:
    assert check_collector_url(text) == expected


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("http://collector:4317", "scheme"),
        ("grpc://collector:4317", "scheme"),
        ("collector", "host:port"),
        ("collector:", "host:port"),
        (":4317", "host:port"),
        ("collector:port", "host:port"),
        ("collector:0", "between 1 and 65535"),
        ("collector:65536", "between 1 and 65535"),
        ("collector:4317/v1", "path"),
        ("::1:4317", "brackets"),
        ("a b:4317", "host:port"),
        ("user@host:4317", "host:port"),
        ("collector:٤٣١٧", "host:port"),
    ],
)
def test_check_collector_url_invalid_raises_one_line(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint) as caught:
        check_collector_url(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("value", "expected"), [(0, 0.0), ("0.25", 0.25), (1, 1.0)])
def test_check_ratio_valid_is_returned(value: float | str, expected: float) -> None:
    assert check_ratio(value) == expected


@pytest.mark.parametrize("value", ["", "half", "nan", "inf", -0.01, 1.01, "1e9"])
def test_check_ratio_invalid_raises_one_line(value: float | str) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        check_ratio(value)


@pytest.mark.parametrize(
    ("text", "expected"), [(":9090", ("", 9090)), ("127.0.0.1:0", ("127.0.0.1", 0)), ("[::1]:9", ("::1", 9))]
)
def test_check_listen_address_valid_is_split(text: str, expected: tuple[str, int]) -> None:
    assert check_listen_address(text) == expected


@pytest.mark.parametrize("text", ["", "9090", "host", ":70000", "http://x:1"])
def test_check_listen_address_invalid_raises(text: str) -> None:
    with pytest.raises(ValueError, match="host:port"):
        check_listen_address(text)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"collector_url": "http://x:1"}, "SERVER_OTEL_COLLECTOR_URL"),
        ({"ratio": 2.0}, "SERVER_OTEL_TRACE_ID_RATIO"),
        ({"auth": "Bearer\nx"}, "SERVER_OTEL_COLLECTOR_AUTH"),
        ({"prometheus_enabled": True, "prometheus_address": "x"}, "SERVER_PROMETHEUS_ADDRESS"),
        ({"prometheus_enabled": True, "prometheus_path": "metrics"}, "SERVER_PROMETHEUS_PATH"),
    ],
)
def test_options_bad_value_names_the_setting(settings: dict, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        TelemetryOptions(**settings)


def test_tuning_env_is_read() -> None:
    tuning = Tuning.from_env(
        {
            "OTEL_BSP_MAX_QUEUE_SIZE": "100",
            "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "10",
            "OTEL_BSP_SCHEDULE_DELAY": "200",
            "OTEL_BSP_EXPORT_TIMEOUT": "4000",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "3000",
            "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
            "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=a%20b,k=v,broken,=x",
        }
    )
    assert (tuning.queue_size, tuning.batch_size, tuning.delay) == (100, 10, 0.2)
    assert (tuning.export_timeout, tuning.call_timeout, tuning.gzip) == (4.0, 3.0, True)
    assert tuning.resource_attributes == {"deployment.environment.name": "a b", "k": "v"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "many"),
        ("OTEL_BSP_EXPORT_TIMEOUT", "-1"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zip"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere/ca.pem"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", pytest.__file__),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", pytest.__file__),
    ],
)
def test_tuning_bad_env_names_the_variable(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=name):
        Tuning.from_env({name: value})


def test_tuning_client_certificate_without_key_raises(tmp_path: Path) -> None:
    certificate = tmp_path / "client.pem"
    certificate.write_text(PEM)
    with pytest.raises(ValueError, match="belong together"):
        Tuning.from_env({"OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": str(certificate)})


def test_tuning_queue_smaller_than_batch_raises() -> None:
    with pytest.raises(ValueError, match="OTEL_BSP_MAX_EXPORT_BATCH_SIZE"):
        Tuning.from_env({"OTEL_BSP_MAX_QUEUE_SIZE": "10", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "20"})


def test_otel_env_never_sets_endpoint_name_sampler_or_switch() -> None:
    options = options_with_env(
        TelemetryOptions(),
        {
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://elsewhere:4317",
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://elsewhere:4317",
            "OTEL_EXPORTER_OTLP_HEADERS": "authorization=x",
            "OTEL_SERVICE_NAME": "injected",
            "OTEL_TRACES_SAMPLER": "always_off",
            "OTEL_TRACES_SAMPLER_ARG": "0",
            "OTEL_SDK_DISABLED": "true",
            "OTEL_RESOURCE_ATTRIBUTES": "service.name=injected,team=a",
        },
    )
    assert (options.target, options.auth, options.ratio) == ("", "", 1.0)
    resource = build_resource(options, SystemIds())
    assert resource["service.name"] == "server"
    assert resource["team"] == "a"


def test_resource_has_the_page_and_more() -> None:
    options = options_with_env(
        TelemetryOptions(service_name="hatchet-engine"),
        {"K8S_POD_NAME": "engine-0", "K8S_POD_NAMESPACE": "prod"},
    )
    resource = build_resource(options, SystemIds())
    assert resource["service.name"] == "hatchet-engine"
    assert resource["library.language"] == "python"
    assert resource["k8s.pod.name"] == "engine-0"
    assert resource["k8s.namespace.name"] == "prod"
    for key in ("service.version", "service.instance.id", "host.name", "process.pid", "telemetry.sdk.name"):
        assert resource[key]


def test_resource_without_kubernetes_has_no_kubernetes_attributes() -> None:
    resource = build_resource(TelemetryOptions(), SystemIds())
    assert not [key for key in resource if key.startswith("k8s.")]


def test_parse_resource_attributes_empty_is_empty() -> None:
    assert parse_resource_attributes("") == {}
