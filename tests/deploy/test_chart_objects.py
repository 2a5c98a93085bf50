"""What the chart makes: names, ports, how pods are replaced, who may reach whom, when set-up runs."""

from typing import Any

import pytest

from tests.deploy.chart import EXTERNAL, Helm, Object, Rendered, merged
from tests.deploy.matrix import EVERYTHING, JOBS, MONITORED

HOOK, WEIGHT = "helm.sh/hook", "helm.sh/hook-weight"


@pytest.fixture(scope="module")
def everything(helm: Helm) -> Rendered:
    """The chart with all that it can do."""
    return helm.template(EVERYTHING)


def selects(selector: Object, labels: Object) -> bool:
    """Whether a selector's labels are all there."""
    return selector.items() <= labels.items()


def pod_labels(rendered: Rendered, name: str) -> Object:
    """Labels of a workload's pods."""
    found = next(
        one
        for one in rendered.objects
        if "template" in one.get("spec", {}) and one["metadata"]["name"] == name
    )
    labels: Object = found["spec"]["template"]["metadata"]["labels"]
    return labels


@pytest.mark.parametrize(
    ("service", "workload", "port", "target"),
    [
        ("hatchet-engine", "hatchet-engine", 7070, 7070),
        ("hatchet-stack-api", "hatchet-stack-api", 8080, 8080),
        ("hatchet-stack-frontend", "hatchet-stack-api", 8080, 8080),
        ("hatchet-stack-postgres", "hatchet-stack-postgres", 5432, 5432),
    ],
)
def test_services_have_known_names_and_lead_to_pods(
    default: Rendered, service: str, workload: str, port: int, target: int
) -> None:
    spec = default.find("Service", service)["spec"]
    assert selects(spec["selector"], pod_labels(default, workload))
    (entry,) = spec["ports"]
    pods = next(pod for name, pod in default.pods() if name == workload)
    ports = {one["name"]: one["containerPort"] for one in pods["containers"][0]["ports"]}
    assert (entry["port"], ports[entry["targetPort"]]) == (port, target)


@pytest.mark.parametrize(
    ("values", "plaintext"),
    [
        ({}, True),
        ({"sharedConfig": {"grpcInsecure": "false"}}, False),
        ({"sharedConfig": {"grpcInsecure": True}}, True),
        ({"engine": {"env": {"SERVER_GRPC_INSECURE": "f"}}}, False),
    ],
    ids=str,
)
def test_engine_s_service_says_plaintext_only_when_it_is(helm: Helm, values: Object, plaintext: bool) -> None:
    (port,) = helm.template(values).find("Service", "hatchet-engine")["spec"]["ports"]
    assert port.get("appProtocol") == ("kubernetes.io/h2c" if plaintext else None)


def test_no_service_leads_to_pods_of_another(default: Rendered) -> None:
    workloads = [
        "hatchet-engine",
        "hatchet-stack-api",
        "hatchet-stack-postgres",
        "hatchet-stack-migration-install",
    ]
    for service in default.of("Service"):
        reached = [
            name for name in workloads if selects(service["spec"]["selector"], pod_labels(default, name))
        ]
        assert len(reached) == 1, service["metadata"]["name"]


@pytest.mark.parametrize("name", ["hatchet-engine", "hatchet-stack-api"])
def test_old_pod_stays_until_the_new_one_is_ready(default: Rendered, name: str) -> None:
    spec = default.find("Deployment", name)["spec"]
    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


@pytest.mark.parametrize(
    ("name", "paths"),
    [
        ("hatchet-engine", ("/live", "/live", "/ready")),
        ("hatchet-stack-api", ("/api/live", "/api/live", "/api/ready")),
    ],
)
def test_probes_ask_the_right_paths(default: Rendered, name: str, paths: tuple[str, ...]) -> None:
    container = default.container("Deployment", name)
    probes = [container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")]
    assert tuple(probe["path"] for probe in probes) == paths
    names = {port["name"] for port in container["ports"]}
    assert {probe["port"] for probe in probes} <= names


def test_grace_period_is_longer_than_broadaxe_s_own(default: Rendered) -> None:
    for name, pod in default.pods():
        if name in ("hatchet-engine", "hatchet-stack-api"):
            assert pod["terminationGracePeriodSeconds"] > 30  # SERVER_SHUTDOWN_TIMEOUT
            assert pod["automountServiceAccountToken"] is False


def test_changed_setting_changes_the_pods(helm: Helm) -> None:
    def template(values: Object) -> Object:
        found: Object = helm.template(values).find("Deployment", "hatchet-engine")["spec"]["template"]
        return found

    usual = template({})
    assert template({}) == usual
    assert template({"otel": {"collectorURL": "collector:4317"}}) != usual
    one = template({"sharedConfig": {"env": {"SERVER_OTEL_COLLECTOR_AUTH": "a"}}})
    assert template({"sharedConfig": {"env": {"SERVER_OTEL_COLLECTOR_AUTH": "b"}}}) != one


def test_autoscaler_and_budgets(everything: Rendered) -> None:
    (scaler,) = everything.of("HorizontalPodAutoscaler")
    assert scaler["spec"]["scaleTargetRef"]["name"] == "hatchet-stack-api"
    assert "replicas" not in everything.find("Deployment", "hatchet-stack-api")["spec"]
    assert everything.names("PodDisruptionBudget") == ["hatchet-engine", "hatchet-stack-api"]
    for budget in everything.of("PodDisruptionBudget"):
        name = budget["metadata"]["name"]
        assert selects(budget["spec"]["selector"]["matchLabels"], pod_labels(everything, name))
        assert budget["spec"]["maxUnavailable"] == 1


def test_replicas_spread_over_nodes_unless_told_otherwise(default: Rendered, everything: Rendered) -> None:
    (constraint,) = default.find("Deployment", "hatchet-engine")["spec"]["template"]["spec"][
        "topologySpreadConstraints"
    ]
    assert constraint["topologyKey"] == "kubernetes.io/hostname"
    assert selects(constraint["labelSelector"]["matchLabels"], pod_labels(default, "hatchet-engine"))
    (own,) = everything.find("Deployment", "hatchet-engine")["spec"]["template"]["spec"][
        "topologySpreadConstraints"
    ]
    assert own["topologyKey"] == "topology.kubernetes.io/zone"


def test_network_policies_let_in_who_must(helm: Helm) -> None:
    rendered = helm.template(merged(EVERYTHING, {"postgres": {"enabled": True}}))
    engine = rendered.find("NetworkPolicy", "hatchet-engine")["spec"]
    assert selects(engine["podSelector"]["matchLabels"], pod_labels(rendered, "hatchet-engine"))
    grpc, metrics = engine["ingress"]
    assert grpc["ports"] == [{"port": "grpc"}]
    assert {"namespaceSelector": {}} in grpc["from"]
    # However narrow `engineFrom` is: the API server has to reach the engine.
    assert any(
        selects(
            one.get("podSelector", {"matchLabels": {"": ""}})["matchLabels"],
            pod_labels(rendered, "hatchet-stack-api"),
        )
        for one in grpc["from"]
    )
    assert metrics["ports"] == [{"port": "metrics"}]
    (database,) = rendered.find("NetworkPolicy", "hatchet-stack-postgres")["spec"]["ingress"]
    for name in ("hatchet-engine", "hatchet-stack-api", "hatchet-stack-migration-install"):
        assert any(
            selects(one["podSelector"]["matchLabels"], pod_labels(rendered, name)) for one in database["from"]
        )


def test_service_monitors_find_the_metrics_ports(helm: Helm) -> None:
    rendered = helm.template(MONITORED)
    for name in ("hatchet-engine", "hatchet-stack-api"):
        monitor = rendered.find("ServiceMonitor", name)
        chosen = [
            one
            for one in rendered.of("Service")
            if selects(monitor["spec"]["selector"]["matchLabels"], one["metadata"]["labels"])
        ]
        assert [one["metadata"]["name"] for one in chosen] == [f"{name}-metrics"]
        assert [one["name"] for one in chosen[0]["spec"]["ports"]] == [
            monitor["spec"]["endpoints"][0]["port"]
        ]
        assert chosen[0]["spec"]["publishNotReadyAddresses"] is True
        assert selects(chosen[0]["spec"]["selector"], pod_labels(rendered, name))
        assert monitor["metadata"]["labels"]["release"] == "prometheus"
        environment = rendered.environment(rendered.container("Deployment", name))
        assert environment["SERVER_PROMETHEUS_ADDRESS"] == ":9090"


def test_dashboards_come_as_config_maps(helm: Helm) -> None:
    rendered = helm.template(MONITORED)
    boards = [
        one for one in rendered.of("ConfigMap") if "grafana_dashboard" in one["metadata"].get("labels", {})
    ]
    assert sorted(one["metadata"]["name"].removeprefix("hatchet-stack-dashboard-") for one in boards) == [
        "api", "engine", "postgresql", "telemetry",
    ]  # fmt: skip
    assert all(one["metadata"]["annotations"] == {"grafana_folder": "Broadaxe"} for one in boards)


def test_ingress_leads_to_its_service(everything: Rendered) -> None:
    rules = everything.find("Ingress", "hatchet-engine")["spec"]["rules"]
    assert [(rule["host"], rule["http"]["paths"][0]["path"]) for rule in rules] == [
        ("engine.example.com", "/"), ("b.example.com", "/api"),
    ]  # fmt: skip
    backend = rules[0]["http"]["paths"][0]["backend"]["service"]
    assert backend == {"name": "hatchet-engine", "port": {"name": "grpc"}}


def test_images_take_registry_and_tags(everything: Rendered, default: Rendered) -> None:
    images = {c["image"] for _, pod in everything.pods() for c in pod["containers"]}
    assert images == {
        f"registry.example.com/team/broadaxe-{name}:1.2.3" for name in ("engine", "api", "migrate")
    }
    assert default.container("Deployment", "hatchet-engine")["image"].startswith("broadaxe-engine:")
    assert default.container("StatefulSet", "hatchet-stack-postgres")["image"] == "postgres:18"


# -- set-up -------------------------------------------------------------------------------------------------


def hooks(rendered: Rendered) -> dict[tuple[str, str], Object]:
    """Annotations of what is a hook."""
    return {
        (one["kind"], one["metadata"]["name"]): one["metadata"]["annotations"]
        for one in rendered.objects
        if HOOK in (one["metadata"].get("annotations") or {})
    }


@pytest.mark.parametrize(
    ("values", "flags"),
    [(EXTERNAL, ()), (EXTERNAL, ("--is-upgrade",)), ({}, ("--is-upgrade",))],
    ids=["external install", "external upgrade", "trial upgrade"],
)
def test_set_up_runs_before_the_services_change(helm: Helm, values: Object, flags: tuple[str, ...]) -> None:
    found = hooks(helm.template(values, *flags))
    assert {annotations[HOOK] for annotations in found.values()} == {"pre-install,pre-upgrade"}
    weight = {name: int(annotations[WEIGHT]) for (_, name), annotations in found.items()}
    keys, tables, token = (
        weight[f"hatchet-stack-{job}"] for job in ("quickstart", "migration", "worker-token")
    )
    assert keys < tables < token
    # What the jobs need is there before them, and like them a hook: nothing else exists yet.
    needs = {kind for (kind, name) in found if weight[name] < keys}
    assert needs == {"ServiceAccount", "Role", "RoleBinding", "ConfigMap", "Secret"}
    assert all("before-hook-creation" in one["helm.sh/hook-delete-policy"] for one in found.values())


def test_set_up_of_a_trial_runs_beside_its_database(default: Rendered) -> None:
    assert hooks(default) == {}
    assert default.names("Job") == [
        f"hatchet-stack-{job}-install" for job in ("migration", "quickstart", "worker-token")
    ]
    for name, pod in default.pods():
        if name.endswith("-install"):
            assert pod["restartPolicy"] == "OnFailure"


def test_jobs_need_nothing_that_comes_after_them(helm: Helm) -> None:
    rendered = helm.template(EXTERNAL)
    made = {name for kind, name in hooks(rendered) if kind in ("ConfigMap", "Secret")} | {"hatchet-config"}
    for name, pod in rendered.pods():
        if not name.startswith("hatchet-stack-") or name == "hatchet-stack-api":
            continue
        for container in [*pod.get("initContainers", []), *pod["containers"]]:
            for source in container["envFrom"]:
                reference = source.get("secretRef") or source["configMapRef"]
                assert reference["name"] in made
                # The keys are made by the first job, so only the last one may insist on them.
                if reference["name"] == "hatchet-config":
                    assert reference.get("optional", False) is (name != "hatchet-stack-worker-token")
            for one in container["env"]:
                if "secretKeyRef" in one.get("valueFrom", {}):
                    assert one["valueFrom"]["secretKeyRef"]["name"] in made


def test_tables_are_there_before_the_first_tenant(helm: Helm) -> None:
    pod = helm.template(EXTERNAL).find("Job", "hatchet-stack-migration")["spec"]["template"]["spec"]
    assert [one["command"] for one in pod["initContainers"]] == [["broadaxe", "migrate"]]
    assert [one["command"] for one in pod["containers"]] == [["broadaxe", "seed"]]


@pytest.mark.parametrize(
    ("off", "commands"),
    [("seedJob", [["broadaxe", "migrate"]]), ("migrationJob", [["broadaxe", "seed"]])],
)
def test_migration_and_seed_can_be_left_out_apart(helm: Helm, off: str, commands: list[Any]) -> None:
    rendered = helm.template(merged(EXTERNAL, {"api": {off: {"enabled": False}}}))
    pod = rendered.find("Job", "hatchet-stack-migration")["spec"]["template"]["spec"]
    assert [one["command"] for one in [*pod.get("initContainers", []), *pod["containers"]]] == commands


def test_without_jobs_nothing_of_them_is_left(helm: Helm) -> None:
    rendered = helm.template(merged(EXTERNAL, {"api": {job: {"enabled": False} for job in JOBS}}))
    assert not [one for one in rendered.objects if "setup" in one["metadata"]["name"]]
    assert rendered.of("Job") == rendered.of("Role") == []
    keys = rendered.container("Deployment", "hatchet-engine")["envFrom"][1:]
    assert {"secretRef": {"name": "hatchet-config", "optional": True}} in keys


def test_only_jobs_that_write_secrets_may_talk_to_kubernetes(helm: Helm) -> None:
    rendered = helm.template(EXTERNAL)
    mounted = {name: pod["automountServiceAccountToken"] for name, pod in rendered.pods()}
    assert {name for name, mounts in mounted.items() if mounts} == {
        "hatchet-stack-quickstart", "hatchet-stack-worker-token",
    }  # fmt: skip
    (role,) = rendered.of("Role")
    create, change = role["rules"]
    assert create["verbs"] == ["create"]
    assert change["verbs"] == ["get", "patch"]
    assert change["resourceNames"] == ["hatchet-config", "hatchet-client-config"]
    assert {resource for rule in role["rules"] for resource in rule["resources"]} == {"secrets"}
