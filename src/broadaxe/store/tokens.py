"""API tokens: what is known about them. The token itself is never stored."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from broadaxe.domain.ids import TenantId
from broadaxe.store.connection import Database
from broadaxe.store.rows import columns_of
from broadaxe.store.statements import statement


@dataclass(frozen=True, slots=True)
class StoredToken:
    """A token's facts."""

    id: UUID
    tenant_id: TenantId
    name: str
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None

    @property
    def revoked(self) -> bool:
        """Whether it counts no more, whatever its expiry."""
        return self.revoked_at is not None


class Tokens:
    """Typed calls over API tokens. All raise Unavailable while the database is away."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def insert(self, tenant_id: TenantId, token_id: UUID, name: str, expires_at: datetime) -> None:
        """Keeps a new token's facts. StoreError for an unknown tenant."""
        now = self._db.clock.now()
        await self._db.fetch(statement("token_add"), token_id, tenant_id, name, now, expires_at)

    async def lookup(self, tenant_id: TenantId, token_id: UUID) -> StoredToken | None:
        """One token of a tenant, revoked and expired ones too."""
        rows = await self._db.fetch(statement("token_get"), tenant_id, token_id)
        return StoredToken(*rows[0]) if rows else None

    async def list_tokens(self, tenant_id: TenantId) -> list[StoredToken]:
        """The tokens of a tenant, newest first, revoked and expired ones too."""
        return [StoredToken(*row) for row in await self._db.fetch(statement("token_list"), tenant_id)]

    async def revoke(self, tenant_id: TenantId, token_id: UUID) -> bool:
        """Voids a token; False when the tenant has none of this id that still counts."""
        now = self._db.clock.now()
        return bool(await self._db.fetch(statement("token_revoke"), tenant_id, token_id, now))

    async def note_used(self, uses: Sequence[tuple[TenantId, UUID, datetime]]) -> None:
        """Notes when tokens were used, to the minute; one statement for all, each token once."""
        if uses:
            await self._db.fetch(statement("token_used"), *columns_of(uses, 3), batch=len(uses))
