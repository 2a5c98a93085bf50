"""One connection that runs named statements under telemetry."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import asyncpg

from broadaxe.store.failures import DRIVER_ERRORS
from broadaxe.store.instruments import Instruments, Parent
from broadaxe.store.statements import Statement
from broadaxe.telemetry import names as T
from broadaxe.telemetry.tracer import NOOP

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    # The driver's classes are generic in its stubs only.
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]
    Borrowed: TypeAlias = Connection | PoolConnectionProxy[asyncpg.Record]
    Base = Connection
else:
    Connection = Borrowed = Base = asyncpg.Connection

Record: TypeAlias = asyncpg.Record


class PlainConnection(Base):
    """A connection that is given back to the pool as it is: the store never leaves session state behind."""

    def get_reset_query(self) -> str:
        """Nothing to reset: that would be one more statement for each read."""
        return ""


def _command(name: str) -> Statement:
    return Statement(name, name, "", f"{name} of a transaction.", name, T.db_span(name))


def opening(settings: Mapping[str, str]) -> Statement:
    """A BEGIN that makes settings for its transaction, in one round trip: for a session that is shared."""
    text = "; ".join(["BEGIN", *(f"SET LOCAL {name} = '{value}'" for name, value in settings.items())])
    return Statement("BEGIN", "BEGIN", "", "BEGIN of a transaction.", text, T.db_span("BEGIN"))


_BEGIN, _COMMIT, _ROLLBACK = _command("BEGIN"), _command("COMMIT"), _command("ROLLBACK")


class Session:
    """A connection, used by one caller at a time."""

    def __init__(
        self,
        connection: Borrowed,
        instruments: Instruments,
        shared: Statement | None = None,
    ) -> None:
        """`shared`: how a transaction begins when a pooler lends the server's session by the transaction."""
        self._connection = connection
        self._instruments = instruments
        self._begin = shared or _BEGIN
        self.pid = 0 if shared else connection.get_server_pid()
        """The server's process, to ask about it or end it from another connection. 0, which is nobody's,
        behind a pooler: what that calls the process is its own invention."""

    @property
    def closed(self) -> bool:
        """Whether the connection is known to be gone."""
        return self._connection.is_closed()

    async def fetch(
        self,
        statement: Statement,
        *args: object,
        parent: Parent = None,
        batch: int = 0,
        changed: Callable[[list[Record]], int] | None = None,
    ) -> list[Record]:
        """Runs a statement; its rows. Errors are the driver's. `batch`: how many items the arrays hold.

        `changed`: how many rows it wrote, for telemetry, when its answer says so."""
        connection = self._connection

        if statement.silent:

            async def write() -> str:
                return await connection.execute(statement.text, *args)

            await self._instruments.run(statement, write, _written, parent, batch, writes=True)
            return []

        async def call() -> list[Record]:
            return await connection.fetch(statement.text, *args)

        writes = changed is not None
        return await self._instruments.run(statement, call, changed or len, parent, batch, writes=writes)

    async def fetch_value(self, statement: Statement, *args: object, parent: Parent = None) -> Any:
        """The first column of the first row, None without rows."""
        rows = await self.fetch(statement, *args, parent=parent)
        return rows[0][0] if rows else None

    async def _simple(self, statement: Statement, parent: Parent) -> None:
        connection = self._connection

        async def call() -> str:
            return await connection.execute(statement.text)

        await self._instruments.run(statement, call, _no_rows, parent, 0)

    async def begin(self) -> None:
        """Opens a transaction. It has no span of its own: its time is inside the span of whoever opens it."""
        await self._simple(self._begin, NOOP)

    async def commit(self, parent: Parent = None) -> None:
        """Commits; when it raises because the connection broke, the outcome is unknown."""
        await self._simple(_COMMIT, parent)

    async def rollback(self, parent: Parent = None) -> bool:
        """Ends the transaction; False when the connection did not survive that."""
        try:
            await self._simple(_ROLLBACK, parent)
        except DRIVER_ERRORS:
            self.terminate()
            return False
        return not self.closed

    async def listen(self, channel: str, callback: Callable[[str], None]) -> None:
        """Calls back with the payload of each notification on a channel."""
        await self._connection.add_listener(channel, lambda *heard: callback(str(heard[-1])))

    def on_termination(self, callback: Callable[[], None]) -> None:
        """Calls back when the connection ends, whoever ends it."""
        self._connection.add_termination_listener(lambda *_: callback())

    async def close(self) -> None:
        """Closes politely, within a second."""
        try:
            await self._connection.close(timeout=1.0)
        except DRIVER_ERRORS:
            self.terminate()

    def terminate(self) -> None:
        """Closes at once."""
        self._connection.terminate()


def _written(status: str) -> int:
    """The number at the end of `INSERT 0 3` or `UPDATE 3`."""
    number = status.rpartition(" ")[2]
    return int(number) if number.isdecimal() else 0


def _no_rows(_: str) -> int:
    return 0
