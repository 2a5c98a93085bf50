"""Finds out whether a silent peer is still there."""

import asyncio
import math
from collections.abc import Callable

from broadaxe.grpc_api.lean.frames import PING, frame

_PING = frame(PING, 0, 0, b"keepaliv")


class Keepalive:
    """Pings after `after` seconds without a byte from the peer; gives up when `timeout` more bring none.

    Any byte counts as an answer. `start` once the connection is up, `stop` when it is gone.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        after: float,
        timeout: float,
        write: Callable[[bytes], None],
        give_up: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._after = after
        self._timeout = timeout
        self._write = write
        self._give_up = give_up
        self._timer: asyncio.TimerHandle | None = None
        self.heard_at = -math.inf
        """When the last bytes came, on the loop's clock. Before any time if none has: the clock is so coarse
        that the first may come at the time of the beginning."""

    def start(self) -> None:
        """Expect the first bytes within the time-out."""
        self._timer = self._loop.call_later(self._timeout, self._asked, self.heard_at)

    def stop(self) -> None:
        """No more pings."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def untie(self) -> None:
        """Forget the connection."""
        self.stop()
        self._give_up = _nothing

    def _look(self) -> None:
        silent = self._loop.time() - self.heard_at
        if silent < self._after:
            self._timer = self._loop.call_later(self._after - silent, self._look)
        else:
            self._write(_PING)
            self._timer = self._loop.call_later(self._timeout, self._asked, self.heard_at)

    def _asked(self, heard_at: float) -> None:
        if self.heard_at == heard_at:
            self._timer = None
            self._give_up()
        else:
            self._look()


def _nothing() -> None:
    """There is no connection any more."""
