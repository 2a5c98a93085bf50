"""Tenants, accounts and memberships."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from uuid import UUID

from broadaxe.domain.errors import AlreadyExists
from broadaxe.domain.ids import TenantId
from broadaxe.store.connection import Database
from broadaxe.store.session import Record
from broadaxe.store.statements import statement


class Role(Enum):
    """What a member may do. Values are stored and the wire's."""

    OWNER = "OWNER"
    ADMIN = "ADMIN"
    MEMBER = "MEMBER"


@dataclass(frozen=True, slots=True)
class TenantRow:
    """A tenant."""

    id: TenantId
    name: str
    slug: str
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class UserRow:
    """An account."""

    id: UUID
    email: str
    name: str
    password_hash: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class MemberRow:
    """An account's place in a tenant."""

    tenant_id: TenantId
    id: UUID
    role: Role
    created_at: datetime
    user_id: UUID
    email: str
    name: str


def _member(row: Record) -> MemberRow:
    return MemberRow(row[0], row[1], Role(row[2]), *tuple(row)[3:])


class Tenants:
    """Typed calls over tenants and people. All raise Unavailable while the database is away."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def create_tenant(self, name: str, slug: str) -> TenantRow:
        """A new tenant. AlreadyExists for a taken slug."""
        new_id = TenantId(self._db.ids.uuid7())
        made = await self.ensure_tenant(new_id, name, slug)
        if made.id != new_id:
            raise AlreadyExists(f"The tenant slug {slug!r} is taken.")
        return made

    async def ensure_tenant(self, tenant_id: TenantId, name: str, slug: str) -> TenantRow:
        """The tenant of this id, made if it is not there; a tenant that is there is left as it is.

        AlreadyExists when another tenant has the slug.
        """
        rows = await self._db.fetch(statement("tenant_add"), tenant_id, name, slug, self._db.clock.now())
        found = TenantRow(*rows[0]) if rows else await self.get_tenant(tenant_id)
        if found is None:
            raise AlreadyExists(f"The tenant slug {slug!r} is taken.")
        return found

    async def get_tenant(self, tenant_id: TenantId) -> TenantRow | None:
        """One tenant."""
        rows = await self._db.fetch(statement("tenant_get"), tenant_id)
        return TenantRow(*rows[0]) if rows else None

    async def tenant_by_slug(self, slug: str) -> TenantRow | None:
        """The tenant of a slug."""
        rows = await self._db.fetch(statement("tenant_by_slug"), slug)
        return TenantRow(*rows[0]) if rows else None

    async def list_tenants(self) -> list[TenantRow]:
        """All tenants, oldest first."""
        return [TenantRow(*row) for row in await self._db.fetch(statement("tenant_list"))]

    async def create_user(self, email: str, name: str, password_hash: str | None) -> UserRow:
        """A new account. AlreadyExists for a taken address (upper and lower case are one)."""
        new_id = self._db.ids.uuid7()
        now = self._db.clock.now()
        await self._db.fetch(statement("user_add"), new_id, email, name, password_hash, now)
        # The insert may have been repeated after a cut connection, so what is there decides.
        found = await self.user_by_email(email)
        if found is None or found.id != new_id:
            raise AlreadyExists(f"There is an account for {email!r} already.")
        return found

    async def ensure_user(self, email: str, name: str, password_hash: str | None) -> UUID:
        """The id of the account of this address, made if it is not there; one that is there keeps its
        password."""
        try:
            return (await self.create_user(email, name, password_hash)).id
        except AlreadyExists:
            found = await self.user_by_email(email)
            if found is None:
                raise
            return found.id

    async def user_by_email(self, email: str) -> UserRow | None:
        """The account of an address."""
        rows = await self._db.fetch(statement("user_by_email"), email)
        return UserRow(*rows[0]) if rows else None

    async def get_user(self, user_id: UUID) -> UserRow | None:
        """One account."""
        rows = await self._db.fetch(statement("user_get"), user_id)
        return UserRow(*rows[0]) if rows else None

    async def set_password(self, user_id: UUID, password_hash: str) -> bool:
        """Whether the account exists."""
        now = self._db.clock.now()
        return bool(await self._db.fetch(statement("user_set_password"), user_id, password_hash, now))

    async def put_member(self, tenant_id: TenantId, user_id: UUID, role: Role) -> None:
        """Makes an account a member, or changes its role. StoreError when either is unknown."""
        await self._member("member_put", tenant_id, user_id, role)

    async def ensure_member(self, tenant_id: TenantId, user_id: UUID, role: str) -> None:
        """Makes an account a member unless it is one; a role that was given stays."""
        await self._member("member_add", tenant_id, user_id, Role(role))

    async def _member(self, name: str, tenant_id: TenantId, user_id: UUID, role: Role) -> None:
        now = self._db.clock.now()
        await self._db.fetch(statement(name), tenant_id, user_id, self._db.ids.uuid7(), role.value, now)

    async def list_members(self, tenant_id: TenantId) -> list[MemberRow]:
        """The members of a tenant."""
        return [_member(row) for row in await self._db.fetch(statement("member_list"), tenant_id)]

    async def memberships(self, user_id: UUID) -> list[MemberRow]:
        """The tenants an account belongs to."""
        return [_member(row) for row in await self._db.fetch(statement("member_of"), user_id)]
