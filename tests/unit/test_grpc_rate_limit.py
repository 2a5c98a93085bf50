"""The token buckets, on a clock that moves by hand."""

from uuid import UUID

import pytest

from broadaxe.clock import SystemClock
from broadaxe.domain.errors import ResourceExhausted
from broadaxe.grpc_api.rate_limit import RateGroup, RateLimiter

ONE, TWO = UUID(int=1), UUID(int=2)


class _Clock(SystemClock):
    seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds


def _taken(limiter: RateLimiter, token: UUID, group: RateGroup) -> int:
    """How many calls pass before one is refused."""
    count = 0
    while True:
        try:
            limiter.take(token, group)
        except ResourceExhausted:
            return count
        count += 1


@pytest.mark.parametrize(
    ("group", "calls"),
    [
        (RateGroup.EVENTS, 5),
        (RateGroup.WORKFLOW, 5),
        (RateGroup.ADMIN, 5),
        (RateGroup.DISPATCHER, 50),
        (RateGroup.OTLP, 50),
    ],
)
def test_take_at_rest_allows_one_seconds_worth(group: RateGroup, calls: int) -> None:
    assert _taken(RateLimiter(_Clock(), 5), ONE, group) == calls


def test_take_after_a_pause_allows_what_has_flowed_in() -> None:
    clock = _Clock()
    limiter = RateLimiter(clock, 10)
    assert _taken(limiter, ONE, RateGroup.EVENTS) == 10
    clock.seconds += 0.35
    assert _taken(limiter, ONE, RateGroup.EVENTS) == 3
    clock.seconds += 100
    assert _taken(limiter, ONE, RateGroup.EVENTS) == 10


def test_take_tokens_and_groups_do_not_share() -> None:
    limiter = RateLimiter(_Clock(), 3)
    assert _taken(limiter, ONE, RateGroup.EVENTS) == 3
    assert _taken(limiter, TWO, RateGroup.EVENTS) == 3
    assert _taken(limiter, ONE, RateGroup.ADMIN) == 3


def test_take_rate_below_one_still_lets_single_calls_through() -> None:
    clock = _Clock()
    limiter = RateLimiter(clock, 0.5)
    assert _taken(limiter, ONE, RateGroup.EVENTS) == 1
    clock.seconds += 2
    assert _taken(limiter, ONE, RateGroup.EVENTS) == 1


def test_take_rate_zero_never_refuses() -> None:
    limiter = RateLimiter(_Clock(), 0)
    for _ in range(1000):
        limiter.take(ONE, RateGroup.EVENTS)
    assert len(limiter) == 0


def test_take_buckets_over_the_cap_drop_the_one_unused_for_longest() -> None:
    clock = _Clock()
    limiter = RateLimiter(clock, 10, capacity=2)
    for number in (1, 2, 1):
        clock.seconds += 1
        assert _taken(limiter, UUID(int=number), RateGroup.EVENTS) == 10
    assert _taken(limiter, UUID(int=3), RateGroup.EVENTS) == 10
    assert len(limiter) == 2
    assert _taken(limiter, UUID(int=1), RateGroup.EVENTS) == 0
    assert _taken(limiter, UUID(int=2), RateGroup.EVENTS) == 10


def test_take_refused_names_the_group() -> None:
    limiter = RateLimiter(_Clock(), 1)
    limiter.take(ONE, RateGroup.WORKFLOW)
    with pytest.raises(ResourceExhausted, match="workflow rate limit exceeded"):
        limiter.take(ONE, RateGroup.WORKFLOW)
