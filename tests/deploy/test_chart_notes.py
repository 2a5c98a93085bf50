"""What `helm install` says at the end, and what it keeps of the last install; both need an API to ask."""

import base64
from collections.abc import Iterator

import pytest
import yaml

from tests.deploy.chart import CHART, EXTERNAL, Helm, Object, merged
from tests.deploy.kubernetes_api import FakeKubernetes, serving


@pytest.fixture
def kubernetes() -> Iterator[FakeKubernetes]:
    """An API that helm can reach."""
    with serving() as fake:
        yield fake


def install(
    helm: Helm, kubernetes: FakeKubernetes, values: Object, dry_run: str = "client"
) -> tuple[str, str]:
    """Manifest and notes of an install that is only tried."""
    server = f"--kube-apiserver=http://127.0.0.1:{kubernetes.port}"
    flags = (server, "--namespace", "jobs", f"--dry-run={dry_run}", "--disable-openapi-validation")
    text = helm.run("install", "hatchet-stack", str(CHART), *flags, values=values)
    manifest, _, notes = text.partition("\nNOTES:\n")
    return manifest, notes


def warnings(notes: str) -> list[str]:
    """The lines that warn."""
    return [line.removeprefix("WARNING: ") for line in notes.splitlines() if line.startswith("WARNING: ")]


QUIET = merged(EXTERNAL, {"sharedConfig": {"defaultAdminPassword": "better"}})


def test_notes_of_good_values_warn_of_nothing(helm: Helm, kubernetes: FakeKubernetes) -> None:
    _, notes = install(helm, kubernetes, QUIET)
    assert "hatchet-engine:7070" in notes
    assert "hatchet-stack-api:8080" in notes
    assert warnings(notes) == []


@pytest.mark.parametrize(
    ("values", "warned"),
    [
        ({"rabbitmq": {"enabled": True, "auth": {"password": "x"}}}, "rabbitmq.enabled has no effect"),
        ({"caddy": {"enabled": True}}, "caddy.enabled has no effect"),
        (
            {"sharedConfig": {"env": {"SERVER_MSGQUEUE_RABBITMQ_URL": "amqp://x"}}},
            "SERVER_MSGQUEUE_RABBITMQ_URL (engine) has no effect",
        ),
        (
            {"sharedConfig": {"defaultAdminPassword": "Admin123!!"}},
            "the administrator has the default password",
        ),
        ({"postgres": {"enabled": True}}, "postgres.enabled is for a trial"),
        ({"postgres": {"enabled": True}}, "engine uses the database of its env"),
        (
            {"prometheus": {"serviceMonitor": {"enabled": True}}},
            "prometheus.serviceMonitor.enabled has no effect",
        ),
        ({"controllers": {"replicaCount": 2}}, "controllers is not a value of this chart"),
        ({"engine": {"replicas": 2}}, "engine.replicas is not a value of this chart"),
        ({"api": {"workerTokenJob": {"enable": True}}}, "api.workerTokenJob.enable is not a value"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_notes_warn_of_what_has_no_effect(
    helm: Helm, kubernetes: FakeKubernetes, values: Object, warned: str
) -> None:
    _, notes = install(helm, kubernetes, merged(QUIET, values))
    assert [line for line in warnings(notes) if line.startswith(warned)], notes


def test_user_s_own_keys_are_not_warned_of(helm: Helm, kubernetes: FakeKubernetes) -> None:
    values: Object = {
        "engine": {
            "resources": {"limits": {"cpu": "2", "memory": "2Gi"}},
            "podLabels": {"team": "jobs"},
            "env": {"ANY": "thing"},
        },
        "dashboards": {"labels": {"x": "y"}},
        "global": {"anything": True},
        "api": {"service": {"annotations": {"a": "b"}}},
    }
    _, notes = install(helm, kubernetes, merged(QUIET, values))
    assert warnings(notes) == []


def database_password(manifest: str) -> str:
    """The trial database's password in a manifest."""
    text = manifest.partition("MANIFEST:\n")[2]
    objects = [one for one in yaml.load_all(text, Loader=yaml.CSafeLoader) if one]
    secret = next(
        one
        for one in objects
        if (one["kind"], one["metadata"]["name"]) == ("Secret", "hatchet-stack-postgres")
    )
    return base64.b64decode(secret["data"]["password"]).decode()


def test_trial_password_is_made_once_and_kept(helm: Helm, kubernetes: FakeKubernetes) -> None:
    first, second = (database_password(install(helm, kubernetes, {}, "client")[0]) for _ in range(2))
    assert first != second
    assert len(first) == 32
    kept = {
        "apiVersion": "v1",
        "kind": "Secret",
        # Left behind by an uninstall (`helm.sh/resource-policy: keep`), and taken over again.
        "metadata": {
            "name": "hatchet-stack-postgres",
            "namespace": "jobs",
            "labels": {"app.kubernetes.io/managed-by": "Helm"},
            "annotations": {
                "meta.helm.sh/release-name": "hatchet-stack",
                "meta.helm.sh/release-namespace": "jobs",
            },
        },
        "data": {"password": base64.b64encode(b"kept").decode()},
    }
    kubernetes.secrets["jobs", "hatchet-stack-postgres"] = kept
    assert database_password(install(helm, kubernetes, {}, "server")[0]) == "kept"
