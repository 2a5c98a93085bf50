"""Ledgers on a database of a test's own, directly or by way of a proxy that cuts and holds."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from broadaxe.clock import SystemClock, SystemIds
from broadaxe.store.options import StoreOptions
from broadaxe.store.postgres_ledger import PostgresLedger
from broadaxe.telemetry.sampler import Sampler
from broadaxe.telemetry.tracer import Tracer
from broadaxe.testkit.proxy import FaultProxy

MEASURED: Mapping[str, str] = {
    "fsync": "off",
    # These would write WAL of their own, which tests count.
    "autovacuum": "off",
    "checkpoint_timeout": "1h",
    "max_wal_size": "4GB",
}
"""Settings of the server: it is stopped, killed and measured, which the test run's own is not for."""


def new_options(dsn: str, **settings: object) -> StoreOptions:
    return StoreOptions(dsn, **settings)  # type: ignore[arg-type]


def new_ledger(dsn: str, **settings: object) -> PostgresLedger:
    clock, ids = SystemClock(), SystemIds()
    return PostgresLedger.build(
        new_options(dsn, **settings), clock, ids, Tracer(clock, ids, None, Sampler(1.0))
    )


MakeLedger = Callable[..., Awaitable[PostgresLedger]]


@dataclass
class Cuttable:
    """A ledger that owns the lease and reaches its database through a proxy."""

    ledger: PostgresLedger
    proxy: FaultProxy
    direct: str
    """A URL that goes around the proxy."""
