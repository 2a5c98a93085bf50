"""What a failure of the driver means: wait for the database, try again, or refuse the item."""

import asyncio
from enum import Enum

import asyncpg


class Failure(Enum):
    """What to do about an error."""

    AWAY = "away"
    """The connection or the server is gone, or cannot work now: reconnect."""
    RETRY = "retry"
    """A deadlock, a serialization failure or a lock time-out: the same again."""
    REFUSED = "refused"
    """The item is at fault; it stays wrong."""


_AWAY_CLASSES = ("08", "53", "57", "58")
_AWAY_CODES = frozenset(("25006", "25P03", "28000", "28P01", "3D000", "0A000", "26000", "42P05"))
# The last three: a statement that was prepared before the schema changed, or that a pooler lost. A new
# connection prepares it anew.
_RETRY_CODES = frozenset(("40001", "40P01", "55P03", "57014"))


def sqlstate_of(error: BaseException) -> str | None:
    """The five characters of a PostgreSQL error, None when the error is not the server's."""
    if isinstance(error, asyncpg.PostgresError):
        state = error.sqlstate
        return state if isinstance(state, str) else None
    return None


def error_type_of(error: BaseException) -> str:
    """The `error.type` of spans and metrics: the SQLSTATE, else the exception's name."""
    return sqlstate_of(error) or type(error).__name__


def classify(error: Exception) -> Failure:
    """What this error of a statement or of a connection attempt means."""
    state = sqlstate_of(error)
    if state is not None:
        if state in _RETRY_CODES:
            return Failure.RETRY
        if state in _AWAY_CODES or state.startswith(_AWAY_CLASSES):
            return Failure.AWAY
        return Failure.REFUSED
    if isinstance(error, asyncpg.InterfaceError) and isinstance(error, ValueError):
        return Failure.REFUSED  # a value that the driver could not encode for its column
    # What is left is the network's, or the driver's complaint about a connection it cannot use any more.
    return Failure.AWAY


DRIVER_ERRORS: tuple[type[Exception], ...] = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
    asyncio.IncompleteReadError,
    EOFError,
)
"""What the database, or the way to it, raises."""


def describe(error: BaseException) -> str:
    """The error without any value of a row: class, SQLSTATE and the constraint or type that refused."""
    if isinstance(error, asyncpg.PostgresError):
        named = error.constraint_name or error.data_type_name or error.column_name
        return f"{type(error).__name__} ({error.sqlstate})" + (f" at {named}" if named else "")
    return type(error).__name__
