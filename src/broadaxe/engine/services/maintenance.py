"""Makes day partitions ahead and drops what is past its retention, by what the store gives it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from broadaxe.domain.errors import BroadaxeError
from broadaxe.engine.gate import Gate
from broadaxe.engine.scheduler.timers import Timer, Timers

_LOG = logging.getLogger(__name__)

Chore = Callable[[], Awaitable[None]]
"""Something to be done every hour or so. It may raise; it is done again the next time."""


class Maintenance:
    """Runs the chores of the owner, one after the other."""

    def __init__(self, gate: Gate, timers: Timers, every: float, chores: tuple[Chore, ...]) -> None:
        self._gate = gate
        self._timers = timers
        self._every = every
        self._chores = chores
        self._timer: Timer | None = None
        self._task: asyncio.Task[None] | None = None
        self.failures = 0
        """Chores that failed in a row."""

    def start(self) -> None:
        """Begin; the first round follows at once."""
        if self._chores:
            self._timer = self._timers.after(0.0, self._due)

    async def stop(self) -> None:
        """End; a chore that runs is cut off, it is done again elsewhere."""
        self._timers.cancel(self._timer)
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task])

    def healthy(self) -> bool:
        """Whether the last round went well."""
        return self.failures == 0

    async def run(self) -> None:
        """One round."""
        for chore in self._chores:
            try:
                await chore()
                self.failures = 0
            except BroadaxeError as error:
                self.failures += 1
                _LOG.warning("maintenance: %s", error.message)

    def _due(self) -> None:
        self._timer = self._timers.after(self._every, self._due)
        if self._gate.open and (self._task is None or self._task.done()):
            self._task = asyncio.get_running_loop().create_task(self.run(), name="maintenance")
