"""The chart renders over a matrix of values to objects that Kubernetes takes, and refuses wrong values."""

from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest

from tests.deploy.chart import CHART, EXTERNAL, HA, KUBERNETES, Helm, Object, Refused, merged
from tests.deploy.custom_resources import SCHEMAS
from tests.deploy.matrix import MATRIX, of_parts

SECURITY = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


CHARTS = pytest.mark.parametrize("chart", [CHART, HA], ids=lambda path: path.name)


def of_chart(chart: Path, name: str) -> Object:
    """Values of the matrix for a chart."""
    return of_parts(MATRIX[name]) if chart == HA else MATRIX[name]


@CHARTS
@pytest.mark.parametrize("name", ["nothing", "external", "everything", "no shared values"])
def test_lint_strict_finds_nothing(helm: Helm, chart: Path, name: str) -> None:
    values = of_chart(chart, name)
    helm.run("lint", "--strict", "--kube-version", KUBERNETES, str(chart), values=values)


@CHARTS
@pytest.mark.parametrize(
    ("name", "flags"),
    [*((name, ()) for name in MATRIX), ("nothing", ("--is-upgrade",)), ("trial with all", ("--is-upgrade",))],
)
def test_objects_of_every_values_file_are_valid(
    helm: Helm, chart: Path, name: str, flags: tuple[str, ...]
) -> None:
    rendered = helm.template(of_chart(chart, name), *flags, chart=chart)
    seen = set()
    for one in rendered.objects:
        kind, metadata = one["kind"], one["metadata"]
        assert metadata["namespace"] == "jobs", f"{kind} {metadata['name']} has no namespace"
        assert (kind, metadata["name"]) not in seen
        seen.add((kind, metadata["name"]))
        if kind in SCHEMAS:
            jsonschema.validate(one, SCHEMAS[kind])
        else:
            kubernetes_validate.validate(one, "1.32", strict=True)
    for name_of, pod in rendered.pods():
        context = pod["securityContext"]
        assert context["runAsNonRoot"] is True, name_of
        assert context["runAsUser"] > 0, name_of
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in [*pod.get("initContainers", []), *pod["containers"]]:
            assert container["securityContext"] == SECURITY, name_of
            assert container["resources"]["limits"]["memory"]
            named = [one["name"] for one in container.get("env", [])]
            assert len(named) == len(set(named)), f"{name_of} has a variable twice"
            mounted = {mount["name"] for mount in container["volumeMounts"]}
            claims = {"data"} if name_of == f"{chart.name}-postgres" else set()
            assert mounted <= {volume["name"] for volume in pod["volumes"]} | claims


def wrong(*path: str, value: Any) -> Object:
    """Values with one value at a path."""
    result: Any = value
    for key in reversed(path):
        result = {key: result}
    found: Object = result
    return found


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (wrong("otel", "collectorURL", value="http://collector:4317"), "collectorURL"),
        (wrong("otel", "collectorURL", value="collector"), "collectorURL"),
        (wrong("otel", "collectorURL", value="::1:4317"), "collectorURL"),
        (wrong("otel", "traceIdRatio", value=1.5), "traceIdRatio"),
        (wrong("otel", "traceIdRatio", value="half"), "traceIdRatio"),
        (wrong("otel", "collectorUrl", value="collector:4317"), "collectorUrl"),
        (wrong("otel", "insecure", value="yes"), "insecure"),
        (wrong("otel", "serviceName", "worker", value="w"), "worker"),
        (wrong("sharedConfig", "env", value=["A=B"]), "env"),
        (wrong("sharedConfig", "env", "A", value=["x"]), "env"),
        (wrong("sharedConfig", "env", "A", value={"value": "x"}), "env"),
        (wrong("sharedConfig", "serverUrl", value="localhost:8080"), "serverUrl"),
        (wrong("sharedConfig", "grpcBroadcastAddress", value="https://engine:443"), "grpcBroadcastAddress"),
        (wrong("sharedConfig", "grpcInsecure", value="maybe"), "grpcInsecure"),
        (wrong("engine", "replicaCount", value="2"), "replicaCount"),
        (wrong("engine", "env", "9A", value="x"), "9A"),
        (wrong("engine", "deploymentEnvFrom", value=[{"secretRef": "name"}]), "secretRef"),
        (wrong("api", "service", "port", value=70000), "port"),
        (wrong("api", "autoscaling", "maxReplica", value=3), "maxReplica"),
        (wrong("api", "workerTokenJob", "days", value=0), "days"),
        (wrong("api", "quickstartJob", "secretName", value="Not A Name"), "secretName"),
        (wrong("api", "podDisruptionBudget", "maxUnavailable", value="half"), "maxUnavailable"),
        (wrong("postgres", "persistence", "size", value="8 GB"), "size"),
        (wrong("prometheus", "serviceMonitor", "interval", value="often"), "interval"),
        (wrong("image", "pullPolicy", value="Sometimes"), "pullPolicy"),
        (wrong("networkPolicy", "enable", value=True), "enable"),
    ],
    ids=lambda value: value if isinstance(value, str) else ".".join(_path(value)),
)
def test_schema_refuses_wrong_value_and_names_it(helm: Helm, values: Object, said: str) -> None:
    with pytest.raises(Refused, match="don't meet the specifications of the schema") as refusal:
        helm.template(values)
    assert said in str(refusal.value)


def _path(values: Any) -> list[str]:
    if not isinstance(values, dict):
        return [str(values)]
    return [part for key, value in values.items() for part in (key, *_path(value))]


@pytest.mark.parametrize(
    "url", ["", "collector:4317", "10.0.0.1:4317", "[::1]:4317", "otel.monitoring.svc.cluster.local:4317"]
)
def test_schema_accepts_collector_addresses(helm: Helm, url: str) -> None:
    helm.template({"otel": {"collectorURL": url}})


@pytest.mark.parametrize("service", ["engine", "api"])
def test_rendering_without_any_database_is_refused(helm: Helm, service: str) -> None:
    other = {"engine": "api", "api": "engine"}[service]
    values = merged(
        {"postgres": {"enabled": False}}, {other: {"env": {"DATABASE_URL": "postgres://u:p@h/d"}}}
    )
    with pytest.raises(Refused, match=f"{service} has no database: set DATABASE_URL"):
        helm.template(values)


@pytest.mark.parametrize(
    "service_values",
    [
        {"env": {"DATABASE_POSTGRES_HOST": "db"}},
        {"deploymentEnvFrom": [{"secretRef": {"name": "database"}}]},
    ],
    ids=["parts", "secret"],
)
def test_rendering_with_a_service_s_own_database_is_fine(helm: Helm, service_values: Object) -> None:
    helm.template({"postgres": {"enabled": False}, "engine": service_values, "api": service_values})


def test_old_kubernetes_is_refused(helm: Helm) -> None:
    with pytest.raises(Refused, match="incompatible with Kubernetes"):
        helm.run("template", "x", str(CHART), "--kube-version", "1.26.0", values=EXTERNAL)
