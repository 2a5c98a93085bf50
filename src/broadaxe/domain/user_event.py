"""A user event: something that happened outside, told to the engine by name."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from broadaxe.domain.ids import TenantId


@dataclass(frozen=True, slots=True)
class UserEvent:
    """An event as it was pushed. JSON texts are bytes, kept as they are."""

    tenant_id: TenantId
    id: UUID
    """A UUIDv7 of the server's."""
    key: str
    payload: bytes
    """A JSON text, an object for all SDKs."""
    metadata: bytes
    """A JSON object."""
    at: datetime
    """When the server took it; the client's own time is ignored."""
    scope: str | None = None
    priority: int | None = None
