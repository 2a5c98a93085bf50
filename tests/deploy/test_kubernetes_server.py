"""The charts against a real Kubernetes API server: admission, roles, and helm's own way of installing."""

import base64
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.deploy.chart import CHART, HA, Helm, Object
from tests.deploy.kubernetes_server import KubernetesServer, running
from tests.deploy.matrix import MATRIX, of_parts
from tests.judges import NotHere, find

CHARTS = pytest.mark.parametrize("chart", [CHART, HA], ids=lambda path: path.name)
SET_UP = CHART.parent / "source" / "files" / "write_secret.py"
KEYSETS = [f"SERVER_ENCRYPTION_{name}_KEYSET" for name in ("JWT_PRIVATE", "JWT_PUBLIC", "MASTER")]


@pytest.fixture(scope="module")
async def kubernetes(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[KubernetesServer]:
    """The server of this module, with the namespace `jobs`."""
    try:
        program = find("kube-apiserver", build=False)
    except NotHere as reason:
        pytest.skip(str(reason))
    async with running(program, tmp_path_factory.mktemp("k")) as server:
        await server.namespace("jobs")
        yield server


@CHARTS
async def test_every_object_of_every_values_file_is_admitted(
    helm: Helm, kubernetes: KubernetesServer, chart: Path
) -> None:
    """Jobs of the set-up and their roles, too, which helm makes as hooks."""
    said = []
    for name, values in MATRIX.items():
        rendered = helm.template(of_parts(values) if chart == HA else values, chart=chart)
        said += [f"{name}: {text}" for one in rendered.objects if (text := await kubernetes.judge(one))]
    assert not said


async def test_judge_refuses_what_kubernetes_does_not_know(helm: Helm, kubernetes: KubernetesServer) -> None:
    service = helm.template().find("Service", "hatchet-engine")
    service["spec"]["sessionAfinity"] = "ClientIP"
    assert 'unknown field "spec.sessionAfinity"' in await kubernetes.judge(service)


@CHARTS
async def test_helm_installs_upgrades_and_uninstalls(
    helm: Helm, kubernetes: KubernetesServer, chart: Path
) -> None:
    namespace = f"of-{chart.name}"
    await kubernetes.namespace(namespace)
    place = ("--namespace", namespace, "--kubeconfig", str(kubernetes.kubeconfig))
    values = MATRIX["monitored"]
    # Hooks wait for jobs that end, and nothing runs jobs here; the test above has them admitted.
    helm.run("install", "x", str(chart), *place, "--no-hooks", values=values)
    made = await kubernetes.names("Deployment", "apps/v1", namespace)
    parts = ["hatchet-engine"] if chart == CHART else ["controllers", "hatchet-grpc", "scheduler"]
    assert made == sorted([f"{chart.name}-api", *parts])
    await kubernetes.names("ServiceMonitor", "monitoring.coreos.com/v1", namespace)
    helm.run("upgrade", "x", str(chart), *place, "--no-hooks", values=values)
    helm.run("uninstall", "x", *place, "--no-hooks")
    assert await kubernetes.names("Deployment", "apps/v1", namespace) == []


async def test_set_up_may_do_its_work_and_no_more(
    helm: Helm, kubernetes: KubernetesServer, tmp_path: Path
) -> None:
    """Its role, judged by the server's own authorisation."""
    rendered = helm.template()
    for kind in ("ServiceAccount", "Role", "RoleBinding"):
        for one in rendered.of(kind):
            await kubernetes.create(one)
    (account,) = {
        job["spec"]["template"]["spec"].get("serviceAccountName") for job in set_up_jobs(rendered.of("Job"))
    }
    pod = await kubernetes.pod(tmp_path, "jobs", account)
    done = job(pod, "keys", "hatchet-config")
    assert done.returncode == 0, done.stderr
    reply = await kubernetes.client.get("/api/v1/namespaces/jobs/secrets/hatchet-config")
    made = {key: base64.b64decode(text).decode() for key, text in reply.json()["data"].items()}
    assert set(KEYSETS) < made.keys()
    again = job(pod, "keys", "hatchet-config")
    assert (again.returncode, "is kept as it is" in again.stdout) == (0, True), again.stderr
    headers = {"Authorization": f"Bearer {(tmp_path / 'token').read_text()}"}
    for path in ("secrets", "secrets/of-somebody-else", "pods", "configmaps"):
        reply = await kubernetes.client.get(f"/api/v1/namespaces/jobs/{path}", headers=headers)
        assert reply.status_code == 403, path


def set_up_jobs(jobs: list[Object]) -> list[Object]:
    """Those that write Secrets."""
    return [one for one in jobs if one["spec"]["template"]["spec"].get("automountServiceAccountToken")]


def job(pod: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """The set-up program, as the chart gives it to Python."""
    environment = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", **pod}
    environment |= {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}
    return subprocess.run(
        [sys.executable, "-c", SET_UP.read_text(), *arguments],
        env=environment, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
