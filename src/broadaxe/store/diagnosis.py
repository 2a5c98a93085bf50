"""What `broadaxe doctor` wants to know of the database: asked once, on a connection of its own."""

import socket
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import asyncpg

from broadaxe.domain.errors import Unavailable
from broadaxe.store.checks import ServerFacts, judge
from broadaxe.store.connection import Database
from broadaxe.store.failures import DRIVER_ERRORS, describe, sqlstate_of
from broadaxe.store.migrate import schema_problem
from broadaxe.store.partitions import horizon
from broadaxe.store.session import Record, Session
from broadaxe.store.statements import statement

_TRIPS = 5

_IN_WORDS = {
    "28P01": "it refuses the password",
    "28000": "it refuses this user, or this way to connect (pg_hba.conf)",
    "3D000": "there is no such database on the server: create it, and let the user own it",
    "53300": "it has no connection left (max_connections)",
    "57P03": "it is starting up or shutting down: try again",
    "08P01": "what answers is a transaction pooler, which lends no session: give the server's own address, "
    "and the pooler's as DATABASE_PGBOUNCER_URL",
}
"""SQLSTATE of a refused connection -> what a person can do about it."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Facts about a database that answers."""

    server: ServerFacts
    user: str
    creates_in_database: bool
    creates_in_schema: bool
    foreign_tables: int
    """Tables of the schema that the user has no ownership of."""
    extensions: tuple[str, ...]
    max_connections: int
    connections: int
    encoding: str
    schema_problem: str | None
    """Why this program cannot work on the tables, None when it can."""
    room_until: datetime | None
    """Up to when there are day partitions; None without tables."""
    round_trip: float
    """Seconds of the quickest of some empty statements."""


async def diagnose(database: Database) -> Diagnosis:
    """Asks everything. Unavailable, with what to do about it, when the database cannot be reached."""
    try:
        session = await database.connect("doctor")
    except DRIVER_ERRORS as error:
        raise Unavailable(f"the database cannot be reached: {in_words(error)}") from error
    try:
        row = (await session.fetch(statement("diagnosis_facts")))[0]
        trips = [await _round_trip(database, session) for _ in range(_TRIPS)]
        server = min(trips, key=lambda trip: trip[2])
        wrong = await schema_problem(database.options.dsn)
        until: datetime | None = None
        if wrong is None:
            days = [found[0] for found in await session.fetch(statement("partition_days"))]
            until = horizon(days, database.clock.now().astimezone(UTC).date())
    except DRIVER_ERRORS as error:
        raise Unavailable(f"the database gave no answer: {describe(error)}") from error
    finally:
        await session.close()
    return Diagnosis(
        server=judge(*server),
        user=row[0],
        creates_in_database=row[1],
        creates_in_schema=row[2],
        foreign_tables=row[3],
        extensions=tuple(row[4]),
        max_connections=row[5],
        connections=row[6],
        encoding=row[7],
        schema_problem=wrong,
        room_until=until,
        round_trip=server[2],
    )


async def try_pooler(database: Database) -> float | None:
    """Seconds of a statement by way of the pooler, None without one. Unavailable when that cannot be."""
    if not database.options.pooler_dsn:
        return None
    began = database.clock.monotonic()
    try:
        session = await database.connect("pool")
        try:
            await session.fetch(statement("session_facts"))
        finally:
            await session.close()
    except DRIVER_ERRORS as error:
        raise Unavailable(
            f"the pooler of DATABASE_PGBOUNCER_URL cannot be used: {in_words(error)}"
        ) from error
    return database.clock.monotonic() - began


async def _round_trip(database: Database, session: Session) -> tuple[Record, datetime, float]:
    """The server's facts, when they were asked for, and the seconds until they were there."""
    asked, began = database.clock.now(), database.clock.monotonic()
    row = (await session.fetch(statement("session_facts")))[0]
    return row, asked, database.clock.monotonic() - began


def in_words(error: BaseException) -> str:
    """Why a connection failed, for people; never a password."""
    state = sqlstate_of(error)
    if state is not None and state in _IN_WORDS:
        return f"{_IN_WORDS[state]} ({state})"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused: nothing listens at that address and port"
    if isinstance(error, socket.gaierror):
        return "its host name cannot be resolved"
    if isinstance(error, TimeoutError):
        return "no answer in time: is a firewall in between?"
    if isinstance(error, FileNotFoundError):
        return "there is no such socket"
    if isinstance(error, asyncpg.InterfaceError | ConnectionError):
        return f"the connection broke at its beginning ({describe(error)}): does sslmode fit the server?"
    return describe(error)


def days_of_room(until: datetime, today: date) -> int:
    """Whole days from today that have room for new tasks."""
    return max(0, (until.date() - today) // timedelta(days=1))
