"""Who calls: the tenant of a bearer token."""

from collections.abc import Awaitable
from typing import Protocol
from uuid import UUID

from broadaxe.domain.ids import TenantId


class Identity(Protocol):
    """What a valid token proves."""

    @property
    def tenant_id(self) -> TenantId:
        """The token's tenant."""

    @property
    def token_id(self) -> UUID:
        """The token."""


class Authenticator(Protocol):
    """Judges credentials."""

    def authenticate(self, authorization: str) -> Awaitable[Identity]:
        """The identity behind an Authorization header's value. `Unauthenticated` for everything else:
        another scheme, a forged, expired, revoked or foreign token."""
