"""A real Kubernetes API server with its etcd: what it takes, a cluster takes. Nothing runs pods in it."""

import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from broadaxe.testkit.certificates import Authority
from broadaxe.testkit.conditions import until
from broadaxe.testkit.process import ChildProcess
from tests.deploy.chart import Object
from tests.deploy.custom_resources import SCHEMAS
from tests.docs.session import free_port

ADMIN = "token-of-the-administrator"
START = 90.0
"""Seconds it may take to be ready on a busy machine; 5 to 10 on an idle one."""
# Where objects live that are not part of the first API group.
PLURALS = {"NetworkPolicy": "networkpolicies", "Ingress": "ingresses"}


@dataclass(frozen=True, slots=True)
class KubernetesServer:
    """One that runs."""

    folder: Path
    port: int
    client: httpx.AsyncClient

    @property
    def kubeconfig(self) -> Path:
        """How helm reaches it, as its administrator."""
        return self.folder / "kubeconfig"

    async def namespace(self, name: str) -> None:
        """Make one."""
        reply = await self.client.post("/api/v1/namespaces", json={"metadata": {"name": name}})
        assert reply.status_code == 201, reply.text

    async def judge(self, one: Object) -> str:
        """What admission says to an object; empty when it would take it. Unknown fields are faults."""
        reply = await self.client.post(
            path_of(one), json=one, params={"dryRun": "All", "fieldValidation": "Strict"}
        )
        said = reply.json()
        return (
            "" if reply.status_code == 201 else f"{one['kind']} {one['metadata']['name']}: {said['message']}"
        )

    async def create(self, one: Object) -> None:
        """Make an object for good."""
        reply = await self.client.post(path_of(one), json=one, params={"fieldValidation": "Strict"})
        assert reply.status_code == 201, reply.text

    async def names(self, kind: str, version: str, namespace: str) -> list[str]:
        """What there is of a kind."""
        reply = await self.client.get(
            path_of({"kind": kind, "apiVersion": version, "metadata": {"namespace": namespace}})
        )
        assert reply.status_code == 200, reply.text
        return sorted(one["metadata"]["name"] for one in reply.json()["items"])

    async def pod(self, folder: Path, namespace: str, account: str) -> dict[str, str]:
        """What a pod of a service account finds: its files in `folder`, and its variables."""
        reply = await self.client.post(
            f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token", json={"spec": {}}
        )
        assert reply.status_code == 201, reply.text
        (folder / "token").write_text(reply.json()["status"]["token"])
        (folder / "namespace").write_text(namespace)
        (folder / "ca.crt").write_bytes((self.folder / "ca.crt").read_bytes())
        return {
            "SERVICE_ACCOUNT_DIR": str(folder),
            "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT": str(self.port),
        }


def path_of(one: Object) -> str:
    """Where objects of its kind are made."""
    version, kind = one["apiVersion"], one["kind"]
    group = f"/api/{version}" if "/" not in version else f"/apis/{version}"
    plural = PLURALS.get(kind, f"{kind.lower()}s")
    return f"{group}/namespaces/{one['metadata']['namespace']}/{plural}"


@asynccontextmanager
async def running(program: Path, folder: Path) -> AsyncIterator[KubernetesServer]:
    """Start it in a folder of its own (a short path: its etcd listens on sockets there)."""
    authority = Authority.make("cluster")
    files = authority.write(folder)
    (folder / "tokens.csv").write_text(f'{ADMIN},admin,1,"system:masters"\n')
    port = free_port()
    arguments = {
        "secure-port": port,
        "bind-address": "127.0.0.1",
        "advertise-address": "127.0.0.1",
        "endpoint-reconciler-type": "none",
        "tls-cert-file": files["server.crt"],
        "tls-private-key-file": files["server.key"],
        "token-auth-file": folder / "tokens.csv",
        "authorization-mode": "RBAC",
        "service-account-issuer": "https://cluster.example.com",
        "service-account-signing-key-file": files["client.key"],
        "service-account-key-file": files["client.crt"],
        "service-cluster-ip-range": "10.96.0.0/16",
        # Nobody is here who would make each namespace's default account.
        "disable-admission-plugins": "ServiceAccount",
        "v": 0,
    }
    flags = [f"--{name}={value}" for name, value in arguments.items()]
    _write_kubeconfig(folder, port)
    tls = ssl.create_default_context(cafile=str(files["ca.crt"]))
    headers = {"Authorization": f"Bearer {ADMIN}"}
    async with (
        await ChildProcess.start(program, folder, *flags, name="kube-apiserver") as process,
        httpx.AsyncClient(
            base_url=f"https://127.0.0.1:{port}", headers=headers, verify=tls, timeout=30, trust_env=False
        ) as client,
    ):
        server = KubernetesServer(folder, port, client)
        await _ready(process, client)
        await _define_custom_resources(client)
        yield server


async def _ready(process: ChildProcess, client: httpx.AsyncClient) -> None:
    async def ready() -> bool:
        assert process.running, process.output()[-3000:]
        try:
            return (await client.get("/readyz")).status_code == 200
        except httpx.TransportError:
            return False

    await until(ready, "the API server is ready", timeout=START)


def _write_kubeconfig(folder: Path, port: int) -> None:
    address = f"https://127.0.0.1:{port}"
    named: Any = {
        "clusters": {"cluster": {"server": address, "certificate-authority": str(folder / "ca.crt")}},
        "users": {"user": {"token": ADMIN}},
        "contexts": {"context": {"cluster": "one", "user": "one"}},
    }
    parts = {plural: [{"name": "one", **entry}] for plural, entry in named.items()}
    (folder / "kubeconfig").write_text(
        json.dumps({"apiVersion": "v1", "kind": "Config", "current-context": "one", **parts})
    )


async def _define_custom_resources(client: httpx.AsyncClient) -> None:
    """The Prometheus operator's kinds; what is in them is judged by our own schemas."""
    for kind in SCHEMAS:
        plural = f"{kind.lower()}s"
        definition = {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": f"{plural}.monitoring.coreos.com"},
            "spec": {
                "group": "monitoring.coreos.com",
                "scope": "Namespaced",
                "names": {"kind": kind, "plural": plural, "singular": kind.lower()},
                "versions": [
                    {
                        "name": "v1",
                        "served": True,
                        "storage": True,
                        "schema": {
                            "openAPIV3Schema": {
                                "type": "object",
                                "properties": {
                                    "spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
                                },
                            }
                        },
                    }
                ],
            },
        }
        reply = await client.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", json=definition)
        assert reply.status_code == 201, reply.text

        async def served(kind: str = plural) -> bool:
            path = f"/apis/monitoring.coreos.com/v1/namespaces/default/{kind}"
            return (await client.get(path)).status_code == 200

        await until(served, f"{plural} are served", timeout=START)
