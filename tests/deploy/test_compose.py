"""The compose files: valid, hardened, and each setting in them known."""

import json
import subprocess
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from broadaxe.config.loader import load_settings
from tests.deploy.chart import ROOT
from tests.deploy.dockerfile import lineage, stages, variables

FOLDER = ROOT / "deploy" / "compose"
FILES = {
    path.stem: yaml.safe_load(path.read_text()) for path in (FOLDER / "minimal.yaml", FOLDER / "full.yaml")
}
OURS = ("broadaxe", "keys", "migrate", "engine", "api")
Service = dict[str, Any]


def services() -> Iterator[tuple[str, str, Service]]:
    """Every service with its file's name and its own."""
    for name, document in FILES.items():
        for service, values in document["services"].items():
            yield name, service, values


@pytest.mark.parametrize("name", FILES)
def test_file_follows_the_compose_specification(name: str) -> None:
    # The specification's own schema (Apache-2.0), as the package check-jsonschema carries it.
    vendored = files("check_jsonschema").joinpath("builtin_schemas", "vendor", "compose-spec.json")
    jsonschema.validate(FILES[name], json.loads(vendored.read_text("utf-8")))


@pytest.mark.parametrize("name", FILES)
def test_references_lead_somewhere(name: str) -> None:
    document = FILES[name]
    for service, values in document["services"].items():
        for other, condition in values.get("depends_on", {}).items():
            target = document["services"][other]
            if condition["condition"] == "service_healthy":
                assert "healthcheck" in target
            assert other != service
        for mount in values.get("volumes", []):
            source = mount.split(":")[0]
            if source.startswith("."):
                assert (FOLDER / source).exists(), mount
                assert mount.endswith(":ro")
            else:
                assert source in document["volumes"], mount
        if "build" in values:
            context = (FOLDER / values["build"]["context"]).resolve()
            assert context == ROOT
            assert values["build"]["target"] in stages(context / values["build"]["dockerfile"])
        assert not values["image"].endswith(":latest")
        assert ":" in values["image"]


def test_health_checks_are_what_podman_and_older_docker_know() -> None:
    # `start_interval` needs Docker 25, and podman of Debian 12 refuses the container.
    for _, name, values in services():
        assert values.get("healthcheck", {}).keys() <= {"test", "interval", "start_period"}, name


def test_our_services_are_hardened() -> None:
    for _, name, values in services():
        if name in OURS:
            assert values["read_only"] is True, name
            assert values["cap_drop"] == ["ALL"]
            assert values["security_opt"] == ["no-new-privileges:true"]
            assert "privileged" not in values
            assert "user" not in values


def test_ports_are_open_to_this_machine_only() -> None:
    published = [port for _, _, values in services() for port in values.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def filled(value: Any) -> str:
    """A value as compose would fill it in without variables."""
    text = str(value)
    while "${" in text:
        before, _, rest = text.partition("${")
        inside, _, after = rest.partition("}")
        text = before + inside.partition(":-")[2] + after
    return text


@pytest.mark.parametrize("name", ["engine", "api", "migrate"])
def test_broadaxe_takes_every_setting(name: str) -> None:
    values = FILES["full"]["services"][name]
    environment = {key: filled(value) for key, value in values["environment"].items()}
    environment |= variables(lineage(stages(), name))
    loaded = load_settings(environment)
    assert loaded.warnings == ()  # nothing unknown, nothing without effect
    assert loaded.settings.otel.collector_url == "collector:4317"
    if name == "engine":
        assert loaded.settings.grpc.bind_address == "0.0.0.0"


def test_minimal_file_s_settings_are_taken() -> None:
    values = FILES["minimal"]["services"]["broadaxe"]
    environment = {key: filled(value) for key, value in values["environment"].items()}
    loaded = load_settings({**environment, "SERVER_GRPC_INSECURE": "t"})
    assert loaded.warnings == ()
    assert loaded.settings.otel.collector_url == ""


def test_engine_and_api_have_names_of_their_own_and_share_the_rest() -> None:
    engine, api = (FILES["full"]["services"][name]["environment"] for name in ("engine", "api"))
    assert engine["SERVER_OTEL_SERVICE_NAME"] != api["SERVER_OTEL_SERVICE_NAME"]
    assert engine["DATABASE_URL"] == api["DATABASE_URL"]
    assert api["SERVER_INTERNAL_CLIENT_INTERNAL_GRPC_BROADCAST_ADDRESS"] == "engine:7070"


def test_watchers_find_what_they_watch() -> None:
    """Names and ports in the configuration files are those of services."""
    names = set(FILES["full"]["services"])
    prometheus = yaml.safe_load((FOLDER / "prometheus.yaml").read_text())
    targets = [t for job in prometheus["scrape_configs"] for s in job["static_configs"] for t in s["targets"]]
    sources = yaml.safe_load((FOLDER / "grafana" / "datasources.yaml").read_text())["datasources"]
    collector = yaml.safe_load((FOLDER / "collector.yaml").read_text())
    exporter = collector["exporters"]["otlp/tempo"]["endpoint"]
    hosts = {target.split(":")[0] for target in [*targets, exporter]}
    hosts |= {source["url"].removeprefix("http://").split(":")[0] for source in sources}
    assert hosts == {"engine", "api", "tempo", "prometheus"}
    assert hosts <= names
    assert {target.split(":")[1] for target in targets} == {"9090"}  # SERVER_PROMETHEUS_ADDRESS
    (provider,) = yaml.safe_load((FOLDER / "grafana" / "dashboards.yaml").read_text())["providers"]
    mounts = [mount.split(":")[1] for mount in FILES["full"]["services"]["grafana"]["volumes"]]
    assert provider["options"]["path"] in mounts


def test_promtool_takes_prometheus_configuration(promtool: Path, tmp_path: Path) -> None:
    (tmp_path / "alerts.yaml").write_text((ROOT / "deploy" / "prometheus" / "alerts.yaml").read_text())
    (tmp_path / "prometheus.yaml").write_text((FOLDER / "prometheus.yaml").read_text())
    done = subprocess.run(
        [str(promtool), "check", "config", "--lint=all", "--lint-fatal", str(tmp_path / "prometheus.yaml")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_collector_takes_its_configuration(collector: Path) -> None:
    done = subprocess.run(
        [str(collector), "validate", "--config", f"file:{FOLDER / 'collector.yaml'}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
