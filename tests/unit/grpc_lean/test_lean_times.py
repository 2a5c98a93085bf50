"""Keepalive and deadlines of the lean transport, on a clock of the test's own."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from broadaxe.grpc_api.lean import deadlines as deadlines_module
from broadaxe.grpc_api.lean.deadlines import Deadlines
from broadaxe.grpc_api.lean.keepalive import Keepalive


@dataclass
class Timer:
    """What the loop has been asked to call."""

    at: float
    callback: Callable[..., None]
    arguments: tuple[Any, ...]
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True


@dataclass
class Loop:
    """A loop whose time passes when it is told to."""

    now: float = 5.0
    timers: list[Timer] = field(default_factory=list)

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, callback: Callable[..., None], *arguments: Any) -> Timer:
        timer = Timer(self.now + delay, callback, arguments)
        self.timers.append(timer)
        return timer

    def waiting(self) -> list[Timer]:
        return [timer for timer in self.timers if not timer.cancelled]

    def run(self, until: float) -> None:
        while due := [timer for timer in self.waiting() if timer.at <= until]:
            first = min(due, key=lambda timer: timer.at)
            self.timers.remove(first)
            self.now = first.at
            first.callback(*first.arguments)
        self.now = until


@dataclass(eq=False)
class Expiring:
    """A call that notes its end."""

    expired: bool = False

    def expire(self) -> None:
        self.expired = True


def _keepalive(loop: Any) -> tuple[Keepalive, list[bytes], list[float]]:
    written: list[bytes] = []
    given_up: list[float] = []
    return (
        Keepalive(loop, 30.0, 20.0, written.append, lambda: given_up.append(loop.now)),
        written,
        given_up,
    )


def test_peer_that_speaks_in_the_moment_of_the_beginning_has_spoken() -> None:
    """uvloop's clock has milliseconds: a quick client's first bytes come at the time of the beginning."""
    loop = Loop()
    keepalive, written, given_up = _keepalive(loop)
    keepalive.start()
    keepalive.heard_at = loop.time()
    loop.run(34.9)
    assert (written, given_up) == ([], [])
    loop.run(35.0)
    assert (len(written), given_up) == (1, [])
    loop.run(60.0)
    assert (len(written), given_up) == (1, [55.0])


def test_peer_that_never_speaks_is_given_up_after_the_time_out() -> None:
    loop = Loop()
    keepalive, written, given_up = _keepalive(loop)
    keepalive.start()
    loop.run(60.0)
    assert (written, given_up) == ([], [25.0])


def test_time_outs_that_are_far_away_leave_no_timer_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadlines_module, "_MOST_SLOTS", 10)
    loop: Any = Loop()
    deadlines = Deadlines(loop, loop.time)
    for seconds in range(1000, 2000):
        call = Expiring()
        deadlines.discard(call, deadlines.add(call, loop.now + seconds))
    assert len(loop.waiting()) == 10


def test_deadline_is_kept_however_many_have_been_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadlines_module, "_MOST_SLOTS", 0)
    loop: Any = Loop()
    deadlines = Deadlines(loop, loop.time)
    first, second, third = Expiring(), Expiring(), Expiring()
    key = deadlines.add(first, 7.0)
    assert deadlines.add(second, 7.0) == key
    deadlines.discard(first, key)
    deadlines.discard(first, key)
    loop.run(6.99)
    assert not second.expired
    loop.run(7.1)
    assert second.expired
    assert not first.expired
    deadlines.discard(third, deadlines.add(third, 7.2))
    deadlines.discard(third, deadlines.add(third, 7.2))
    deadlines.add(third, 7.2)
    loop.run(8.0)
    assert third.expired
    assert loop.waiting() == []
