"""Versioned migrations: applied in order, each once, in a transaction, by one process at a time."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from typing import Final

import asyncpg

from broadaxe.domain.errors import BroadaxeError, Unavailable
from broadaxe.store.failures import DRIVER_ERRORS, describe
from broadaxe.store.options import SslMode
from broadaxe.store.session import Connection, PlainConnection
from broadaxe.store.statements import statement

_FILE: Final = re.compile(r"(\d{4})_(\w+)\.sql")
_LOCK: Final = 0x62_72_6F_61_64_61_78_65
OLDEST_SERVER: Final = 150000


class MigrationError(BroadaxeError):
    """The schema cannot be brought up to date; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file."""

    version: int
    name: str
    text: str
    checksum: str


@dataclass(frozen=True, slots=True)
class MigrationReport:
    """What a run did."""

    version: int
    """The schema's version now."""
    applied: tuple[str, ...]
    """Names of the migrations that were applied now, oldest first."""


def load_migrations() -> list[Migration]:
    """The migrations of this program, oldest first."""
    found = []
    for file in files("broadaxe.store").joinpath("migrations").iterdir():
        match = _FILE.fullmatch(file.name)
        if match is not None:
            text = file.read_text("utf-8")
            checksum = sha256(text.encode()).hexdigest()
            found.append(Migration(int(match[1]), match[2], text, checksum))
    found.sort(key=lambda migration: migration.version)
    if [migration.version for migration in found] != list(range(1, len(found) + 1)):
        raise MigrationError("The program's migrations are not numbered without a gap.")
    return found


def pending_migrations(
    known: Sequence[Migration], applied: Sequence[tuple[int, str, str]]
) -> list[Migration]:
    """What is to be applied. MigrationError when the database is newer, or was made by other files."""
    by_version = {migration.version: migration for migration in known}
    for version, name, checksum in applied:
        migration = by_version.get(version)
        if migration is None:
            raise MigrationError(
                f"The database has migration {version:04d}_{name}, which this version does not know: "
                "it was migrated by a newer one. Start that version, or restore a backup."
            )
        if migration.checksum != checksum:
            raise MigrationError(
                f"Migration {version:04d}_{name} was applied with another content than this version has. "
                "A released migration is never changed; check which build migrated this database."
            )
    done = {version for version, _, _ in applied}
    return [migration for migration in known if migration.version not in done]


async def migrate(dsn: str, sslmode: SslMode | None = None, days_ahead: int = 3) -> MigrationReport:
    """Brings a database up to date and makes its next day partitions; many processes may call it at once.

    MigrationError for a newer or changed schema and for a server older than 15; the driver's errors when it
    cannot be reached.
    """
    connection = await asyncpg.connect(
        dsn,
        ssl=sslmode,
        connection_class=PlainConnection,
        server_settings={"application_name": "broadaxe-migrate", "timezone": "UTC"},
    )
    try:
        server = int((await connection.fetch(statement("session_facts").text))[0][0])
        if server < OLDEST_SERVER:
            raise MigrationError(f"PostgreSQL 15 or newer is needed; this server is {server // 10000}.")
        await connection.fetch(statement("migration_lock").text, _LOCK)
        try:
            return await _apply(connection, days_ahead)
        finally:
            if not connection.is_closed():
                await connection.fetch(statement("migration_unlock").text, _LOCK)
    finally:
        await connection.close()


async def _apply(connection: Connection, days_ahead: int) -> MigrationReport:
    known = load_migrations()
    await connection.execute(statement("migration_table").text)
    rows = await connection.fetch(statement("migration_list").text)
    applied = [(row[0], row[1], row[2]) for row in rows]
    todo = pending_migrations(known, applied)
    for migration in todo:
        async with connection.transaction():
            await connection.execute(migration.text)
            await connection.fetch(
                statement("migration_add").text, migration.version, migration.name, migration.checksum
            )
    await connection.fetch(statement("partition_make_ahead").text, days_ahead)
    return MigrationReport(known[-1].version, tuple(m.name for m in todo))


async def schema_problem(dsn: str, sslmode: SslMode | None = None) -> str | None:
    """Why this program cannot work on the database's schema, in words for the operator; None when it can.

    Raises Unavailable while the database is away.
    """
    try:
        found = await schema_version(dsn, sslmode)
    except DRIVER_ERRORS as error:
        raise Unavailable(f"the schema cannot be read: {describe(error)}") from error
    needed = load_migrations()[-1].version
    if found < needed:
        return f"the database has schema version {found}, this program needs {needed}: run `broadaxe migrate`"
    if found > needed:
        return f"the database has schema version {found}, newer than this program's {needed}: run a newer one"
    return None


async def schema_version(dsn: str, sslmode: SslMode | None = None) -> int:
    """The version of a database's schema, 0 for an empty one."""
    # Nothing is prepared: it may be a pooler that answers.
    connection = await asyncpg.connect(
        dsn, ssl=sslmode, connection_class=PlainConnection, statement_cache_size=0
    )
    try:
        if not await connection.fetchval(statement("migration_exists").text):
            return 0
        rows = await connection.fetch(statement("migration_list").text)
        return int(rows[-1][0]) if rows else 0
    finally:
        await connection.close()
