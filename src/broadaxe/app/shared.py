"""What the engine and the API part of a process have in common."""

from dataclasses import dataclass
from uuid import UUID

from broadaxe.app.telemetry import build_telemetry
from broadaxe.auth.keys import Keysets, load_keysets
from broadaxe.auth.tokens import TokenIssuer
from broadaxe.auth.verifier import TokenRow, TokenVerifier
from broadaxe.clock import Clock, Ids
from broadaxe.config.settings import Settings
from broadaxe.domain.ids import TenantId
from broadaxe.engine.schedules.limits import ScheduleLimits
from broadaxe.store.connection import Database
from broadaxe.store.options import StoreOptions
from broadaxe.store.postgres_ledger import PostgresLedger
from broadaxe.store.tokens import Tokens
from broadaxe.telemetry.runtime import Telemetry

VERSION = "v0.111.0"
"""What SDKs are told; they turn features on by it."""


@dataclass(frozen=True, slots=True)
class Shared:
    """The rooms below, built once a process."""

    settings: Settings
    clock: Clock
    ids: Ids
    telemetry: Telemetry
    database: Database
    ledger: PostgresLedger
    keysets: Keysets
    verifier: TokenVerifier
    issuer: TokenIssuer

    @property
    def version(self) -> str:
        """The version that clients are told."""
        return self.settings.runtime.version_override or VERSION


_LOOPBACK = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}


def local_address(host: str, port: int) -> str:
    """Where a program on this machine reaches a listener: loopback for one that listens everywhere."""
    host = _LOOPBACK.get(host, host)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class TokenRows:
    """What the verifier asks of stored tokens."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    async def lookup(self, tenant_id: TenantId, token_id: UUID) -> TokenRow | None:
        """The row of a tenant's token; Unavailable while the database is away."""
        row = await self._tokens.lookup(tenant_id, token_id)
        return None if row is None else TokenRow(row.tenant_id, row.revoked, row.expires_at)


def store_options(settings: Settings, role: str) -> StoreOptions:
    """The store's options from the settings."""
    engine = settings.engine
    prefix = settings.database.application_name_prefix
    return StoreOptions(
        dsn=settings.database_dsn,
        # With leases that end by time the only address may be a pooler's.
        pooler_dsn=settings.database.pgbouncer_url
        or ("" if engine.lease_by == "lock" else settings.database_dsn),
        application_name=f"{prefix}-broadaxe-{role}" if prefix else f"broadaxe-{role}",
        pool_size=settings.database.max_conns,
        idle_lifetime=settings.database.max_conn_idle_time,
        log_statements=settings.database.log_queries,
        batch_max_ops=engine.commit_max_batch,
        held_max_bytes=engine.hold_max_bytes,
        held_max_seconds=engine.hold_max_duration,
        days_ahead=engine.partitions_ahead,
        partitions=engine.tenant_partitions,
        lease_by_lock=engine.lease_by == "lock",
        lease_life=engine.lease_life,
        engine_dead_after=engine.engine_dead_after,
    )


def schedule_limits(settings: Settings) -> ScheduleLimits:
    """How much one tenant may plan."""
    return ScheduleLimits(
        crons=settings.schedules.max_crons,
        scheduled=settings.schedules.max_scheduled,
        payload=settings.grpc.max_msg_size,
    )


def build_shared(settings: Settings, role: str, clock: Clock, ids: Ids) -> Shared:
    """Build them; `SettingsError` for keys that are missing or wrong."""
    keysets = load_keysets(settings.encryption)
    telemetry = build_telemetry(settings, role, clock, ids)
    database = Database(store_options(settings, role), clock, ids, telemetry.tracer, telemetry.metrics)
    verifier = TokenVerifier(
        keysets.verifying,
        TokenRows(Tokens(database)),
        clock=clock,
        row_life=settings.database.cache_duration,
        outage_life=settings.engine.hold_max_duration + 60,
        accept_internal=role != "api",
    )
    issuer = TokenIssuer(
        keysets.signing,
        server_url=settings.runtime.url,
        grpc_broadcast_address=settings.grpc.broadcast_address,
        clock=clock,
        ids=ids,
    )
    return Shared(
        settings,
        clock,
        ids,
        telemetry,
        database,
        PostgresLedger(database),
        keysets,
        verifier,
        issuer,
    )
