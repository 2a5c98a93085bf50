"""The way to the database: a pool for reads, connections for the writer and the lease, reconnecting."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

import asyncpg

from broadaxe.clock import Clock, Ids
from broadaxe.domain.errors import Unavailable
from broadaxe.store.availability import Availability
from broadaxe.store.failures import DRIVER_ERRORS, Failure, classify, describe, error_type_of, sqlstate_of
from broadaxe.store.instruments import SYSTEM, Instruments, Labels, MetricSink, NoMetrics, Parent
from broadaxe.store.ledger import StoreError
from broadaxe.store.options import StoreOptions
from broadaxe.store.session import Borrowed, Connection, PlainConnection, Record, Session, opening
from broadaxe.store.statements import Statement, statement
from broadaxe.telemetry import names as T
from broadaxe.telemetry.tracer import Tracer, current_span

Result = TypeVar("Result")

WRITER_SETTINGS = {
    # The hot statements join a handful of array elements with an index. A plan is made once, and must not
    # depend on what the tables looked like then: fresh partitions are empty when they are planned for.
    "plan_cache_mode": "force_generic_plan",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_seqscan": "off",
}
READER_SETTINGS = {"plan_cache_mode": "force_custom_plan"}  # partitions are left out by the planner then

_CACHED_STATEMENTS = 100

_OWN_SESSION = frozenset(("lease", "probe", "doctor"))
"""Roles that go past a pooler: a lock, LISTEN, and the look at the server itself."""
_POOLED = ("application_name", "timezone")
"""Settings of a session that every pooler follows; the others are made for each transaction."""

_CONFLICT_TRIES = 5


def database_name(dsn: str) -> str:
    """The database that a URL names, for telemetry."""
    return unquote(urlsplit(dsn).path.lstrip("/")) or "postgres"


class Database:
    """One process's connections to PostgreSQL.

    Reads go through `fetch` and `transaction`; they wait `read_patience` for an absent database, then raise
    `Unavailable`. `connect` opens a connection of one's own.
    """

    def __init__(
        self,
        options: StoreOptions,
        clock: Clock,
        ids: Ids,
        tracer: Tracer,
        metrics: MetricSink | None = None,
    ) -> None:
        self.options = options
        self.clock = clock
        self.ids = ids
        self.metrics: MetricSink = metrics if metrics is not None else NoMetrics()
        self.instruments = Instruments(
            clock, tracer, self.metrics, database_name(options.dsn), log_statements=options.log_statements
        )
        self.availability = Availability(clock, self.metrics)
        self._pool: asyncpg.Pool[Record] | None = None
        self.metrics.observe(T.METRIC_DATABASE_POOL, self._pool_sizes)
        self._probe: asyncio.Task[None] | None = None
        self._closing = False

    async def open(self) -> None:
        """Starts looking for the database; returns at once, `availability` says when it is there."""
        self._pool = await asyncpg.create_pool(
            min_size=0,
            max_size=self.options.pool_size,
            max_inactive_connection_lifetime=self.options.idle_lifetime,
            connect=self._connect_for_pool,
            connection_class=PlainConnection,
        )
        self._look()

    async def close(self) -> None:
        """Closes the pool; calls under way fail."""
        self._closing = True
        if self._probe is not None:
            self._probe.cancel()
            await asyncio.gather(self._probe, return_exceptions=True)
        if self._pool is not None:
            try:
                async with asyncio.timeout(2.0):
                    await self._pool.close()
            except DRIVER_ERRORS:
                self._pool.terminate()

    def _pool_sizes(self) -> list[tuple[float, Labels]]:
        if self._pool is None:
            return []
        idle = self._pool.get_idle_size()
        used = self._pool.get_size() - idle
        return [(used, ((T.LABEL_STATE, "used"),)), (idle, ((T.LABEL_STATE, "idle"),))]

    # -- connecting ----------------------------------------------------------------------------------

    def _settings(self, role: str, extra: dict[str, str]) -> dict[str, str]:
        options = self.options
        return {
            "application_name": f"{options.application_name}-{role}"[:63],
            "timezone": "UTC",
            "synchronous_commit": "on",
            "jit": "off",
            "statement_timeout": str(int(options.statement_timeout * 1000)),
            "lock_timeout": str(int(options.lock_timeout * 1000)),
            "idle_in_transaction_session_timeout": str(int(options.idle_in_transaction_timeout * 1000)),
            **extra,
        }

    async def _raw_connect(self, role: str, extra: dict[str, str], parent: Parent) -> Connection:
        options = self.options
        settings = self._settings(role, extra)
        pooled = self._pooled(role)
        tracer = self.instruments.tracer
        span = tracer.start(T.SPAN_CONNECT, current_span() if parent is None else parent)
        span.set(T.ATTR_DB_SYSTEM_NAME, SYSTEM)
        span.set(T.ATTR_DB_NAMESPACE, self.instruments.namespace)
        try:
            connection = await asyncpg.connect(
                options.pooler_dsn if pooled else options.dsn,
                ssl=options.sslmode,
                timeout=options.connect_timeout,
                command_timeout=options.statement_timeout + options.answer_grace,
                max_cached_statement_lifetime=0,
                # A pooler may lend another session for the next statement: nothing prepared is there then,
                # and settings of the session would be the next borrower's.
                statement_cache_size=0 if pooled else _CACHED_STATEMENTS,
                server_settings={name: settings[name] for name in _POOLED} if pooled else settings,
                connection_class=PlainConnection,
            )
        except DRIVER_ERRORS as error:
            state = sqlstate_of(error)
            if state is not None:
                span.set(T.ATTR_DB_RESPONSE_STATUS_CODE, state)
            span.end(error_type=error_type_of(error), message=type(error).__name__)
            self.lost(error)
            raise
        except BaseException:
            span.end(error_type="cancelled")
            raise
        span.end()
        return connection

    def _pooled(self, role: str) -> bool:
        options = self.options
        # Leases that end by time need no session of their own, so nothing does.
        return bool(options.pooler_dsn) and not (options.lease_by_lock and role in _OWN_SESSION)

    def _session(self, connection: Borrowed, role: str, extra: dict[str, str]) -> Session:
        if not self._pooled(role):
            return Session(connection, self.instruments)
        settings = self._settings(role, extra)
        local = {name: value for name, value in settings.items() if name not in _POOLED}
        return Session(connection, self.instruments, opening(local))

    async def _connect_for_pool(self, *_: Any, **__: Any) -> Connection:
        return await self._raw_connect("pool", READER_SETTINGS, None)

    async def connect(
        self, role: str, settings: dict[str, str] | None = None, parent: Parent = None
    ) -> Session:
        """Opens a connection of one's own; the driver's error after one failed attempt."""
        extra = settings or {}
        return self._session(await self._raw_connect(role, extra, parent), role, extra)

    async def connect_patiently(self, role: str, settings: dict[str, str] | None = None) -> Session:
        """Opens a connection of one's own, however long that takes."""
        tries = 0
        while True:
            await self.availability.wait()
            try:
                return await self.connect(role, settings)
            except DRIVER_ERRORS:
                await self.pause(tries)
                tries += 1

    async def pause(self, tries: int) -> None:
        """Waits before the next attempt: doubling, with jitter, within the bounds of the options."""
        options = self.options
        longest = min(options.retry_longest, options.retry_first * 2 ** min(tries, 16))
        await asyncio.sleep(self.ids.uniform(longest / 2, longest))

    # -- away and back -------------------------------------------------------------------------------

    def lost(self, error: BaseException) -> None:
        """The database does not take connections or writes: start looking for it."""
        if not self._closing:
            self.availability.lost(error)
            self._look()

    def _look(self) -> None:
        if self._probe is None or self._probe.done():
            self._probe = asyncio.get_running_loop().create_task(self._find(), name="store-probe")

    async def _find(self) -> None:
        tries = 0
        while not self._closing:
            try:
                session = await self.connect("probe")
                try:
                    facts = (await session.fetch(statement("session_facts")))[0]
                finally:
                    await session.close()
                if not facts[3] and not facts[4]:
                    self.availability.found()
                    return
                self.availability.lost(Unavailable("The database takes no writes now."))
            except DRIVER_ERRORS as error:
                self.availability.lost(error)
            await self.pause(tries)
            tries += 1

    # -- reads and short writes ----------------------------------------------------------------------

    @asynccontextmanager
    async def _acquired(self, parent: Parent) -> AsyncIterator[Session]:
        pool = self._pool
        if pool is None:
            raise Unavailable("The store is not open.")
        above = current_span() if parent is None else parent
        span = self.instruments.tracer.start(T.SPAN_POOL_WAIT, above)
        try:
            connection = await pool.acquire(timeout=self.options.read_patience + self.options.connect_timeout)
        except BaseException as error:
            span.end(error_type=error_type_of(error))
            raise
        span.end()
        session = self._session(connection, "pool", READER_SETTINGS)
        try:
            yield session
        except DRIVER_ERRORS as error:
            if classify(error) is Failure.AWAY:
                session.terminate()  # read-only or half dead: never for the next caller
            raise
        finally:
            # A closed connection is noticed and replaced by the pool.
            await pool.release(connection, timeout=1.0)

    async def run(self, work: Callable[[Session], Awaitable[Result]], *, parent: Parent = None) -> Result:
        """Runs short, repeatable work on a pool connection: again after a lost connection or a conflict.

        Raises Unavailable when the database stays away, StoreError when it refuses.
        """
        deadline = self.clock.monotonic() + self.options.read_patience
        tries = 0
        while True:
            left = max(0.0, deadline - self.clock.monotonic())
            if not await self.availability.wait(left):
                raise Unavailable("The database cannot be reached now.")
            try:
                async with self._acquired(parent) as session:
                    return await work(session)
            except DRIVER_ERRORS as error:
                kind = classify(error)
                if kind is Failure.REFUSED:
                    raise StoreError(f"The database refused: {describe(error)}") from error
                tries += 1
                if sqlstate_of(error) == "25006" or (kind is Failure.AWAY and tries > 2):
                    self.lost(error)
                if tries > _CONFLICT_TRIES or self.clock.monotonic() > deadline:
                    raise Unavailable(f"The database cannot answer now: {describe(error)}") from error
                if tries > 1:
                    await self.pause(tries)

    async def fetch(
        self, wanted: Statement, *args: object, parent: Parent = None, batch: int = 0
    ) -> list[Record]:
        """One repeatable statement on a pool connection; see `run` for errors."""

        async def work(session: Session) -> list[Record]:
            return await session.fetch(wanted, *args, parent=parent, batch=batch)

        return await self.run(work, parent=parent)

    async def transaction(
        self, work: Callable[[Session], Awaitable[Result]], *, parent: Parent = None
    ) -> Result:
        """Repeatable work in one transaction; see `run` for errors."""

        async def whole(session: Session) -> Result:
            await session.begin()
            try:
                result = await work(session)
                await session.commit(parent)
            except BaseException:
                if not session.closed:
                    await session.rollback(parent)
                raise
            return result

        return await self.run(whole, parent=parent)
