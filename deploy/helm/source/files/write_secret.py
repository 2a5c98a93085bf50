"""Run by the chart's set-up jobs: make keysets or a worker's token, and keep them in a Secret.

    keys  SECRET                                  keysets and cookie secrets; what is there already is kept
    token SECRET DAYS RENEW_BEFORE_DAYS ADDRESS   a worker's token; one that lasts long enough is kept

Nothing secret is printed. Only the standard library and the `broadaxe` command are used.
"""

import base64
import json
import os
import secrets
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

KEYSETS = (
    "SERVER_ENCRYPTION_MASTER_KEYSET",
    "SERVER_ENCRYPTION_JWT_PRIVATE_KEYSET",
    "SERVER_ENCRYPTION_JWT_PUBLIC_KEYSET",
)
COOKIES = "SERVER_AUTH_COOKIE_SECRETS"
TOKEN = "HATCHET_CLIENT_TOKEN"
DAY = 86400


class Failed(Exception):
    """The job cannot do its work; the message says why in one line."""


class SecretStore:
    """Secrets of the pod's own namespace, through the Kubernetes API."""

    def __init__(self) -> None:
        account = Path(os.environ.get("SERVICE_ACCOUNT_DIR", "/var/run/secrets/kubernetes.io/serviceaccount"))
        host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
        host = f"[{host}]" if ":" in host else host
        namespace = (account / "namespace").read_text().strip()
        self._url = f"https://{host}:{port}/api/v1/namespaces/{namespace}/secrets"
        self._token = (account / "token").read_text().strip()
        self._tls = ssl.create_default_context(cafile=str(account / "ca.crt"))

    def _call(self, method: str, name: str = "", body: object = None, kind: str = "application/json") -> dict:
        request = urllib.request.Request(
            self._url + (f"/{name}" if name else ""),
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self._token}", "Content-Type": kind},
        )
        with urllib.request.urlopen(request, timeout=30, context=self._tls) as reply:
            return json.load(reply)

    def read(self, name: str) -> "dict[str, str] | None":
        """The Secret's texts; None when there is no such Secret."""
        try:
            data = self._call("GET", name).get("data") or {}
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise
        return {key: base64.b64decode(value).decode() for key, value in data.items()}

    def write(self, name: str, texts: "dict[str, str]", there: bool) -> None:
        """Make the Secret, or add to the one that is there."""
        data = {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()}
        if there:
            self._call("PATCH", name, {"data": data}, "application/merge-patch+json")
        else:
            secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "type": "Opaque"}
            self._call("POST", "", {**secret, "data": data})


def broadaxe(*arguments: str) -> str:
    """What the command prints."""
    done = subprocess.run(["broadaxe", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Failed(f"broadaxe {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout.strip()


def missing_keys(there: "dict[str, str]") -> "dict[str, str]":
    """What is to be added to a Secret of keys. Keysets belong together: some of them are worse than none."""
    found = [name for name in KEYSETS if there.get(name)]
    if found and len(found) < len(KEYSETS):
        absent = ", ".join(sorted(set(KEYSETS) - set(found)))
        raise Failed(f"the Secret has some keysets, but not {absent}: restore it, or delete it for new keys")
    added = {} if found else dict(line.split("=", 1) for line in broadaxe("keys", "create").splitlines())
    if not there.get(COOKIES):
        added[COOKIES] = f"{secrets.token_hex(16)} {secrets.token_hex(16)}"
    return added


def lasts_until(token: str) -> float:
    """When a token ends, in seconds since 1970; 0 for what is no token."""
    try:
        body = token.split(".")[1]
        return float(json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))["exp"])
    except (IndexError, KeyError, TypeError, ValueError):
        return 0.0


def missing_token(there: "dict[str, str]", days: int, renew: int, address: str) -> "dict[str, str]":
    """What is to be added to a worker's Secret."""
    if lasts_until(there.get(TOKEN, "")) > time.time() + renew * DAY:
        return {}
    plaintext = os.environ.get("SERVER_GRPC_INSECURE", "").lower() in ("true", "t", "1")
    added = {
        TOKEN: broadaxe("token", "create", "--name", "worker", "--days", str(days)),
        "HATCHET_CLIENT_TLS_STRATEGY": "none"
        if plaintext
        else os.environ.get("SERVER_TLS_STRATEGY") or "tls",
    }
    if plaintext:
        # The token's own address is the one for outside; with TLS the certificate may not name this one.
        added["HATCHET_CLIENT_HOST_PORT"] = address
    return added


def main(arguments: "list[str]") -> int:
    """The exit code."""
    task, name = arguments[:2]
    store = SecretStore()
    try:
        there = store.read(name)
        if task == "keys":
            added = missing_keys(there or {})
        else:
            days, renew, address = arguments[2:]
            added = missing_token(there or {}, int(days), int(renew), address)
        if added:
            store.write(name, added, there is not None)
    except (Failed, OSError) as error:
        print(f"{task}: {error}", file=sys.stderr)
        return 1
    print(f"{task}: Secret {name} {'has new: ' + ', '.join(sorted(added)) if added else 'is kept as it is'}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
