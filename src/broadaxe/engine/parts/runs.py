"""Runs of several tasks: what follows from the end of a step."""

from broadaxe.engine.parts.ground import Ground
from broadaxe.engine.parts.scheduling import Scheduling
from broadaxe.engine.runs.book import RunBook
from broadaxe.engine.runs.conditions import Conditions
from broadaxe.engine.runs.control import RunControl
from broadaxe.engine.runs.look_back import LookBack
from broadaxe.engine.runs.restore import RunRestore
from broadaxe.engine.runs.steps import StepLife
from broadaxe.engine.runs.waits import WaitBook


class Runs:
    """The parts that only a workflow of several tasks needs."""

    def __init__(self, ground: Ground, scheduling: Scheduling) -> None:
        context, gate, memory, timers = ground.context, ground.gate, ground.memory, ground.timers
        lifecycle = scheduling.lifecycle
        self.conditions = Conditions(ground.evaluator)
        self.waits = WaitBook(
            context.clock,
            timers,
            self.conditions,
            LookBack(context, ground.background, timers, self.conditions),
        )
        steps = StepLife(context.clock, memory, lifecycle, ground.traces, ground.tally, scheduling.listeners)
        self.book = RunBook(
            context,
            gate,
            memory,
            timers,
            scheduling.scheduler,
            self.waits,
            steps,
            lifecycle.writes.ride,
        )
        lifecycle.use(self.book)
        self.restore = RunRestore(
            context,
            gate,
            memory,
            timers,
            ground.catalog,
            self.conditions,
            self.book,
            self.waits,
            lifecycle,
            ground.background,
            steps,
        )
        self.control = RunControl(
            context, gate, memory, ground.catalog, lifecycle, self.book, self.restore, steps
        )
