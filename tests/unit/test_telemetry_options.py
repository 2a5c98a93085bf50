import pytest

from broadaxe.clock import SystemIds
from broadaxe.telemetry.options import (
    TelemetryOptions,
    check_collector_url,
    check_listen_address,
    check_ratio,
)
from broadaxe.telemetry.resource import build_resource
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


@pytest.mark.parametrize(
    ("field", "named"),
    [
        ("certificate", "OTEL_EXPORTER_OTLP_CERTIFICATE"),
        ("client_certificate", "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"),
        ("client_key", "OTEL_EXPORTER_OTLP_CLIENT_KEY"),
    ],
)
def test_tuning_bad_pem_names_the_variable(field: str, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Tuning(**{field: b"no PEM"})


def test_tuning_client_certificate_without_key_raises() -> None:
    with pytest.raises(ValueError, match="belong together"):
        Tuning(client_certificate=PEM.encode())


def test_resource_has_the_page_and_more() -> None:
    options = TelemetryOptions(
        service_name="hatchet-engine",
        k8s_pod_name="engine-0",
        k8s_namespace="prod",
        tuning=Tuning(resource_attributes={"service.name": "injected", "team": "a"}),
    )
    resource = build_resource(options, SystemIds())
    assert resource["service.name"] == "hatchet-engine"
    assert resource["team"] == "a"
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
