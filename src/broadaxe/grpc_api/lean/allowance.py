"""Bounds on what a peer may make us do for nothing."""

from collections.abc import Callable

from broadaxe.grpc_api.lean.frames import ConnectionFault, ErrorCode


class Allowance:
    """A budget that refills with time: `burst` at once, `rate` a second in the long run."""

    __slots__ = ("_at", "_burst", "_left", "_now", "_rate", "_what")

    def __init__(self, what: str, burst: float, rate: float, now: Callable[[], float]) -> None:
        self._what = what
        self._burst = self._left = burst
        self._rate = rate
        self._now = now
        self._at = now()

    def spend(self) -> None:
        """Count one; raises `ConnectionFault` when the peer has overdrawn it."""
        self._left -= 1
        if self._left >= 0:
            return
        now = self._now()
        self._left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left < 0:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, f"too many {self._what}")


class PingPolicy:
    """Pings may come as often as allowed; after two too early ones the third is too many.

    Whenever the server has sent a message since the last ping, the counting begins anew: clients measure
    their connection with pings while they receive.
    """

    _STRIKES = 2

    def __init__(self, min_interval: float) -> None:
        self._min_interval = min_interval
        self._allowed_at = 0.0
        self._strikes = 0

    def received(self, now: float, sent_since: bool) -> None:
        """A ping came; raises `ConnectionFault`."""
        if sent_since:
            self._strikes = 0
        elif now < self._allowed_at:
            self._strikes += 1
            if self._strikes > self._STRIKES:
                raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too_many_pings")
            return
        self._allowed_at = now + self._min_interval
