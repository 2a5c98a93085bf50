"""Time, ids and randomness: the protocols and the real ones. The only caller of time, uuid and random.

Everything that needs "now", a new id or a random number receives a `Clock` or an `Ids`; tests hand in
virtual ones from `broadaxe.testkit`.
"""

import os
import random
import time
from datetime import UTC, datetime
from typing import Protocol
from uuid import UUID

import uuid_utils.compat


class Clock(Protocol):
    """Where time comes from."""

    def now(self) -> datetime:
        """The wall clock as an aware UTC datetime (microseconds)."""

    def now_ns(self) -> int:
        """The wall clock in nanoseconds since 1970, for spans."""

    def monotonic(self) -> float:
        """Seconds of a clock that never jumps, for time-outs and durations."""


class Ids(Protocol):
    """Where identifiers and randomness come from."""

    def uuid7(self) -> UUID:
        """A time-ordered id; run and task ids are these, since tables are partitioned by them."""

    def uuid4(self) -> UUID:
        """A random id, for what is not ordered in time."""

    def random_bytes(self, count: int) -> bytes:
        """Random bytes, for trace and span ids."""

    def uniform(self, low: float, high: float) -> float:
        """A random float between two bounds, for jitter."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    # Asked several times in each call: not wrapped once more.
    now_ns = staticmethod(time.time_ns)
    monotonic = staticmethod(time.monotonic)


class SystemIds:
    """The machine's randomness."""

    def uuid7(self) -> UUID:
        return uuid_utils.compat.uuid7()

    def uuid4(self) -> UUID:
        return uuid_utils.compat.uuid4()

    def random_bytes(self, count: int) -> bytes:
        return os.urandom(count)

    def uniform(self, low: float, high: float) -> float:
        return random.uniform(low, high)
