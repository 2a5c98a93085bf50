"""What a start looks at: the server's version, clock and time zone, whether it takes writes."""

from dataclasses import dataclass
from datetime import UTC, datetime

from broadaxe.store.connection import Database
from broadaxe.store.migrate import OLDEST_SERVER
from broadaxe.store.session import Record
from broadaxe.store.statements import statement

SKEW_LIMIT = 2.0
"""Seconds between the two clocks from which a warning is due: due times and lease times would drift apart."""


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """Facts about the server, and what is wrong with them in words for the operator."""

    version: int
    """As `server_version_num`: 180006 is 18.6."""
    skew: float
    """Seconds the server's clock is ahead of ours for certain: what the round trip explains is left out."""
    problems: tuple[str, ...]


async def check_server(database: Database) -> ServerFacts:
    """Asks the server. Unavailable while it is away."""
    before, began = database.clock.now(), database.clock.monotonic()
    row = (await database.fetch(statement("session_facts")))[0]
    return judge(row, before, database.clock.monotonic() - began)


def judge(row: Record, asked: datetime, trip: float) -> ServerFacts:
    """What a row of `session_facts` means: asked for at that time, answered after `trip` seconds."""
    # Read at some moment of the trip, which is long where a machine stands still for a while.
    ahead = (row[1].astimezone(UTC) - asked.astimezone(UTC)).total_seconds()
    skew = min(ahead, 0.0) + max(ahead - trip, 0.0)
    problems: list[str] = []
    if row[0] < OLDEST_SERVER:
        problems.append(f"PostgreSQL 15 or newer is needed; this server is {row[0] // 10000}.")
    if abs(skew) > SKEW_LIMIT:
        problems.append(
            f"The database's clock differs from this machine's by {skew:.1f} s; check NTP on both."
        )
    if row[2].upper() not in ("UTC", "ETC/UTC"):
        problems.append(f"The session's time zone is {row[2]}, although UTC was asked for (by a pooler?).")
    if row[3] or row[4]:
        problems.append("The server takes no writes: it is read-only or a standby.")
    return ServerFacts(row[0], skew, tuple(problems))
