"""The engine: built from its parts, started, drained and stopped. Implements `engine.api.Engine`."""

import asyncio
import logging
from collections.abc import Coroutine

from broadaxe.clock import Clock, Ids
from broadaxe.engine.calls import Calls
from broadaxe.engine.context import EngineContext, EngineOptions, Meter
from broadaxe.engine.ingest.events import EventListener
from broadaxe.engine.parts.ground import Ground
from broadaxe.engine.parts.intake import Intake
from broadaxe.engine.parts.runs import Runs
from broadaxe.engine.parts.scheduling import Scheduling
from broadaxe.engine.parts.upkeep import Upkeep
from broadaxe.engine.services.maintenance import Chore
from broadaxe.store.ledger import Ledger
from broadaxe.telemetry.tracer import Tracer

_LOG = logging.getLogger(__name__)
_LEAST_WAIT = 0.5
"""Seconds that a step of a stop has even when the ones before it took all the time."""


class EngineCore(Calls):
    """One engine process. `start`, then serve; `drain`, stop the surfaces, `stop`."""

    def __init__(
        self,
        ledger: Ledger,
        clock: Clock,
        ids: Ids,
        tracer: Tracer,
        meter: Meter,
        options: EngineOptions,
        chores: tuple[Chore, ...] = (),
        readings: tuple[Chore, ...] = (),
        listeners: tuple[EventListener, ...] = (),
    ) -> None:
        """`chores` are done every hour or so, `readings` every minute, both by the owner alone."""
        ground = Ground(EngineContext(ledger, clock, ids, tracer, meter, options))
        scheduling = Scheduling(ground)
        runs = Runs(ground, scheduling)
        intake = Intake(ground, scheduling, runs, listeners)
        super().__init__(ground, scheduling, intake)
        self._ground = ground
        self._scheduling = scheduling
        self._intake = intake
        self._upkeep = Upkeep(ground, scheduling, runs, intake, self, chores, readings)
        self._stop_by: float | None = None
        self.memory = ground.memory
        self.evaluator = ground.evaluator
        self.waits = runs.waits
        self.ownership = self._upkeep.ownership
        self.timers_service = self._upkeep.timers
        self.sweep = self._upkeep.sweep

    def start(self) -> None:
        """Begin: timers run, and the lease is tried for. Use `until_ready` to wait for it."""
        self._upkeep.start()

    async def until_ready(self) -> None:
        """Wait until this process takes calls: what it owns is in memory, the rest is owned by others."""
        await self._gate.wait_for_opening()

    async def drain(self) -> None:
        """Stop taking new work: triggers and listeners are told to try again, every stream ends cleanly, what
        was not sent goes back to its queue. Events are still taken until `stop`."""
        self._gate.draining = True
        self._scheduling.scheduler.stopped = True
        await self._within_drain(self._triggers.settle())
        await self._within_drain(self._triggers_elsewhere.settle())
        self._desk.end_sessions()
        self._neighbours.guests.end_sessions()
        self._results.close()
        self._run_events.close()
        self._neighbours.watching.close()
        await self._within_drain(self._scheduling.lifecycle.writes.settle())

    async def stop(self) -> None:
        """Finish what is in flight and give the lease back. The surfaces are stopped before."""
        self._gate.draining = True
        self._scheduling.scheduler.stopped = True
        self._gate.give_up()
        self._ground.held.give_up()
        await self._within_drain(self._finish())
        self._ground.background.cancel()
        self._gate.set_closed()
        await self._within_drain(self.ownership.stop())
        await self.timers_service.stop()
        await self.evaluator.close()
        self._ground.timers.clear()

    async def _finish(self) -> None:
        await self._upkeep.rest()
        await self._scheduling.lifecycle.writes.settle()
        await self._ground.background.settle()

    async def _within_drain(self, work: Coroutine[None, None, None]) -> None:
        """Without a database some of it never ends: what is not committed by then never was acknowledged.

        All steps of a stop share one deadline, or the operator's patience would be asked for once a step.
        """
        now = self._ground.context.clock.monotonic()
        if self._stop_by is None:
            self._stop_by = now + self._ground.context.options.drain_wait
        try:
            async with asyncio.timeout(max(_LEAST_WAIT, self._stop_by - now)):
                await work
        except TimeoutError:
            _LOG.warning("the engine stops with work in flight: the database did not answer in time")

    def health(self) -> dict[str, bool]:
        """Whether each service does its work."""
        return self._upkeep.health()
