"""What follows from the end of a step: decided before its commit, written in it, applied after it.

A run has at most one change in flight. The end of a step that decides something carries that along in its
own commit, unless a change is in flight: then it is decided after that one, in the next commit. Nothing is
decided twice, and whatever a crash leaves undecided is decided from the rows.
"""

import asyncio
from asyncio import Future
from collections.abc import Callable
from functools import partial
from typing import Protocol

from broadaxe.clock import Clock
from broadaxe.domain.dag import Choice, Phase
from broadaxe.domain.dag_graph import NOTHING_MET, Met
from broadaxe.domain.errors import BroadaxeError, Unavailable
from broadaxe.domain.run import RunEnd
from broadaxe.domain.task import Completed, Decision, TaskEvent, TaskState, TaskStatus
from broadaxe.engine.context import EngineContext
from broadaxe.engine.gate import Gate
from broadaxe.engine.runs.changes import Changes
from broadaxe.engine.runs.live_run import (
    Arrival,
    Coming,
    Flight,
    GivenUp,
    LiveRun,
    StepEnded,
    WaitOver,
    outcome_of,
)
from broadaxe.engine.runs.waits import WaitBook
from broadaxe.engine.scheduler.live import LiveTask
from broadaxe.engine.scheduler.memory import Memory
from broadaxe.engine.scheduler.scheduler import Scheduler
from broadaxe.engine.scheduler.timers import Timers
from broadaxe.engine.scheduler.workers import Worker
from broadaxe.store.run_ledger import ChangeResult, RunChange


class Steps(Protocol):
    """What happens to the tasks of steps."""

    def born(self, live: LiveTask, worker: Worker | None, chosen_at_depth: int) -> None:
        """A task was created, in its queue or already assigned."""

    def decided(self, live: LiveTask, reason: str) -> None:
        """A task was created final: skipped or cancelled."""

    def again(self, live: LiveTask, before: TaskStatus, worker: Worker | None, reason: str) -> None:
        """A step that is run again was decided; `live.status` is the new one."""

    def run_created(self, run: LiveRun) -> None:
        """A run is there, or goes on."""

    def run_finished(self, run: LiveRun, end: RunEnd) -> None:
        """All its steps have ended."""

    def wait_met(self, run: LiveRun, over: WaitOver) -> None:
        """A step's sleep is over, or its event came."""


class RunBook:
    """All runs that are not over."""

    def __init__(
        self,
        context: EngineContext,
        gate: Gate,
        memory: Memory,
        timers: Timers,
        scheduler: Scheduler,
        waits: WaitBook,
        steps: Steps,
        ride: Callable[[], None],
    ) -> None:
        self._ledger = context.ledger
        self._clock: Clock = context.clock
        self._options = context.options
        self._gate = gate
        self._memory = memory
        self._timers = timers
        self._waits = waits
        self._steps = steps
        self._ride = ride
        self._read_again: Callable[[LiveRun], None] | None = None
        self.changes = Changes(context.clock, memory, scheduler)
        waits.use(self.arrived)

    def use(self, read_again: Callable[[LiveRun], None]) -> None:
        """Call this for a run whose rows are not as memory has them."""
        self._read_again = read_again

    # -- the end of a step ------------------------------------------------------------------------------

    def following(self, live: LiveTask, decision: Decision, event: TaskEvent) -> RunChange | None:
        """What is to be written along with the end of a step; None when nothing, or not now."""
        run = live.run
        if run is None or not decision.status.state.final or not run.settled() or run.gone:
            return None
        view = run.view()
        view.end(live.plan.index, outcome_of(decision.status), _met(event))
        flight = self.changes.plan(run, view, self._clock.now(), (), live)
        if flight is None:
            return None
        self._begin(run, flight)
        return flight.change

    def ended(self, live: LiveTask, event: TaskEvent, result: "ChangeResult | bool") -> None:
        """A step's task is final, and that is committed."""
        run = live.run
        if run is None:
            return
        step = live.plan.index
        run.end_step(step, live.id, live.status, self._limits)
        flight = run.flight
        if flight is not None and flight.carrier is live and isinstance(result, ChangeResult):
            self._landed(run, flight, result)
        else:
            self._put(run, StepEnded(step, outcome_of(live.status), _met(event)))

    def not_written(self, live: LiveTask) -> None:
        """The write of a step's end did not hold, or was refused: nothing followed from it."""
        run = live.run
        if run is not None and run.flight is not None and run.flight.carrier is live:
            flight, run.flight = run.flight, None
            self._withdraw(flight)
            self._no_doubt(run)
            self._go_on(run)

    def doubt(self, run: LiveRun) -> None:
        """A row of the run was changed elsewhere."""
        if run.gone or run.busy:
            return
        if run.flight is not None:
            run.doubtful = True
            return
        run.busy = True
        assert self._read_again is not None
        self._read_again(run)

    # -- what else happens ------------------------------------------------------------------------------

    def arrived(self, run: LiveRun, arrival: Arrival) -> None:
        """A sleep is over, an event came, a waiting step is given up."""
        if run.gone:
            _answer(arrival, None)
            return
        self._put(run, arrival)

    def created(self, run: LiveRun, flight: Flight) -> None:
        """A new run is committed."""
        self._memory.runs[run.id] = run
        run.drop_input(self._options.kept_input)
        self._steps.run_created(run)
        self._apply(run, flight)
        self._go_on(run)

    def resumed(self, run: LiveRun, flight: Flight | None) -> None:
        """A run was read from its rows; `flight` is what they leave undecided."""
        run.busy = False
        if flight is not None:
            self._submit(run, flight)
        else:
            self._go_on(run)

    def withdraw(self, flight: Flight) -> None:
        """A new run was not committed."""
        self._withdraw(flight)

    def begin(self, run: LiveRun) -> Flight:
        """The first step forward of a new run."""
        view = run.view()
        view.begin()
        flight = self.changes.plan(run, view, self._clock.now())
        assert flight is not None
        flight.generation = self._gate.generation_of(run.facts.tenant_id)
        return flight

    async def settled(self, run: LiveRun) -> None:
        """Wait until nothing of the run is on its way."""
        while not run.settled() and not run.gone:
            waiter: Future[None] = asyncio.get_running_loop().create_future()
            run.idle.append(waiter)
            await waiter

    def drop(self, run: LiveRun) -> None:
        """Memory was dropped: whoever waits is told to try again."""
        run.gone = True
        error = Unavailable("another engine process took over; try again")
        for arrival in (*(run.flight.arrivals if run.flight else ()), *run.arrived):
            _answer(arrival, error)
        self._waits.close_run(run)
        self._wake(run)

    # -- the rest ---------------------------------------------------------------------------------------

    @property
    def _limits(self) -> tuple[int, int]:
        return self._options.kept_input, self._options.kept_run

    def _put(self, run: LiveRun, arrival: Arrival) -> None:
        run.arrived.append(arrival)
        self._go_on(run)

    def _go_on(self, run: LiveRun) -> None:
        """Decide what arrived, unless something is in flight."""
        while run.arrived and run.flight is None and not run.busy and not run.gone:
            arrivals = self._fresh(run)
            view = run.view()
            for arrival in arrivals:
                if isinstance(arrival, StepEnded):
                    view.end(arrival.step, arrival.outcome, arrival.met)
                elif isinstance(arrival, WaitOver):
                    view.meet(arrival.met.step, arrival.met.item)
                else:
                    view.give_up(arrival.step)
            flight = self.changes.plan(run, view, self._clock.now(), arrivals)
            if flight is None:
                view.merge()
            else:
                self._submit(run, flight)
        if run.settled() or run.gone:
            self._wake(run)

    def _fresh(self, run: LiveRun) -> tuple[Arrival, ...]:
        """What arrived and still matters."""
        arrivals: list[Arrival] = []
        while run.arrived:
            arrival = run.arrived.popleft()
            if isinstance(arrival, WaitOver) and not self._still_waits(run, arrival):
                _answer(arrival, None)
            else:
                arrivals.append(arrival)
        return tuple(arrivals)

    @staticmethod
    def _still_waits(run: LiveRun, over: WaitOver) -> bool:
        wait = run.waits.get((over.met.step, over.met.item))
        return wait is not None and wait.wait.attempt == over.met.attempt

    def _begin(self, run: LiveRun, flight: Flight) -> None:
        flight.generation = self._gate.generation_of(run.facts.tenant_id)
        run.flight = flight

    def _submit(self, run: LiveRun, flight: Flight) -> None:
        self._begin(run, flight)
        try:
            future = self._ledger.change_run(flight.change)
        except BroadaxeError as error:
            future = asyncio.get_running_loop().create_future()
            future.set_exception(error)
        future.add_done_callback(partial(self._done, run, flight))
        self._ride()

    def _done(self, run: LiveRun, flight: Flight, future: "Future[ChangeResult | None]") -> None:
        if run.gone or run.flight is not flight:
            return
        cut = Unavailable("the write was cut off")
        error = cut if future.cancelled() else future.exception()
        result = None if error is not None else future.result()
        if result is not None:
            run.failures = 0
            self._landed(run, flight, result)
            return
        run.flight = None
        self._withdraw(flight)
        run.failures += 1
        for arrival in flight.arrivals:
            if isinstance(arrival, WaitOver) and arrival.answer is not None:
                _answer(arrival, error or cut)
        # The rows say what is left to do; what only memory knew, like a sleep that is over, they know as due.
        run.busy = True
        pause = min(60.0, self._options.retry_write * 2 ** min(run.failures - 1, 6))
        self._timers.after(pause, partial(self._again, run))

    def _again(self, run: LiveRun) -> None:
        if not run.gone:
            assert self._read_again is not None
            self._read_again(run)

    def _landed(self, run: LiveRun, flight: Flight, result: ChangeResult) -> None:
        run.flight = None
        wanted = {coming.live.id for coming in flight.new}
        again = {one.coming.live.id for one in flight.again}
        if result.created != wanted or result.written != again:
            self._withdraw(flight)
            self._answer_all(flight)
            run.busy = True
            assert self._read_again is not None
            self._read_again(run)
            return
        self._apply(run, flight)
        self._answer_all(flight)
        self._no_doubt(run)
        self._go_on(run)

    def _no_doubt(self, run: LiveRun) -> None:
        if run.doubtful and not run.gone:
            run.doubtful = False
            self.doubt(run)

    def _apply(self, run: LiveRun, flight: Flight) -> None:
        """It is committed: memory follows."""
        flight.view.merge()
        for arrival in flight.arrivals:
            if isinstance(arrival, WaitOver):
                self._met_wait(run, arrival)
        for decided in flight.view.decided:
            self._waits.close_step(run, decided.step)
            if decided.choice is not Choice.GO:
                run.data.pop(decided.step, None)
        for wait in flight.change.opened:
            if run.progress.nodes[wait.step].phase is Phase.WAITING:
                self._waits.open(run, wait)
        for coming in flight.new:
            self._enter(run, coming)
        for one in flight.again:
            live = one.coming.live
            live.status = one.decision.status
            if live.status.state is TaskState.QUEUED:
                self.changes.arrived(live)
            self._steps.again(live, one.before, one.coming.worker, one.coming.decided.reason)
            if live.status.state.final:
                run.end_step(one.coming.step, live.id, live.status, self._limits)
        if flight.change.end is not None:
            self._finish(run, flight.change.end)

    def _enter(self, run: LiveRun, coming: Coming) -> None:
        """A step got its task."""
        live = coming.live
        if live.status.state.final:
            run.end_step(coming.step, live.id, live.status, self._limits)
            self._steps.decided(live, coming.decided.reason)
            return
        run.tasks[coming.step] = live
        if coming.worker is None:
            self.changes.arrived(live)
        queue = self._memory.queues.get(live.queue_key)
        self._steps.born(live, coming.worker, queue.size if queue is not None else 0)

    def _met_wait(self, run: LiveRun, over: WaitOver) -> None:
        met = over.met
        wait = run.waits.get((met.step, met.item))
        if wait is None:
            return
        if wait.rule.action not in (int(Choice.SKIP), int(Choice.CANCEL)):
            run.data.setdefault(met.step, {})[wait.rule.condition.data_key] = met.data
        self._steps.wait_met(run, over)
        self._waits.close(run, met.step, met.item)

    def _finish(self, run: LiveRun, end: RunEnd) -> None:
        run.gone = True
        self._memory.runs.pop(run.id, None)
        self._waits.close_run(run)
        self._steps.run_finished(run, end)
        for arrival in run.arrived:
            _answer(arrival, None)
        run.arrived.clear()
        self._wake(run)

    def _withdraw(self, flight: Flight) -> None:
        if self._gate.generation_of(flight.change.tenant_id) == flight.generation != 0:
            self.changes.withdraw(flight)

    @staticmethod
    def _answer_all(flight: Flight) -> None:
        for arrival in flight.arrivals:
            _answer(arrival, None)

    @staticmethod
    def _wake(run: LiveRun) -> None:
        waiters, run.idle = run.idle, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)


def give_up(run: LiveRun) -> list[GivenUp]:
    """What cancels the steps that only wait."""
    return [GivenUp(step) for step in dict.fromkeys(step for step, _ in run.waits)]


def _met(event: TaskEvent) -> Met:
    return event.met if isinstance(event, Completed) else NOTHING_MET


def _answer(arrival: Arrival, error: BaseException | None) -> None:
    if not isinstance(arrival, WaitOver) or arrival.answer is None or arrival.answer.done():
        return
    if error is None:
        arrival.answer.set_result(None)
    else:
        arrival.answer.set_exception(error)
        arrival.answer.exception()
