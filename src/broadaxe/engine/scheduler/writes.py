"""One state-changing write per task at a time; what arrives meanwhile is decided on the new state.

Memory changes only after the commit held. A report of a start is held back for a moment so that it can
ride on another commit, or on the write of its own end.
"""

import asyncio
from asyncio import Future
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol
from uuid import UUID

from broadaxe.domain.errors import BroadaxeError, Unavailable
from broadaxe.domain.idempotency import frees_at_end
from broadaxe.domain.task import Assigned, Decision, Started, TaskEvent, TaskFacts, TaskStatus
from broadaxe.domain.transitions import decide
from broadaxe.engine.context import EngineContext
from broadaxe.engine.scheduler.live import HeldStart, LiveTask, StepPlan, Submission
from broadaxe.engine.scheduler.timers import Timer, Timers
from broadaxe.store.ledger import Message, TaskWrite
from broadaxe.store.run_ledger import ChangeResult, RunChange
from broadaxe.telemetry.context import TraceContext

Written = Future[bool] | Future[ChangeResult | None]
"""False and None: the compare did not hold."""
USUAL_COMMIT = timedelta(seconds=10)
"""Writes that take no longer need not be remembered: the moment that is told lags behind by this much."""


class Consequences(Protocol):
    """What follows a write."""

    def following(self, live: LiveTask, decision: Decision, event: TaskEvent) -> RunChange | None:
        """What is to be written in the same commit, if the decision's own write holds."""

    def applied(
        self,
        live: LiveTask,
        before: TaskStatus,
        decision: Decision,
        event: TaskEvent,
        result: ChangeResult | bool,
    ) -> None:
        """It is committed; `live.status` is the new one."""

    def conflicted(self, live: LiveTask, resume: Callable[[], None]) -> None:
        """The row was not as memory had it: read it again, then call `resume`."""

    def stale(self, live: LiveTask, event: TaskEvent) -> None:
        """The event does not apply to the task as it is now."""

    def failed(self, live: LiveTask, event: TaskEvent, error: BaseException) -> None:
        """The database refused the write, or the lease is lost. Memory is unchanged."""

    def messages_of(self, live: LiveTask, event: TaskEvent, status: TaskStatus) -> tuple[Message, ...]:
        """What other engines must be told in the same commit."""

    def trace_of(self, live: LiveTask, event: TaskEvent) -> TraceContext | None:
        """Where the write's commit-wait span belongs; None when it is not recorded."""


class TaskWrites:
    """Decides events and writes what follows, task by task in order."""

    def __init__(self, context: EngineContext, timers: Timers, consequences: Consequences) -> None:
        self._ledger = context.ledger
        self._clock = context.clock
        self._hold = context.options.started_hold
        self._timers = timers
        self._after = consequences
        self._held: dict[LiveTask, None] = {}
        self._hold_timer: Timer | None = None
        self._in_flight: dict[LiveTask, datetime] = {}
        """When what is being written was judged, oldest first."""
        self._slow: tuple[datetime, datetime] | None = None
        """When the oldest write that took long was judged, and when the last such one was committed."""
        self._idle: list[Future[None]] = []

    def submit(self, live: LiveTask, event: TaskEvent) -> "Future[TaskStatus | None]":
        """Apply an event; resolves after the commit to the new status, or to None when it was stale.

        Raises through the future: Unavailable when the lease is lost, the ledger's errors.
        """
        submission = Submission(event, asyncio.get_running_loop().create_future())
        if live.writing:
            live.backlog.append(submission)
        else:
            self._advance(live, submission)
        return submission.future

    def ride(self) -> None:
        """Another commit is about to be asked for: held starts join it."""
        if not self._held:
            return
        now = self._clock.now()
        held, self._held = self._held, {}
        self._timers.cancel(self._hold_timer)
        self._hold_timer = None
        for live in held:
            start, live.held = live.held, None
            if start is not None and not live.gone:
                self._write(live, start.waiting[0], Decision(start.status), start.waiting[1:], now)

    def judged_before(self, left: datetime) -> datetime:
        """A moment before which no write was judged whose span may still be here; `left`: what ended before
        that, by the time of its commit, has left."""
        moment = left - USUAL_COMMIT
        if self._in_flight:
            moment = min(moment, next(iter(self._in_flight.values())))
        if self._slow is not None:
            judged, committed = self._slow
            if left > committed:
                self._slow = None
            else:
                moment = min(moment, judged)
        return moment

    async def settle(self) -> None:
        """Wait until nothing is held or in flight."""
        self.ride()
        while self._in_flight:
            waiter: Future[None] = asyncio.get_running_loop().create_future()
            self._idle.append(waiter)
            await waiter
            self.ride()

    def drop(self, live: LiveTask) -> None:
        """The task left memory without an end of its own: whoever waits is told to try again."""
        live.gone = True
        self._held.pop(live, None)
        waiting = list(live.backlog)
        live.backlog.clear()
        if live.held is not None:
            waiting += live.held.waiting
            live.held = None
        for submission in waiting:
            _refuse(submission, Unavailable("another engine process took over; try again"))

    def _advance(self, live: LiveTask, submission: Submission) -> None:
        if live.gone and not live.status.state.final:
            _refuse(submission, Unavailable("another engine process took over; try again"))
            return
        event = submission.event
        base = live.status if live.held is None else live.held.status
        now = self._clock.now()
        decision = decide(base, live.plan.policy, event, now)
        if decision is None:
            if live.held is not None and isinstance(event, Started) and event.attempt == base.attempt:
                live.held.waiting.append(submission)
                return
            self._after.stale(live, event)
            _answer(submission, None)
            return
        if isinstance(event, Started) and self._hold > 0:
            live.held = HeldStart(decision.status, [submission])
            self._held[live] = None
            if self._hold_timer is None:
                self._hold_timer = self._timers.after(self._hold, self._hold_over)
            return
        starts: list[Submission] = []
        if live.held is not None:
            starts = live.held.waiting
            live.held = None
            self._held.pop(live, None)
        self._write(live, submission, decision, starts, now)
        self.ride()

    def _hold_over(self) -> None:
        self._hold_timer = None
        self.ride()

    def _write(
        self, live: LiveTask, main: Submission, decision: Decision, also: list[Submission], judged: datetime
    ) -> None:
        live.writing = True
        self._in_flight[live] = judged
        status = live.status
        write = TaskWrite(
            tenant_id=live.facts.tenant_id,
            task_id=live.facts.id,
            expect_attempt=status.attempt,
            expect_state=status.state,
            status=decision.status,
            record=decision.record,
            notes=decision.notes,
            trace=self._after.trace_of(live, main.event),
            frees_key_of=freed_key(live.facts, live.plan, decision.status),
            expect=status,
            messages=self._after.messages_of(live, main.event, decision.status),
        )
        done = partial(self._done, live, main, decision, also)
        change = self._after.following(live, decision, main.event)
        future: Written
        try:
            future = (
                self._ledger.write_task(write) if change is None else self._ledger.change_run(change, write)
            )
        except BroadaxeError as error:
            failed: Future[bool] = asyncio.get_running_loop().create_future()
            failed.set_exception(error)
            future = failed
        future.add_done_callback(done)

    def _done(
        self,
        live: LiveTask,
        main: Submission,
        decision: Decision,
        also: list[Submission],
        future: "Written",
    ) -> None:
        judged = self._in_flight.pop(live)
        live.writing = False
        try:
            self._settle_write(live, main, decision, also, future)
        finally:
            now = self._clock.now()
            if now - judged >= USUAL_COMMIT:
                # Held while the database was away: its span has an end long past, and leaves only now.
                first = judged if self._slow is None else min(self._slow[0], judged)
                self._slow = (first, now)
            if not self._in_flight and self._idle:
                waiters, self._idle = self._idle, []
                for waiter in waiters:
                    if not waiter.done():
                        waiter.set_result(None)

    def _settle_write(
        self,
        live: LiveTask,
        main: Submission,
        decision: Decision,
        also: list[Submission],
        future: "Written",
    ) -> None:
        error = Unavailable("the write was cut off") if future.cancelled() else future.exception()
        if error is None and live.gone and not live.status.state.final:
            # Committed while the lease went: the row is right, this memory is not used any more.
            error = Unavailable("another engine process took over; try again")
        if error is not None:
            live.failures += 1
            for submission in (main, *also):
                _refuse(submission, error)
            self._after.failed(live, main.event, error)
            self._continue(live)
        elif result := future.result():
            live.failures = 0
            before, live.status = live.status, decision.status
            self._after.applied(live, before, decision, main.event, result)
            for submission in (main, *also):
                _answer(submission, decision.status)
            self._continue(live)
        else:
            live.writing = True
            live.reread = False
            self._after.conflicted(live, partial(self._resume, live, (main, *also)))

    def reread(self, live: LiveTask) -> None:
        """Another engine changed the row: read it again before anything else is decided about the task."""
        if live.writing:
            live.reread = True
        elif not live.gone:
            live.writing = True
            live.reread = False
            self._after.conflicted(live, partial(self._resume, live, ()))

    def _resume(self, live: LiveTask, waiting: Sequence[Submission]) -> None:
        """The row was read: what was decided on memory as it was is decided anew."""
        live.writing = False
        again = list(waiting)
        if live.held is not None:
            again = [*live.held.waiting, *again]
            live.held = None
            self._held.pop(live, None)
        for submission in again:
            # A waiting task was put back into its queue: it is assigned from there.
            if isinstance(submission.event, Assigned):
                _answer(submission, None)
        live.backlog.extendleft(
            reversed([submission for submission in again if not isinstance(submission.event, Assigned)])
        )
        self._continue(live)

    def _continue(self, live: LiveTask) -> None:
        if live.reread and not live.writing:
            self.reread(live)
        while live.backlog and not live.writing:
            self._advance(live, live.backlog.popleft())


def freed_key(facts: TaskFacts, plan: StepPlan, status: TaskStatus) -> UUID | None:
    """The run whose idempotency key its end frees. The end of one of several tasks is not the run's."""
    single = facts.run_id == facts.id
    rule = plan.version.definition.idempotency
    return facts.run_id if status.state.final and single and frees_at_end(rule) else None


def _answer(submission: Submission, status: TaskStatus | None) -> None:
    if not submission.future.done():
        submission.future.set_result(status)


def _refuse(submission: Submission, error: BaseException) -> None:
    if not submission.future.done():
        submission.future.set_exception(error)
        # Internal events have nobody who waits; `failed` deals with those.
        submission.future.exception()
