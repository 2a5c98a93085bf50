"""Steps that wait: for a sleep to be over, for an event to come."""

import asyncio
from collections.abc import Callable
from functools import partial
from uuid import UUID

from broadaxe.clock import Clock
from broadaxe.domain.run import MetWait, Wait, WaitKind
from broadaxe.domain.user_event import UserEvent
from broadaxe.engine.runs.conditions import Conditions
from broadaxe.engine.runs.live_run import LiveRun, OpenWait, WaitOver
from broadaxe.engine.runs.look_back import LookBack
from broadaxe.engine.runs.payloads import sleep_data
from broadaxe.engine.scheduler.timers import Timers

EventKey = tuple[UUID, str]
Arrived = Callable[[LiveRun, WaitOver], None]


class WaitBook:
    """All open waits: one timer for each sleep, an index by key for events."""

    def __init__(self, clock: Clock, timers: Timers, conditions: Conditions, look_back: LookBack) -> None:
        self._clock = clock
        self._timers = timers
        self._conditions = conditions
        self._look_back = look_back
        self._by_key: dict[EventKey, dict[OpenWait, None]] = {}
        self._arrived: Arrived | None = None

    def use(self, arrived: Arrived) -> None:
        """Tell this of waits that are over."""
        self._arrived = arrived

    def open(self, run: LiveRun, wait: Wait) -> None:
        """A step waits, and that is committed."""
        rule = next(one for one in run.dag.graph.steps[wait.step].waits if one.item == wait.item)
        one = run.waits[(wait.step, wait.item)] = OpenWait(run, wait, rule)
        if wait.kind is WaitKind.EVENT:
            self._by_key.setdefault((run.facts.tenant_id, wait.key), {})[one] = None
            self._look_back.search(one, self._found)
        elif wait.due_at is not None:
            one.timer = self._timers.when(wait.due_at, partial(self._slept, one))

    def close_step(self, run: LiveRun, step: int) -> None:
        """A step is decided: nothing it waited for matters any more."""
        for rule in run.dag.graph.steps[step].waits:
            self._close(run.waits.pop((step, rule.item), None))

    def close(self, run: LiveRun, step: int, item: int) -> None:
        """A wait is over."""
        self._close(run.waits.pop((step, item), None))

    def close_run(self, run: LiveRun) -> None:
        """A run is over, or it is read again."""
        for one in run.waits.values():
            self._close(one)
        run.waits.clear()

    def clear(self) -> None:
        """Memory was dropped."""
        self._by_key.clear()
        self._look_back.clear()

    def __len__(self) -> int:
        return sum(len(waits) for waits in self._by_key.values())

    async def delivered(self, event: UserEvent) -> None:
        """A user event was pushed: what it meets, and what follows, is committed when this returns."""
        known: dict[str, bool] = {}
        answers: list[asyncio.Future[None]] = []
        for one in list(self._by_key.get((event.tenant_id, event.key), ())):
            condition = one.rule.condition
            if condition.event_scope is not None and condition.event_scope != event.scope:
                continue
            holds = known.get(condition.expression)
            if holds is None:
                holds = await self._conditions.holds(condition.expression, event.payload)
                known[condition.expression] = holds
            if holds and one.run.waits.get((one.wait.step, one.wait.item)) is one:
                answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                answers.append(answer)
                self._over(one, event.payload, answer)
        if answers:
            await asyncio.wait(answers)
        for answer in answers:
            answer.result()

    def _found(self, one: OpenWait, payload: bytes) -> None:
        self._over(one, payload, None)

    def _slept(self, one: OpenWait) -> None:
        one.timer = None
        self._over(one, sleep_data(one.rule.condition.sleep_for), None)

    def _over(self, one: OpenWait, data: bytes, answer: "asyncio.Future[None] | None") -> None:
        assert self._arrived is not None
        wait = one.wait
        at = self._clock.now()
        self._arrived(
            one.run,
            WaitOver(MetWait(wait.run_id, wait.step, wait.item, wait.attempt, at, data), answer),
        )

    def _close(self, one: OpenWait | None) -> None:
        if one is None:
            return
        self._timers.cancel(one.timer)
        one.timer = None
        if one.wait.kind is WaitKind.EVENT:
            key = (one.run.facts.tenant_id, one.wait.key)
            waits = self._by_key.get(key)
            if waits is not None:
                waits.pop(one, None)
                if not waits:
                    del self._by_key[key]
