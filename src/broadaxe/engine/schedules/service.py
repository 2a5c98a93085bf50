"""The service that starts what is due: sleeps until the earliest time, and follows changes of the rows."""

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

from broadaxe.domain.errors import BroadaxeError
from broadaxe.domain.ids import TenantId
from broadaxe.engine.context import EngineContext
from broadaxe.engine.gate import Gate
from broadaxe.engine.scheduler.timers import Timer, Timers
from broadaxe.engine.schedules.book import Book, Entry
from broadaxe.engine.schedules.calendar import CronCalendar
from broadaxe.engine.schedules.firing import Firing
from broadaxe.store.schedule_ledger import CronPlan, ScheduledPlan

_LOG = logging.getLogger(__name__)
_ROUND = 1_000
"""Entries whose rows are read with one statement."""
_RETRY = 1.0
_LONGEST_SLEEP = timedelta(minutes=1)


class Schedules:
    """The owner's book of due times, and the one task that works it off."""

    def __init__(self, context: EngineContext, gate: Gate, timers: Timers, firing: Firing) -> None:
        self._schedules = context.ledger.schedules
        self._clock = context.clock
        self._horizon = timedelta(seconds=context.options.schedule_horizon)
        self._gate = gate
        self._timers = timers
        self._firing = firing
        self.book = Book()
        self._timer: Timer | None = None
        self._loading: Timer | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._round: asyncio.Task[None] | None = None
        self._known_until: datetime | None = None
        """Planned runs that are due before this are in the book; None before the book is whole."""
        self._crons_loaded = False

    # -- ownership -------------------------------------------------------------------------------------

    def gained(self) -> None:
        """Other tenants than before are scheduled here: read anew what there is."""
        self.dropped()
        if self._gate.owned:
            self.spawn(self._load(self._gate.generation), "reading schedules")

    def dropped(self) -> None:
        """It does not any more: forget everything."""
        for timer in (self._timer, self._loading):
            self._timers.cancel(timer)
        self._timer = self._loading = None
        self._known_until = None
        self._crons_loaded = False
        self.book.clear()

    async def stop(self) -> None:
        """End: nothing is started any more; what is being committed is waited for."""
        self.dropped()
        while self._tasks:
            await asyncio.wait(self._tasks)

    def healthy(self) -> bool:
        """Whether the book is whole, if this process schedules."""
        return not self._gate.owned or self._known_until is not None

    # -- changes ---------------------------------------------------------------------------------------

    async def crons_changed(self, tenant_id: TenantId, workflow_id: UUID) -> None:
        """Crons of a workflow were made, changed or deleted."""
        plans = await self._schedules.crons_of(tenant_id, workflow_id)
        self.book.drop_crons(tenant_id, workflow_id)
        self._put_crons(plans)
        self._arm()

    async def scheduled_changed(self, tenant_id: TenantId, ids: Sequence[UUID]) -> None:
        """Planned runs were made, moved or deleted."""
        plans = await self._schedules.plans_of(tenant_id, ids)
        for one in ids:
            self.book.drop((tenant_id, one))
        self._put_planned(plans)
        self._arm()

    # -- reading ---------------------------------------------------------------------------------------

    async def _load(self, generation: int) -> None:
        """All crons once, and the planned runs of the time ahead again and again."""
        until = self._clock.now() + self._horizon
        try:
            if not self._crons_loaded:
                async for crons in self._schedules.load_crons():
                    if generation != self._gate.generation:
                        return
                    self._put_crons(crons)
                self._crons_loaded = True
            async for planned in self._schedules.load_scheduled(until):
                if generation != self._gate.generation:
                    return
                self._put_planned(planned, until)
        except BroadaxeError as error:
            _LOG.warning("schedules cannot be read: %s", error.message)
            self._load_after(_RETRY, generation)
            return
        if generation != self._gate.generation or not self._gate.owned:
            return
        self._known_until = until
        self._load_after(self._horizon.total_seconds() / 2, generation)
        self._arm()

    def _load_after(self, seconds: float, generation: int) -> None:
        if generation == self._gate.generation and self._gate.owned and not self._gate.draining:
            self._loading = self._timers.after(seconds, partial(self._load_again, generation))

    def _load_again(self, generation: int) -> None:
        self.spawn(self._load(generation), "reading schedules")

    def _put_crons(self, plans: Sequence[CronPlan]) -> None:
        for plan in plans:
            if not self._gate.owns(plan.tenant_id):
                continue
            try:
                due = CronCalendar(plan.expression).after(plan.settled_until)
            except ValueError as error:
                # It was valid when it was made: the time zones of this machine are others.
                _LOG.error("cron %s (%s) cannot be read: %s", plan.id, plan.expression, error)
                continue
            if due is not None:
                self.book.put(Entry(plan.tenant_id, plan.id, plan.workflow_id, due, True))

    def _put_planned(self, plans: Sequence[ScheduledPlan], until: datetime | None = None) -> None:
        until = until or self._known_until
        for plan in plans:
            if not self._gate.owns(plan.tenant_id):
                continue
            if until is None or plan.trigger_at < until:
                entry = Entry(plan.tenant_id, plan.id, plan.workflow_id, plan.trigger_at, False)
                self.book.put(entry)

    # -- firing ----------------------------------------------------------------------------------------

    def _arm(self) -> None:
        """Set the one timer to the earliest time. While a round runs, its end does it."""
        self._timers.cancel(self._timer)
        self._timer = None
        due = self.book.next_due()
        idle = self._round is None or self._round.done()
        if due is not None and idle and self._gate.owned and not self._gate.draining:
            # Looked at again after a while: the wall clock may be set.
            self._timer = self._timers.when(min(due, self._clock.now() + _LONGEST_SLEEP), self._due)

    def _due(self) -> None:
        self._timer = None
        if self._gate.owned and not self._gate.draining:
            self._round = self.spawn(self._rounds(self._gate.generation), "starting what is due")

    async def _rounds(self, generation: int) -> None:
        """Work off what is due, the earliest first."""
        while True:
            entries = self.book.take(self._clock.now(), _ROUND)
            if not entries:
                break
            waiting = await self._firing.fire(entries)
            if generation != self._gate.generation or not self._gate.owned or self._gate.draining:
                # The book was read anew meanwhile, and was left to this round's end.
                break
            self.book.restore(waiting)
        self._round = None
        self._arm()

    def spawn(self, work: Coroutine[object, object, None], name: str) -> asyncio.Task[None]:
        """Work that `stop` waits for."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _LOG.error("%s failed", task.get_name(), exc_info=error)
            if task is self._round:
                self._round = None
                self._arm()
