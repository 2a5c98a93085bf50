"""A clock that moves only when told to, and ids that repeat from run to run."""

import random
from datetime import UTC, datetime, timedelta
from uuid import UUID

_START = datetime(2026, 1, 1, tzinfo=UTC)


class VirtualClock:
    """Implements `broadaxe.clock.Clock`. Wall clock and monotonic clock move together."""

    def __init__(self, start: datetime = _START) -> None:
        self._start = start
        self._elapsed = timedelta()

    def now(self) -> datetime:
        """The wall clock."""
        return self._start + self._elapsed

    def now_ns(self) -> int:
        """The wall clock in nanoseconds since 1970."""
        return (self.now() - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1_000

    def monotonic(self) -> float:
        """Seconds since the clock was made."""
        return self._elapsed.total_seconds()

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._elapsed += timedelta(seconds=seconds)


class VirtualIds:
    """Implements `broadaxe.clock.Ids` from a seed. Ids of version 7 grow strictly."""

    def __init__(self, clock: VirtualClock, seed: int = 0) -> None:
        self._clock = clock
        self._random = random.Random(seed)
        self._count = 0

    def uuid7(self) -> UUID:
        """A time-ordered id."""
        self._count += 1
        milliseconds = self._clock.now_ns() // 1_000_000
        low = self._random.getrandbits(30)
        value = (milliseconds << 80) | (7 << 76) | ((self._count >> 32 & 0xFFF) << 64) | (2 << 62)
        return UUID(int=value | (self._count & 0xFFFFFFFF) << 30 | low)

    def uuid4(self) -> UUID:
        """A random id."""
        return UUID(int=self._random.getrandbits(128), version=4)

    def random_bytes(self, count: int) -> bytes:
        """Random bytes."""
        return self._random.randbytes(count)

    def uniform(self, low: float, high: float) -> float:
        """A random float."""
        return self._random.uniform(low, high)
