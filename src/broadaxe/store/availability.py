"""Whether the database can be reached: one value that all connections report to."""

import asyncio
import logging

from broadaxe.clock import Clock
from broadaxe.store.failures import describe
from broadaxe.store.instruments import MetricSink
from broadaxe.store.ledger import DatabaseState
from broadaxe.telemetry import names as T

log = logging.getLogger("broadaxe.store")


class Availability:
    """Keeps `DatabaseState` and tells its listeners once a change."""

    def __init__(self, clock: Clock, metrics: MetricSink) -> None:
        self.state = DatabaseState()
        self._clock = clock
        self._here = asyncio.Event()
        self._away_at: float | None = None
        self._away_before = 0.0
        metrics.observe(T.METRIC_DATABASE_AWAY, lambda: [(self.away_seconds(), ())])
        self.reason = ""
        """What the last failed attempt to reach the database said."""

    def away_seconds(self) -> float:
        """Seconds without the database so far, all outages together and the present one too."""
        now = 0.0 if self._away_at is None else self._clock.monotonic() - self._away_at
        return self._away_before + now

    def lost(self, error: BaseException) -> None:
        """A connection attempt failed, or the server cannot work now."""
        self.reason = describe(error)
        if self._away_at is not None and not self.state.available:
            return
        self.state.available = False
        self.state.away_since = self._clock.now()
        self._away_at = self._clock.monotonic()
        self._here.clear()
        log.warning("The database is away: %s", describe(error))
        self._tell(False)

    def found(self) -> None:
        """A connection was made and answers."""
        if self.state.available:
            return
        if self._away_at is not None:
            seconds = self._clock.monotonic() - self._away_at
            self._away_before += seconds
            log.info("The database is back after %.1f s", seconds)
        self.state.available = True
        self.state.away_since = None
        self._away_at = None
        self._here.set()
        self._tell(True)

    def _tell(self, available: bool) -> None:
        for listener in list(self.state.listeners):
            try:
                listener(available)
            except Exception:
                log.exception("A listener of the database's state failed.")

    async def wait(self, seconds: float | None = None) -> bool:
        """Waits until the database is there; False after `seconds` (None = for ever)."""
        if self.state.available:
            return True
        try:
            async with asyncio.timeout(seconds):
                await self._here.wait()
        except TimeoutError:
            return False
        return True
