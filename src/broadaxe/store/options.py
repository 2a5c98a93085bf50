"""How the store reaches its database, and its limits."""

from dataclasses import dataclass
from typing import Literal

SslMode = Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]


@dataclass(frozen=True, slots=True)
class StoreOptions:
    """Settings of the room. Times are seconds, sizes bytes."""

    dsn: str
    """A libpq URL; its `sslmode` counts unless `sslmode` is given here."""
    pooler_dsn: str = ""
    """A libpq URL of a transaction pooler in front of the same database: reads and group commits go through
    it, and the rest too when leases end by time. What needs a session of its own goes by `dsn`."""
    sslmode: SslMode | None = None
    application_name: str = "broadaxe"
    pool_size: int = 10
    """Connections for reads at most."""
    idle_lifetime: float = 60.0
    """Idle time after which a connection for reads is closed; 0 means never."""
    log_statements: bool = False
    """Log every statement with its duration, without its values."""
    connect_timeout: float = 5.0
    statement_timeout: float = 30.0
    """The server ends a statement after it."""
    answer_grace: float = 5.0
    """How much later than that a connection that does not answer is given up."""
    lock_timeout: float = 10.0
    idle_in_transaction_timeout: float = 15.0
    """A frozen owner's transaction is ended by the server after it: its locks must not hold up others."""
    read_patience: float = 2.0
    """How long a read waits for an absent database before it answers Unavailable."""
    retry_first: float = 0.05
    retry_longest: float = 2.0
    """Bounds of the jittered pause between two attempts to connect."""
    batch_max_ops: int = 1000
    batch_max_bytes: int = 16 << 20
    """What one commit takes at most; a single larger operation goes alone."""
    held_max_bytes: int = 256 << 20
    """What may wait for the database; beyond it new work is refused."""
    held_max_seconds: float = 300.0
    """How long an operation without patience of its own waits at most."""
    live_page_rows: int = 500
    partitions: int = 1
    """Over how many partitions tenants are spread, each with a lease of its own."""
    lease_by_lock: bool = True
    """False behind a transaction pooler: then leases end by time alone, and nothing is heard by NOTIFY."""
    lease_life: float = 5.0
    """How long a lease outlives the last sign of life of its owner where there are no locks."""
    engine_dead_after: float = 5.0
    """Silence after which an engine counts as gone: its workers' sessions are closed then."""
    days_ahead: int = 3
    """Day partitions made ahead."""
