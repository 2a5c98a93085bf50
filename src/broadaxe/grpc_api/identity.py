"""Who calls: the protocol that `auth` fulfils, and the checks done before it is asked."""

from collections.abc import Mapping
from typing import Protocol

from broadaxe.auth.tokens import Identity
from broadaxe.domain.errors import Unauthenticated

INVALID_TOKEN = "invalid auth token"
"""The only thing a caller learns about a refused token."""


class Authenticator(Protocol):
    """Checks tokens; asked on every call, so it caches."""

    def known(self, authorization: str) -> Identity | None:
        """The identity behind a value that `authenticate` accepted a moment ago and that still counts; None
        when that has to be asked."""

    async def authenticate(self, authorization: str) -> Identity:
        """The identity behind the whole metadata value, `bearer <token>`; the scheme is in any case.

        Raises `Unauthenticated` for anything but a valid token, and `Unavailable` when that cannot be told
        now: a client gives up on the first and comes back after the second.
        """


def authorization(metadata: Mapping[str, str | bytes]) -> str:
    """The authorization of a call, known to be a bearer's; raises `Unauthenticated`."""
    value = metadata.get("authorization")
    if isinstance(value, str):
        scheme, _, token = value.partition(" ")
        if scheme.lower() == "bearer" and token.strip():
            return value
    raise Unauthenticated(INVALID_TOKEN)
