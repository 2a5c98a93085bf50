"""Events that came before a step began to wait, where its condition wants them considered."""

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from broadaxe.domain.errors import BroadaxeError
from broadaxe.engine.background import Background
from broadaxe.engine.context import EngineContext
from broadaxe.engine.runs.conditions import Conditions
from broadaxe.engine.runs.live_run import OpenWait
from broadaxe.engine.scheduler.timers import Timers
from broadaxe.store.event_ledger import EarlierEvent, EventSearch

_LOG = logging.getLogger(__name__)

Came = Callable[[OpenWait, bytes], None]

_TOGETHER = 16
"""Searches in one statement: each may bring a page of payloads."""


@dataclass(slots=True, eq=False)
class _Search:
    wait: OpenWait
    came: Came
    scope: str
    since: datetime
    after: UUID | None = None
    """The last event that was looked at."""
    looked: int = 0

    def asked(self) -> EventSearch:
        """The next page."""
        facts = self.wait.run.facts
        return EventSearch(facts.tenant_id, self.wait.wait.key, self.scope, self.since, self.after)


class LookBack:
    """Searches gather while a statement is under way: the next one serves all of them.

    A wait is in the index of new events before it gets here, so between the two none is missed; an event that
    both find counts once.
    """

    def __init__(
        self, context: EngineContext, background: Background, timers: Timers, conditions: Conditions
    ) -> None:
        self._ledger = context.ledger
        self._limit = context.options.look_back_limit
        self._retry = context.options.retry_write
        self._background = background
        self._timers = timers
        self._conditions = conditions
        self._pending: deque[_Search] = deque()
        self._running = False

    def search(self, wait: OpenWait, came: Came) -> None:
        """Tell `came` of the first earlier event that meets the wait, if there is one."""
        condition = wait.rule.condition
        if condition.consider_since is None or condition.event_scope is None:
            return
        self._pending.append(_Search(wait, came, condition.event_scope, condition.consider_since))
        self._go()

    def clear(self) -> None:
        """Memory was dropped."""
        self._pending.clear()

    def _go(self) -> None:
        if self._pending and not self._running:
            self._running = True
            self._background.spawn(self._run(), "looking for earlier events")

    async def _run(self) -> None:
        try:
            while searches := self._next():
                try:
                    pages = await self._ledger.events.find_events([one.asked() for one in searches])
                except BroadaxeError as error:
                    _LOG.info("Earlier events cannot be read now: %s", error.message)
                    self._pending.extend(searches)
                    self._timers.after(self._retry, self._go)
                    return
                for search, page in zip(searches, pages, strict=True):
                    await self._look(search, page)
        finally:
            self._running = False

    def _next(self) -> list[_Search]:
        found: list[_Search] = []
        while self._pending and len(found) < _TOGETHER:
            search = self._pending.popleft()
            if _open(search.wait):
                found.append(search)
        return found

    async def _look(self, search: _Search, page: list[EarlierEvent]) -> None:
        expression = search.wait.rule.condition.expression
        for event in page:
            if search.looked == self._limit:
                _LOG.warning(
                    "run %s: a condition on %r looked at %d earlier events and goes no further",
                    search.wait.run.id, search.wait.wait.key, self._limit,
                )  # fmt: skip
                return
            search.after = event.id
            search.looked += 1
            if await self._conditions.holds(expression, event.payload):
                if _open(search.wait):
                    search.came(search.wait, event.payload)
                return
        if page:
            self._pending.append(search)


def _open(one: OpenWait) -> bool:
    return not one.run.gone and one.run.waits.get((one.wait.step, one.wait.item)) is one
