"""Who calls: the tenant of a bearer token."""

from collections.abc import Awaitable
from typing import Protocol

from broadaxe.auth.tokens import Identity


class Authenticator(Protocol):
    """Judges credentials."""

    def authenticate(self, authorization: str) -> Awaitable[Identity]:
        """The identity behind an Authorization header's value. `Unauthenticated` for everything else:
        another scheme, a forged, expired, revoked or foreign token."""
