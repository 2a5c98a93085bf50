"""The settings of an embedded PostgreSQL: given on its command line at each start, so never stale."""

from collections.abc import Mapping
from pathlib import Path

from broadaxe.store.embedded import binaries

FULLY_DURABLE: Mapping[str, str] = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on"}


def initdb_arguments(major: int, pgdata: Path, user: str) -> list[str]:
    """For a UTF-8 cluster that sorts by code point on every machine alike and lets nobody in by TCP."""
    locale = ["--locale=C"]
    if major >= 17:
        locale += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    return [
        f"--pgdata={pgdata}",
        f"--username={user}",
        "--encoding=UTF8",
        *locale,
        "--auth-local=trust",
        "--auth-host=reject",
        "--no-instructions",
    ]


def settings(major: int, bindir: Path, socket_dir: Path) -> dict[str, str]:
    """What the server runs with, by name."""
    chosen = {
        "listen_addresses": "",
        "unix_socket_directories": str(socket_dir),
        "unix_socket_permissions": "0700",
        "port": "5432",
        "max_connections": "60",
        "shared_buffers": "128MB",
        # Day partitions of several tables may be locked in one transaction.
        "max_locks_per_transaction": "256",
        "wal_level": "minimal",
        "max_wal_senders": "0",
        "max_wal_size": "1GB",
        "checkpoint_timeout": "15min",
        # Every commit waits for its own WAL: these two only work ahead, and would wake five times a second.
        "bgwriter_delay": "2s",
        "bgwriter_lru_maxpages": "1000",
        "wal_writer_delay": "2s",
        # A round looks at every table of two databases, whether anything changed or not.
        "autovacuum_naptime": "2min",
        # Statements are short; compiling them costs more than it saves.
        "jit": "off",
        "random_page_cost": "1.1",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "lc_messages": "C",
        "logging_collector": "off",
        "log_destination": "stderr",
        "log_line_prefix": "%m [%p] ",
        "log_checkpoints": "off",
        **FULLY_DURABLE,
    }
    if major >= 18:
        # Asynchronous reads pay on cold large tables; this database fits in memory, and three processes less.
        chosen["io_method"] = "sync"
    if binaries.has_library(bindir, "pg_stat_statements"):
        chosen["shared_preload_libraries"] = "pg_stat_statements"
    return chosen
