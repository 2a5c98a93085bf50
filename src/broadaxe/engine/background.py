"""Work that nobody waits for: kept track of, its errors logged, waited for at the end."""

import asyncio
import logging
from collections.abc import Coroutine

from broadaxe.domain.errors import BroadaxeError

_LOG = logging.getLogger(__name__)


class Background:
    """Tasks of the event loop that belong to the engine."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[object, object, None], what: str) -> None:
        """Run it on its own; `what` names it in the log if it fails."""
        task = asyncio.get_running_loop().create_task(work, name=what)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    async def settle(self) -> None:
        """Wait until everything that was spawned has ended."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def cancel(self) -> None:
        """End everything that still runs."""
        for task in self._tasks:
            task.cancel()

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            return
        if isinstance(error, BroadaxeError):
            _LOG.warning("%s: %s", task.get_name(), error.message)
        else:
            _LOG.error("%s failed", task.get_name(), exc_info=error)
