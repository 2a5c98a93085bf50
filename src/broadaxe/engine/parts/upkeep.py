"""The services of an engine: built, started and stopped together."""

from broadaxe.engine.elsewhere.inbox import Inbox
from broadaxe.engine.gauges import Gauges
from broadaxe.engine.parts.ground import Ground
from broadaxe.engine.parts.intake import Intake
from broadaxe.engine.parts.runs import Runs
from broadaxe.engine.parts.scheduling import Scheduling
from broadaxe.engine.parts.tenure import Tenure
from broadaxe.engine.schedules.changes import read_change
from broadaxe.engine.services.heartbeats import Heartbeats
from broadaxe.engine.services.maintenance import Chore, Maintenance
from broadaxe.engine.services.ownership import Ownership
from broadaxe.engine.services.sweep import Orders, Sweep
from broadaxe.engine.services.timers_service import TimersService


class Upkeep:
    """What runs as long as the process does. Everything else happens because of a call, a timer or a row."""

    def __init__(
        self,
        ground: Ground,
        scheduling: Scheduling,
        runs: Runs,
        intake: Intake,
        orders: Orders,
        chores: tuple[Chore, ...],
        readings: tuple[Chore, ...],
    ) -> None:
        context, gate, timers, memory = ground.context, ground.gate, ground.timers, ground.memory
        options = context.options
        inbox = _inbox(ground, scheduling, intake)
        tenure = Tenure(ground, scheduling, runs, intake, inbox)
        self._schedules = intake.schedules
        self.ownership = Ownership(
            context,
            gate,
            memory,
            ground.catalog,
            scheduling.lifecycle,
            scheduling.liveness,
            scheduling.neighbours.hosts,
            ground.traces,
            intake.event_traces,
            ground.background,
            tenure,
            runs.restore,
        )
        scheduling.neighbours.use(self.ownership)
        self.timers = TimersService(context.clock, timers)
        guests = scheduling.neighbours.guests
        self.heartbeats = Heartbeats(context, gate, memory, timers, guests.workers)
        self.maintenance = Maintenance(gate, timers, options.maintenance_every, chores)
        self.readings = Maintenance(gate, timers, options.watch_every, readings)
        self.sweep = Sweep(
            context,
            gate,
            timers,
            ground.catalog,
            scheduling.desk,
            orders,
            intake.subscriptions,
            inbox,
            self.ownership.confirmed_until,
            ground.tally,
        )
        tenure.use(self.sweep.wake)
        Gauges(context.meter, context.clock, memory, self._epochs, intake.schedules.book)

    def start(self) -> None:
        """Begin: timers run, and the lease is tried for."""
        self.timers.start()
        self.ownership.start()
        self.heartbeats.start()
        self.maintenance.start()
        self.readings.start()
        self.sweep.start()

    async def rest(self) -> None:
        """Begin nothing more. Timers run on, and the leases are kept, for what is in flight."""
        await self.maintenance.stop()
        await self.readings.stop()
        await self.sweep.stop()
        await self.heartbeats.stop()
        await self._schedules.stop()

    def health(self) -> dict[str, bool]:
        """Whether each service does its work."""
        return {
            "ownership": self.ownership.healthy(),
            "timers": self.timers.healthy(),
            "sweep": self.sweep.healthy(),
            "heartbeats": self.heartbeats.healthy(),
            "maintenance": self.maintenance.healthy(),
            "schedules": self._schedules.healthy(),
        }

    def _epochs(self) -> list[tuple[int, int]]:
        return [(lease.partition, lease.epoch) for lease in self.ownership.leases.values()]


def _inbox(ground: Ground, scheduling: Scheduling, intake: Intake) -> Inbox:
    neighbours, changes = scheduling.neighbours, intake.schedule_changes
    return Inbox(
        ground.gate,
        neighbours.guests,
        neighbours.hosts,
        neighbours.interest,
        neighbours.depths,
        neighbours.watching,
        neighbours.rows_changed,
        lambda message: changes.apply(message.tenant_id, read_change(message.body)),
        intake.listeners,
    )
