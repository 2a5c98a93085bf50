"""What the commands do that end: migrate, seed, keys, tokens, checks."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

from broadaxe.app.shared import store_options
from broadaxe.app.telemetry import telemetry_options
from broadaxe.auth.keys import create_keysets, load_keysets, write_key_files
from broadaxe.auth.passwords import hash_password
from broadaxe.auth.tokens import TokenIssuer
from broadaxe.clock import SystemClock, SystemIds
from broadaxe.config.errors import SettingsError
from broadaxe.config.settings import Settings
from broadaxe.config.tls import server_tls
from broadaxe.domain.errors import NotFound, Unavailable
from broadaxe.domain.ids import TenantId
from broadaxe.store import migrate as migrations
from broadaxe.store.connection import Database
from broadaxe.store.failures import DRIVER_ERRORS, describe
from broadaxe.store.ledger import Message, MessageKind
from broadaxe.store.messages import MessagePost
from broadaxe.store.partitions import Partitions
from broadaxe.store.tenants import Role, Tenants
from broadaxe.store.tokens import StoredToken, Tokens
from broadaxe.telemetry.sampler import Sampler
from broadaxe.telemetry.tracer import Tracer


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token that was just made."""

    id: UUID
    token: str
    expires_at: datetime


@asynccontextmanager
async def _database(settings: Settings) -> AsyncIterator[Database]:
    """The database for one command; Unavailable when it cannot be reached."""
    clock, ids = SystemClock(), SystemIds()
    database = Database(store_options(settings, "admin"), clock, ids, Tracer(clock, ids, None, Sampler(0)))
    await database.open()
    try:
        if not await database.availability.wait(settings.database.command_wait):
            reason = database.availability.reason or "no answer"
            raise Unavailable(
                f"the database cannot be reached ({reason}): check DATABASE_URL or DATABASE_POSTGRES_*"
            )
        yield database
    finally:
        await database.close()


async def migrate(settings: Settings) -> tuple[str, ...]:
    """Bring the schema up to date and make the partitions ahead; names of what was applied."""
    async with _database(settings) as database:
        try:
            report = await migrations.migrate(settings.database_dsn)
        except DRIVER_ERRORS as error:
            raise Unavailable(f"the migration did not end: {describe(error)}; run it again") from error
        await Partitions(database).ensure_partitions()
    return report.applied


async def seed(settings: Settings) -> TenantId:
    """The first tenant, its administrator and their membership; what is there already is kept."""
    seed = settings.seed
    async with _database(settings) as database:
        tenants = Tenants(database)
        made = await tenants.ensure_tenant(TenantId(seed.tenant_id), seed.tenant_name, seed.tenant_slug)
        user = await tenants.user_by_email(seed.admin_email)
        if user is None:
            password = await asyncio.to_thread(hash_password, seed.admin_password, SystemIds())
            user = await tenants.create_user(seed.admin_email, seed.admin_name, password)
        await tenants.put_member(made.id, user.id, Role.OWNER)
    return made.id


def create_keys(directory: Path | None) -> list[str]:
    """Make keysets; the lines that set them."""
    texts = create_keysets(SystemIds())
    names = ("MASTER_KEYSET", "JWT_PRIVATE_KEYSET", "JWT_PUBLIC_KEYSET")
    if directory is None:
        values = (texts.master, texts.private, texts.public)
        return [f"SERVER_ENCRYPTION_{name}={value}" for name, value in zip(names, values, strict=True)]
    try:
        paths = write_key_files(directory.resolve(), texts)
    except OSError as error:
        raise SettingsError.single("--dir", str(error)) from None
    return [f"SERVER_ENCRYPTION_{name}_FILE={path}" for name, path in zip(names, paths, strict=True)]


async def create_token(
    settings: Settings,
    tenant_id: UUID | None,
    name: str,
    life: timedelta,
    *,
    url: str | None = None,
    address: str | None = None,
) -> NewToken:
    """Make and store a token; its addresses are the settings' unless given. NotFound without the tenant."""
    issuer = TokenIssuer(
        load_keysets(settings.encryption).signing,
        server_url=url or settings.runtime.url,
        grpc_broadcast_address=address or settings.grpc.broadcast_address,
        clock=SystemClock(),
        ids=SystemIds(),
    )
    made = issuer.issue(TenantId(tenant_id or settings.seed.tenant_id), life=life)
    async with _database(settings) as database:
        await _tenant(database, made.tenant_id)
        await Tokens(database).insert(made.tenant_id, made.token_id, name, made.expires_at)
    return NewToken(made.token_id, made.text, made.expires_at)


async def list_tokens(settings: Settings, tenant_id: UUID | None) -> list[StoredToken]:
    """The tenant's tokens, newest first. NotFound without the tenant."""
    tenant = TenantId(tenant_id or settings.seed.tenant_id)
    async with _database(settings) as database:
        await _tenant(database, tenant)
        return await Tokens(database).list_tokens(tenant)


async def revoke_token(settings: Settings, tenant_id: UUID | None, token_id: UUID) -> bool:
    """Void a token; False when the tenant has none of this id that counts. NotFound without the tenant."""
    tenant = TenantId(tenant_id or settings.seed.tenant_id)
    async with _database(settings) as database:
        await _tenant(database, tenant)
        revoked = await Tokens(database).revoke(tenant, token_id)
        if revoked:
            body = json.dumps({"token_id": str(token_id)}).encode()
            await MessagePost(database).post([Message(tenant, MessageKind.TOKEN_REVOKED, body)])
        return revoked


async def _tenant(database: Database, tenant_id: TenantId) -> None:
    if await Tenants(database).get_tenant(tenant_id) is None:
        raise NotFound(f"no tenant {tenant_id}: `broadaxe seed` makes the first one")


def check(settings: Settings) -> None:
    """What only a start would find: certificates, keysets, telemetry options. `SettingsError`."""
    server_tls(settings)
    load_keysets(settings.encryption)
    telemetry_options(settings, "check")
