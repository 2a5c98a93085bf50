"""What the engine does when it comes to schedule tenants, and when it ceases to."""

from collections.abc import Callable

from broadaxe.domain.ids import TenantId
from broadaxe.engine.elsewhere.inbox import Inbox
from broadaxe.engine.parts.ground import Ground
from broadaxe.engine.parts.intake import Intake
from broadaxe.engine.parts.runs import Runs
from broadaxe.engine.parts.scheduling import Scheduling


class Tenure:
    """Implements `services.ownership.Owner`."""

    def __init__(
        self, ground: Ground, scheduling: Scheduling, runs: Runs, intake: Intake, inbox: Inbox
    ) -> None:
        self._ground = ground
        self._scheduling = scheduling
        self._runs = runs
        self._intake = intake
        self._inbox = inbox
        self._look: Callable[[], None] = lambda: None

    def use(self, look: Callable[[], None]) -> None:
        """`look` for messages at once."""
        self._look = look

    def gained(self, partition: int) -> None:
        """Memory is whole: answer who waited."""
        self._inbox.gaining(partition)
        self._scheduling.neighbours.gained(partition)
        self._intake.schedules.gained()
        self._look()
        self._ground.background.spawn(self._inbox.gained(partition), "messages of a take-over")

    def dropped(self, partition: int) -> None:
        """The lease is gone: forget its tenants. Their streams go on, scheduled by the next owner."""

        def gone(tenant_id: TenantId) -> bool:
            return self._ground.gate.partition(tenant_id) == partition

        workers = [worker for worker in self._ground.memory.workers.values() if gone(worker.row.tenant_id)]
        for live in list(self._ground.memory.tasks.values()):
            if gone(live.facts.tenant_id):
                self._ground.timers.cancel(live.timer)
                self._scheduling.lifecycle.writes.drop(live)
        for run in list(self._ground.memory.runs.values()):
            if gone(run.facts.tenant_id):
                self._runs.book.drop(run)
        for worker in workers:
            self._ground.timers.cancel(worker.dead_timer)
        self._ground.memory.forget(gone)
        self._scheduling.neighbours.dropped(workers)
        self._scheduling.results.forget()
        self._scheduling.run_events.close_for(gone)
        self._scheduling.results.recheck()
        self._intake.schedules.gained()

    async def settled(self) -> None:
        """Wait for what is in flight."""
        await self._intake.triggers.settle()
        await self._scheduling.lifecycle.writes.settle()
