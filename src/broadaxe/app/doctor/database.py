"""The database: reachable, new enough, in UTC, ours to change, migrated, with room for the next days."""

from collections.abc import Iterator
from datetime import UTC

from broadaxe.app.doctor.findings import Finding, Level
from broadaxe.app.shared import store_options
from broadaxe.clock import Clock, Ids
from broadaxe.config.settings import Settings
from broadaxe.domain.errors import Unavailable
from broadaxe.store.checks import SKEW_LIMIT
from broadaxe.store.connection import Database
from broadaxe.store.diagnosis import Diagnosis, days_of_room, diagnose, try_pooler
from broadaxe.telemetry.sampler import Sampler
from broadaxe.telemetry.tracer import Tracer

SLOW = 0.02
"""Seconds of a round trip from which every commit suffers."""
EXTENSIONS = ("pg_stat_statements",)
"""None is needed; these make the server easier to watch."""


async def examine(settings: Settings, clock: Clock, ids: Ids) -> list[Finding]:
    """Connects once and judges."""
    options = store_options(settings, "doctor")
    database = Database(options, clock, ids, Tracer(clock, ids, None, Sampler(0)))
    try:
        found = await diagnose(database)
        pooler = await _pooler(database)
    except Unavailable as error:
        return [Finding("database", "connection", Level.PROBLEM, error.message)]
    finally:
        await database.close()
    return [*_server(found), *pooler, *_rights(found), *_tables(found, clock), _clock(found)]


async def _pooler(database: Database) -> list[Finding]:
    try:
        seconds = await try_pooler(database)
    except Unavailable as error:
        return [Finding("database", "pooler", Level.PROBLEM, error.message)]
    if seconds is None:
        return []
    text = f"the pooler of DATABASE_PGBOUNCER_URL connects and answers in {seconds * 1000:.1f} ms"
    return [Finding("database", "pooler", Level.OK, text)]


def _server(found: Diagnosis) -> Iterator[Finding]:
    version = found.server.version
    text = f"PostgreSQL {version // 10000}.{version % 10000} answers in {found.round_trip * 1000:.1f} ms"
    if found.round_trip > SLOW:
        yield Finding("database", "connection", Level.WARNING, f"{text}: far away; each commit waits for it")
    else:
        yield Finding("database", "connection", Level.OK, text)
    for problem in found.server.problems:
        if "clock" not in problem:
            yield Finding("database", "server", Level.PROBLEM, problem)
    if found.encoding != "UTF8":
        text = f"the database's encoding is {found.encoding}, UTF8 is needed: create it anew"
        yield Finding("database", "encoding", Level.PROBLEM, text)
    if found.max_connections - found.connections < 5:
        text = f"{found.connections} of {found.max_connections} connections are taken: raise max_connections"
        yield Finding("database", "connections", Level.WARNING, text)
    missing = [name for name in EXTENSIONS if name not in found.extensions]
    text = "no extension is needed" + (
        f"; {', '.join(missing)} would show what costs time" if missing else ""
    )
    yield Finding("database", "extensions", Level.OK, text)


def _rights(found: Diagnosis) -> Iterator[Finding]:
    if not found.creates_in_schema:
        text = (
            f"the user {found.user} may not create tables in the schema: GRANT CREATE, or make it the owner"
        )
        yield Finding("database", "privileges", Level.PROBLEM, text)
    elif found.foreign_tables:
        text = f"{found.foreign_tables} tables belong to others than {found.user}: migrations would fail"
        yield Finding("database", "privileges", Level.PROBLEM, text)
    elif not found.creates_in_database:
        text = f"the user {found.user} may not make temporary tables or schemas: it should own the database"
        yield Finding("database", "privileges", Level.WARNING, text)
    else:
        yield Finding("database", "privileges", Level.OK, f"the user {found.user} may do what it must")


def _tables(found: Diagnosis, clock: Clock) -> Iterator[Finding]:
    if found.schema_problem is not None:
        yield Finding("database", "schema", Level.PROBLEM, found.schema_problem)
    if found.room_until is None:
        return
    days = days_of_room(found.room_until, clock.now().astimezone(UTC).date())
    text = f"there is room for tasks of {days} days, today included"
    if days < 2:
        text += ": no engine has made days ahead; does one run? `broadaxe migrate` makes them, too"
        yield Finding("database", "partitions", Level.WARNING if days else Level.PROBLEM, text)
    else:
        yield Finding("database", "partitions", Level.OK, text)


def _clock(found: Diagnosis) -> Finding:
    skew = found.server.skew
    if abs(skew) > SKEW_LIMIT:
        return Finding(
            "clock",
            "skew",
            Level.PROBLEM,
            f"the database's clock is {abs(skew):.1f} s {'ahead' if skew > 0 else 'behind'}: check NTP",
        )
    return Finding("clock", "skew", Level.OK, f"the database's clock differs by {abs(skew) * 1000:.0f} ms")
