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
class TokenRow:
    """A token's facts."""

    id: UUID
    tenant_id: TenantId
    name: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None


class Tokens:
    """Typed calls over API tokens. All raise Unavailable while the database is away."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def add_token(self, token: TokenRow) -> None:
        """Keeps a new token's facts. StoreError for an unknown tenant."""
        await self._db.fetch(
            statement("token_add"), token.id, token.tenant_id, token.name, token.created_at, token.expires_at
        )

    async def get_token(self, tenant_id: TenantId, token_id: UUID) -> TokenRow | None:
        """One token, revoked and expired ones too."""
        rows = await self._db.fetch(statement("token_get"), tenant_id, token_id)
        return TokenRow(*rows[0]) if rows else None

    async def list_tokens(self, tenant_id: TenantId) -> list[TokenRow]:
        """The tokens of a tenant, oldest first, revoked and expired ones too."""
        return [TokenRow(*row) for row in await self._db.fetch(statement("token_list"), tenant_id)]

    async def revoke_token(self, tenant_id: TenantId, token_id: UUID) -> bool:
        """Whether the tenant has this token; the time of the first revocation stays."""
        now = self._db.clock.now()
        return bool(await self._db.fetch(statement("token_revoke"), tenant_id, token_id, now))

    async def note_used(self, uses: Sequence[tuple[TenantId, UUID, datetime]]) -> None:
        """Notes when tokens were used, to the minute; one statement for all, each token once."""
        if uses:
            await self._db.fetch(statement("token_used"), *columns_of(uses, 3), batch=len(uses))
