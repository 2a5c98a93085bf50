"""Who calls: the tenant of a bearer token."""

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from broadaxe.domain.ids import TenantId


@dataclass(frozen=True, slots=True)
class Identity:
    """What a valid token proves."""

    tenant_id: TenantId
    token_id: UUID


class Authenticator(Protocol):
    """Judges credentials."""

    def authenticate(self, authorization: str) -> Awaitable[Identity]:
        """The identity behind an Authorization header's value. `Unauthenticated` for everything else:
        another scheme, a forged, expired, revoked or foreign token."""
