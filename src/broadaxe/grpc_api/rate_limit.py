"""How many calls a second one token may make: a bucket for each token and group of services."""

from collections import OrderedDict
from collections.abc import Mapping
from enum import Enum
from uuid import UUID

from broadaxe.clock import Clock
from broadaxe.domain.errors import ResourceExhausted


class RateGroup(Enum):
    """Services that share a bucket; the value stands in the refusal's text."""

    __hash__ = object.__hash__  # an enum's own is a function in Python

    EVENTS = "events"
    WORKFLOW = "workflow"
    ADMIN = "admin"
    DISPATCHER = "dispatcher"
    OTLP = "otlp"


FACTORS: Mapping[RateGroup, float] = {RateGroup.DISPATCHER: 10.0, RateGroup.OTLP: 10.0}
"""How many times the common rate a group gets; the others get it once."""


_MOVED_EVERY = 0.5
"""Seconds: so exactly do we know which bucket was used last."""


class _Bucket:
    __slots__ = ("at", "moved", "tokens")

    def __init__(self, tokens: float, at: float) -> None:
        self.tokens = tokens
        self.at = self.moved = at


class RateLimiter:
    """Token buckets that hold one second's worth of calls.

    `rate` is calls a second; 0 or less means no limit. At most `capacity` buckets are kept: the one unused
    for longest (to half a second) goes first, and a bucket that comes back is full, as it nearly is after a
    second of rest.
    """

    def __init__(self, clock: Clock, rate: float, capacity: int = 10_000) -> None:
        self._monotonic = clock.monotonic
        self._rates = {group: rate * FACTORS.get(group, 1.0) for group in RateGroup}
        self._capacity = capacity
        self._buckets: OrderedDict[tuple[int, RateGroup], _Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, token_id: UUID, group: RateGroup) -> None:
        """Count one call; raises `ResourceExhausted` when the token has made too many."""
        rate = self._rates[group]
        if rate <= 0:
            return
        burst = rate if rate > 1.0 else 1.0
        now = self._monotonic()
        key = (token_id.int, group)  # a UUID is hashed in Python, a number is not
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = _Bucket(burst, now)
            if len(self._buckets) > self._capacity:
                self._buckets.popitem(last=False)
        tokens = bucket.tokens + (now - bucket.at) * rate
        if tokens > burst:
            tokens = burst
        bucket.at = now
        if now - bucket.moved > _MOVED_EVERY:
            bucket.moved = now
            self._buckets.move_to_end(key)
        if tokens < 1.0:
            bucket.tokens = tokens
            raise ResourceExhausted(f"{group.value} rate limit exceeded")
        bucket.tokens = tokens - 1.0
