"""hatchet-ha: the engine's parts as processes of their own, with the same values as hatchet-stack."""

import re
from typing import Any

import pytest
import yaml

from broadaxe.config.loader import load_settings
from tests.deploy.chart import EXTERNAL, HA, Helm, Object, Refused, Rendered, merged
from tests.deploy.matrix import EVERYTHING, MONITORED, OTEL, PARTS, of_parts

NAMES = {"grpc": "hatchet-grpc", "controllers": "controllers", "scheduler": "scheduler"}
REPLICAS = {"hatchet-grpc": 4, "controllers": 2, "scheduler": 2, "hatchet-ha-api": 2}


@pytest.fixture(scope="module")
def ha(helm: Helm) -> Rendered:
    """The chart on a database outside."""
    return helm.template(EXTERNAL, chart=HA)


def environment(rendered: Rendered, name: str) -> dict[str, str]:
    """What a Deployment's container sees."""
    return rendered.environment(rendered.container("Deployment", name))


def test_each_part_is_a_deployment_of_its_own(ha: Rendered) -> None:
    found = {one["metadata"]["name"]: one["spec"]["replicas"] for one in ha.of("Deployment")}
    assert found == REPLICAS


def test_each_part_runs_its_services_and_no_other(ha: Rendered) -> None:
    services = {part: environment(ha, name)["SERVER_SERVICES"] for part, name in NAMES.items()}
    assert services == {"grpc": "grpc-api", "controllers": "controllers", "scheduler": "scheduler"}
    assert "SERVER_SERVICES" not in environment(ha, "hatchet-ha-api")
    commands = {ha.container("Deployment", name)["command"][1] for name in NAMES.values()}
    assert commands == {"engine"}


def test_clients_reach_grpc_and_only_it(ha: Rendered) -> None:
    assert ha.names("Service") == ["hatchet-grpc", "hatchet-ha-api", "hatchet-ha-frontend"]
    (port,) = ha.find("Service", "hatchet-grpc")["spec"]["ports"]
    assert (port["port"], port["targetPort"]) == (7070, "grpc")
    opened = {
        name: {one["name"] for one in ha.container("Deployment", name)["ports"]} for name in NAMES.values()
    }
    assert opened == {"hatchet-grpc": {"grpc", "health"}, "controllers": {"health"}, "scheduler": {"health"}}
    api = environment(ha, "hatchet-ha-api")
    assert api["SERVER_INTERNAL_CLIENT_INTERNAL_GRPC_BROADCAST_ADDRESS"] == "hatchet-grpc:7070"
    token = ha.container("Job", "hatchet-ha-worker-token")
    assert token["args"][-1] == "hatchet-grpc.jobs.svc:7070"


def test_shared_env_reaches_every_part_and_a_part_s_own_wins(helm: Helm) -> None:
    rendered = helm.template(
        merged(
            EXTERNAL,
            {
                "sharedConfig": {"env": {"SERVER_LOGGER_LEVEL": "info", "SERVER_OTEL_INSECURE": "t"}},
                "scheduler": {"env": {"SERVER_LOGGER_LEVEL": "debug"}},
            },
        ),
        chart=HA,
    )
    levels = {name: environment(rendered, name)["SERVER_LOGGER_LEVEL"] for name in REPLICAS}
    assert levels == dict.fromkeys(REPLICAS, "info") | {"scheduler": "debug"}
    assert {environment(rendered, name)["SERVER_OTEL_INSECURE"] for name in REPLICAS} == {"t"}


def test_each_service_has_a_name_of_its_own_in_traces(helm: Helm) -> None:
    rendered = helm.template(merged(EXTERNAL, OTEL), chart=HA)
    names = {name: environment(rendered, name)["SERVER_OTEL_SERVICE_NAME"] for name in REPLICAS}
    assert names == {
        "hatchet-grpc": "hatchet-grpc",
        "controllers": "hatchet-controllers",
        "scheduler": "hatchet-scheduler",
        "hatchet-ha-api": "hatchet-api",
    }
    urls = {environment(rendered, name)["SERVER_OTEL_COLLECTOR_URL"] for name in REPLICAS}
    assert urls == {"collector.example.com:4317"}


def test_no_change_leaves_clients_without_a_server(ha: Rendered) -> None:
    strategies = {
        one["metadata"]["name"]: one["spec"]["strategy"]["rollingUpdate"] for one in ha.of("Deployment")
    }
    assert all(strategy == {"maxSurge": 1, "maxUnavailable": 0} for strategy in strategies.values())


def test_each_service_has_a_budget_and_can_have_an_autoscaler(helm: Helm, ha: Rendered) -> None:
    assert ha.names("PodDisruptionBudget") == sorted(REPLICAS)
    assert ha.of("HorizontalPodAutoscaler") == []
    scaled = helm.template(
        merged(EXTERNAL, {part: {"autoscaling": {"enabled": True}} for part in (*PARTS, "api")}), chart=HA
    )
    assert scaled.names("HorizontalPodAutoscaler") == sorted(REPLICAS)
    assert all("replicas" not in one["spec"] for one in scaled.of("Deployment"))


def test_network_policy_opens_no_port_of_parts_that_have_no_callers(helm: Helm) -> None:
    values = merged(EXTERNAL, {"networkPolicy": {"enabled": True, "engineFrom": [{"namespaceSelector": {}}]}})
    rendered = helm.template(values, chart=HA)
    for name in ("controllers", "scheduler"):
        assert rendered.find("NetworkPolicy", name)["spec"]["ingress"] == []
    (rule,) = rendered.find("NetworkPolicy", "hatchet-grpc")["spec"]["ingress"]
    assert rule["ports"] == [{"port": "grpc"}]
    assert len(rule["from"]) == 2


def test_every_service_is_monitored(helm: Helm) -> None:
    rendered = helm.template(merged(EXTERNAL, MONITORED), chart=HA)
    assert rendered.names("ServiceMonitor") == sorted(REPLICAS)
    assert rendered.names("PrometheusRule") == ["hatchet-ha"]


@pytest.mark.parametrize("values", [EXTERNAL, of_parts(EVERYTHING)], ids=["external", "everything"])
def test_broadaxe_reads_the_environment_of_every_part(helm: Helm, values: Object) -> None:
    rendered = helm.template(values, chart=HA)
    for name in REPLICAS:
        seen: dict[str, Any] = {
            key: re.sub("^field:.*", "pod", value) for key, value in environment(rendered, name).items()
        }
        loaded = load_settings(seen)
        assert [one for one in loaded.warnings if "SERVER_PORT_NAME" not in one] == []
        assert loaded.settings.runtime.healthcheck_port == 8733


@pytest.mark.parametrize("part", PARTS)
def test_part_without_any_database_is_refused(helm: Helm, part: str) -> None:
    own = {one: {"env": {"DATABASE_URL": "postgres://u:p@h/d"}} for one in (*PARTS, "api") if one != part}
    with pytest.raises(Refused, match=f"{part} has no database"):
        helm.template({"postgres": {"enabled": False}, **own}, chart=HA)


def test_schema_refuses_hatchet_stack_s_telemetry_names(helm: Helm) -> None:
    with pytest.raises(Refused, match="engine"):
        helm.template(merged(EXTERNAL, {"otel": {"serviceName": {"engine": "e"}}}), chart=HA)


def test_values_of_both_charts_differ_only_in_the_parts() -> None:
    stack, ha = (
        yaml.safe_load((HA.with_name(name) / "values.yaml").read_text())
        for name in ("hatchet-stack", HA.name)
    )
    assert set(stack) - {"engine"} == set(ha) - set(PARTS)
    assert set(stack["engine"]) == set(ha["grpc"])
    assert set(ha["grpc"]) - set(ha["scheduler"]) == {"service", "ingress"}
