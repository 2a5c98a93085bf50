"""A small REST client for the `run` commands: token and address from the environment, as SDKs read them."""

import base64
import json
import os
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import Any

TIMEOUT = 30.0
"""Seconds to wait for an answer."""


class ClientError(Exception):
    """The server refused, or could not be reached; the text is for a person."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        """The HTTP status; None without an answer."""


class BadEnvironment(Exception):
    """HATCHET_CLIENT_TOKEN is missing or is no token."""


@dataclass(frozen=True, slots=True)
class Client:
    """Where to call, as whom."""

    url: str
    token: str
    tenant: str

    @classmethod
    def from_environment(cls) -> "Client":
        """Reads HATCHET_CLIENT_TOKEN and, when set, HATCHET_CLIENT_SERVER_URL."""
        token = os.environ.get("HATCHET_CLIENT_TOKEN", "")
        if not token:
            raise BadEnvironment(
                "HATCHET_CLIENT_TOKEN: not set; source the client.env that `broadaxe dev` wrote, "
                "or make a token with `broadaxe token create`"
            )
        try:
            middle = token.split(".")[1]
            claims = json.loads(base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4)))
            tenant = str(claims["sub"])
            url = os.environ.get("HATCHET_CLIENT_SERVER_URL") or str(claims["server_url"])
        except (IndexError, KeyError, TypeError, ValueError):
            raise BadEnvironment("HATCHET_CLIENT_TOKEN: is not an API token") from None
        return cls(url.rstrip("/"), token, tenant)

    def find(self, path: str) -> Any:
        """A GET of something that may not be there: None then. Raises `ClientError` for all else."""
        try:
            return self.call("GET", path)
        except ClientError as error:
            if error.status != 404:
                raise
            return None

    def call(self, method: str, path: str, query: dict[str, Any] | None = None, body: object = None) -> Any:
        """One request; the decoded JSON answer. Raises `ClientError`."""
        url = f"{self.url}{path}"
        pairs = {key: value for key, value in (query or {}).items() if value not in (None, [], ())}
        if pairs:
            url += "?" + urllib.parse.urlencode(pairs, doseq=True)
        request = urllib.request.Request(
            url,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
                return json.loads(response.read() or b"null")
        except urllib.error.HTTPError as error:
            raise ClientError(_description(error), error.code) from None
        except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
            reason = getattr(error, "reason", error)
            raise ClientError(f"cannot reach {self.url}: {reason}") from None


def _description(error: urllib.error.HTTPError) -> str:
    try:
        errors = json.loads(error.read())["errors"]
        return "; ".join(str(one["description"]) for one in errors)
    except (ValueError, KeyError, TypeError):
        return f"the server answered {error.code}"
