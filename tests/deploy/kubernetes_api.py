"""A Kubernetes API of a few lines: its version, and Secrets that can be read, made and patched."""

import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from broadaxe.testkit.certificates import Authority

KINDS = {
    "v1": ("ConfigMap", "Secret", "Service", "ServiceAccount"),
    "apps/v1": ("Deployment", "StatefulSet"),
    "batch/v1": ("Job",),
    "policy/v1": ("PodDisruptionBudget",),
    "rbac.authorization.k8s.io/v1": ("Role", "RoleBinding"),
}
"""What there is, so that helm can look things up."""


def _resources(version: str) -> Any:
    every = [
        {"name": f"{kind.lower()}s", "singularName": "", "namespaced": True, "kind": kind, "verbs": ["get"]}
        for kind in KINDS[version]
    ]
    return {"kind": "APIResourceList", "groupVersion": version, "resources": every}


def _group(version: str) -> Any:
    one = {"groupVersion": version, "version": "v1"}
    return {"name": version.split("/")[0], "versions": [one], "preferredVersion": one}


DISCOVERY = {
    "version": {"major": "1", "minor": "32", "gitVersion": "v1.32.0"},
    "api": {"kind": "APIVersions", "versions": ["v1"]},
    "apis": {"kind": "APIGroupList", "groups": [_group(version) for version in KINDS if "/" in version]},
    **{(f"apis/{version}" if "/" in version else "api/v1"): _resources(version) for version in KINDS},
}
TOKEN = "service-account-token"


@dataclass
class FakeKubernetes:
    """What the API holds and was asked."""

    port: int
    secrets: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    """By namespace and name."""
    calls: list[str] = field(default_factory=list)
    token: str = ""
    """What a caller must show; empty = nothing."""
    refuse: int = 0
    """An HTTP status for every call on Secrets; 0 = none."""

    def secret_call(self, method: str, namespace: str, name: str, body: Any, headers: Any) -> tuple[int, Any]:
        """Status and answer of a call on Secrets."""
        self.calls.append(f"{method} {name}".strip())
        if self.token and headers["Authorization"] != f"Bearer {self.token}":
            return 401, {"reason": "Unauthorized"}
        if self.refuse:
            return self.refuse, {"reason": "Refused"}
        if method == "POST":
            name = body["metadata"]["name"]
            if (namespace, name) in self.secrets:
                return 409, {"reason": "AlreadyExists"}
            self.secrets[namespace, name] = body
            return 201, body
        found = self.secrets.get((namespace, name))
        if found is None:
            return 404, {"reason": "NotFound"}
        if method == "PATCH":
            assert headers["Content-Type"] == "application/merge-patch+json"
            found["data"] = {**(found.get("data") or {}), **body["data"]}
        return 200, found


@contextmanager
def serving(tls: ssl.SSLContext | None = None) -> Iterator[FakeKubernetes]:
    """Run it on a free port."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            parts = self.path.split("?")[0].strip("/").split("/")
            if "/".join(parts) in DISCOVERY:
                status, reply = 200, DISCOVERY["/".join(parts)]
            elif parts[:3] == ["api", "v1", "namespaces"] and parts[4:5] == ["secrets"]:
                name = parts[5] if len(parts) > 5 else ""
                status, reply = fake.secret_call(self.command, parts[3], name, body, self.headers)
            else:
                status, reply = (
                    404,
                    {"kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404},
                )
            text = json.dumps(reply).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_PATCH = answer

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    fake = FakeKubernetes(server.server_address[1])
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def serving_pods(folder: Path, namespace: str) -> Iterator[tuple[FakeKubernetes, dict[str, str]]]:
    """Run it over TLS as a pod sees it; also the pod's variables."""
    authority = Authority.make("cluster")
    certificate, key = authority.issue("kubernetes")
    for name, text in (("tls.crt", certificate), ("tls.key", key), ("ca.crt", authority.certificate)):
        (folder / name).write_bytes(text)
    (folder / "token").write_text(TOKEN)
    (folder / "namespace").write_text(namespace)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    with serving(tls) as fake:
        yield (
            fake,
            {
                "SERVICE_ACCOUNT_DIR": str(folder),
                "KUBERNETES_SERVICE_HOST": "127.0.0.1",
                "KUBERNETES_SERVICE_PORT": str(fake.port),
            },
        )
