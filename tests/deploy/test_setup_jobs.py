"""The set-up jobs' program, with the real `broadaxe` command, against a Kubernetes API over TLS."""

import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.deploy.chart import CHART, Helm
from tests.deploy.kubernetes_api import FakeKubernetes, serving_pods

PROGRAM = CHART.parent / "source" / "files" / "write_secret.py"
COOKIES = "SERVER_AUTH_COOKIE_SECRETS"
KEYSETS = [f"SERVER_ENCRYPTION_{name}_KEYSET" for name in ("JWT_PRIVATE", "JWT_PUBLIC", "MASTER")]


@dataclass
class Pod:
    """Runs programs as a job's container would."""

    kubernetes: FakeKubernetes
    environment: dict[str, str]

    def run(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """A command of the image."""
        path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
        inherited = {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}
        return subprocess.run(
            arguments,
            env={**inherited, "PATH": path, **self.environment, **more},
            capture_output=True,
            text=True,
            check=False,
        )

    def job(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """The set-up program, as the chart gives it to Python."""
        return self.run(sys.executable, "-c", PROGRAM.read_text(), *arguments, **more)

    def texts(self, name: str) -> dict[str, str]:
        """What a Secret holds."""
        data = self.kubernetes.secrets["jobs", name]["data"]
        return {key: base64.b64decode(value).decode() for key, value in data.items()}

    def put(self, name: str, **texts: str) -> None:
        """Make a Secret beforehand."""
        data = {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()}
        self.kubernetes.secrets["jobs", name] = {"metadata": {"name": name}, "data": data}


@pytest.fixture
def pod(tmp_path: Path) -> Iterator[Pod]:
    """A pod of the namespace `jobs`."""
    with serving_pods(tmp_path, "jobs") as (kubernetes, environment):
        yield Pod(kubernetes, environment)


def test_chart_runs_this_program(helm: Helm) -> None:
    rendered = helm.template()
    for name, task in (("quickstart", "keys"), ("worker-token", "token")):
        container = rendered.container("Job", f"hatchet-stack-{name}-install")
        assert container["command"] == ["python", "-c"]
        assert container["args"][:2] == [PROGRAM.read_text(), task]


def test_keys_without_secret_makes_good_ones_and_prints_none(pod: Pod) -> None:
    done = pod.job("keys", "hatchet-config")
    assert done.returncode == 0, done.stderr
    made = pod.texts("hatchet-config")
    assert sorted(made) == sorted([*KEYSETS, COOKIES])
    checked = pod.run("broadaxe", "config", "check", SERVER_GRPC_INSECURE="t", **made)
    assert checked.returncode == 0, checked.stderr
    assert len(made[COOKIES].split()) == 2
    assert not any(value in done.stdout + done.stderr for value in made.values())


def test_keys_again_changes_nothing(pod: Pod) -> None:
    pod.job("keys", "hatchet-config")
    before = pod.texts("hatchet-config")
    done = pod.job("keys", "hatchet-config")
    assert (done.returncode, pod.texts("hatchet-config")) == (0, before)
    assert "is kept as it is" in done.stdout
    assert pod.kubernetes.calls[2:] == ["GET hatchet-config"]


def test_keys_adds_to_secret_what_is_missing(pod: Pod) -> None:
    pod.put("hatchet-config", OTHER="value", **dict.fromkeys(KEYSETS, "theirs"))
    assert pod.job("keys", "hatchet-config").returncode == 0
    texts = pod.texts("hatchet-config")
    assert texts["OTHER"] == "value"
    assert {texts[name] for name in KEYSETS} == {"theirs"}
    assert texts[COOKIES]


def test_keys_with_some_keysets_fails_and_changes_nothing(pod: Pod) -> None:
    pod.put("hatchet-config", **{KEYSETS[0]: "alone"})
    done = pod.job("keys", "hatchet-config")
    assert done.returncode == 1
    assert KEYSETS[1] in done.stderr
    assert "Traceback" not in done.stderr
    assert pod.texts("hatchet-config") == {KEYSETS[0]: "alone"}


@pytest.mark.parametrize("status", [401, 403, 409, 500])
def test_keys_refused_by_kubernetes_fails_with_one_line(pod: Pod, status: int) -> None:
    pod.kubernetes.refuse = status
    done = pod.job("keys", "hatchet-config")
    assert done.returncode == 1
    assert str(status) in done.stderr
    assert len(done.stderr.splitlines()) == 1


def token(expires: float) -> str:
    """A text shaped like a token."""
    body = base64.urlsafe_b64encode(json.dumps({"exp": expires}).encode()).decode().rstrip("=")
    return f"head.{body}.signature"


def test_token_that_lasts_is_kept(pod: Pod) -> None:
    pod.put("hatchet-client-config", HATCHET_CLIENT_TOKEN=token(time.time() + 70 * 86400))
    done = pod.job("token", "hatchet-client-config", "365", "60", "engine:7070")
    assert done.returncode == 0, done.stderr
    assert pod.kubernetes.calls == ["GET hatchet-client-config"]


async def test_whole_set_up_gives_worker_a_token_that_counts(pod: Pod, database: str) -> None:
    """Keys, tables, tenant, token: in the order of the chart, each with what the one before left."""
    assert pod.job("keys", "hatchet-config").returncode == 0
    settings = {**pod.texts("hatchet-config"), "DATABASE_URL": database, "SERVER_GRPC_INSECURE": "true"}
    for command in ("migrate", "seed"):
        done = pod.run("broadaxe", command, **settings)
        assert done.returncode == 0, done.stderr
    pod.put("hatchet-client-config", HATCHET_CLIENT_TOKEN=token(time.time() + 86400), MINE="kept")
    arguments = ("token", "hatchet-client-config", "365", "60", "hatchet-engine.jobs.svc:7070")
    done = pod.job(*arguments, **settings)
    assert done.returncode == 0, done.stderr
    made = pod.texts("hatchet-client-config")
    assert made["HATCHET_CLIENT_HOST_PORT"] == "hatchet-engine.jobs.svc:7070"
    assert made["HATCHET_CLIENT_TLS_STRATEGY"] == "none"
    assert made["MINE"] == "kept"
    assert made["HATCHET_CLIENT_TOKEN"] not in done.stdout + done.stderr
    listed = json.loads(pod.run("broadaxe", "token", "list", "--json", **settings).stdout)
    assert [(one["name"], one["revoked"]) for one in listed] == [("worker", False)]
    assert "is kept as it is" in pod.job(*arguments, **settings).stdout


async def test_token_without_tenant_fails_and_writes_nothing(pod: Pod, database: str) -> None:
    pod.job("keys", "hatchet-config")
    settings = {**pod.texts("hatchet-config"), "DATABASE_URL": database}
    done = pod.job("token", "hatchet-client-config", "365", "60", "engine:7070", **settings)
    assert done.returncode == 1
    assert ("jobs", "hatchet-client-config") not in pod.kubernetes.secrets
