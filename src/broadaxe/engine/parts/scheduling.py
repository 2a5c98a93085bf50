"""Who runs what, what is sent to workers, who hears of it; and the tenants of other engines."""

from broadaxe.engine.dispatch.desk import WorkerDesk
from broadaxe.engine.dispatch.dispatcher import Dispatcher
from broadaxe.engine.dispatch.results import RunResults
from broadaxe.engine.dispatch.run_events import RunEvents
from broadaxe.engine.elsewhere.neighbours import Neighbours
from broadaxe.engine.elsewhere.outgoing import Outgoing
from broadaxe.engine.parts.ground import Ground
from broadaxe.engine.scheduler.lifecycle import Lifecycle
from broadaxe.engine.scheduler.scheduler import Scheduler
from broadaxe.engine.services.liveness import Liveness


class Scheduling:
    """The parts that tasks, workers and subscribers pass through."""

    def __init__(self, ground: Ground) -> None:
        context, gate, memory, timers = ground.context, ground.gate, ground.memory, ground.timers
        traces, tally, background = ground.traces, ground.tally, ground.background
        self.scheduler = Scheduler(context, memory, tally)
        self.scheduler.decides = gate.owns
        self.neighbours = Neighbours(
            context,
            gate,
            ground.held,
            timers,
            memory,
            ground.catalog,
            traces,
            tally,
            Outgoing(context, background),
            background,
        )
        self.dispatcher = Dispatcher(context, memory, self.scheduler, traces, tally, background)
        self.results = RunResults(context, memory, timers, ground.catalog, traces, background)
        self.run_events = RunEvents(context, gate, memory, timers)
        self.listeners = (self.results, self.run_events, self.neighbours.interest)
        """Who hears what becomes of tasks and runs."""
        self.lifecycle = Lifecycle(
            context,
            gate,
            memory,
            timers,
            self.scheduler,
            self.dispatcher,
            traces,
            tally,
            background,
            self.listeners,
        )
        self.liveness = Liveness(context, gate, memory, timers, self.lifecycle.writes)
        self.desk = WorkerDesk(
            context,
            gate,
            ground.held,
            memory,
            self.scheduler,
            self.dispatcher,
            self.liveness,
            background,
        )
