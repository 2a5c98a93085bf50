"""What every part of the engine stands on."""

from broadaxe.engine.background import Background
from broadaxe.engine.context import EngineContext
from broadaxe.engine.gate import Gate
from broadaxe.engine.held import HeldCalls
from broadaxe.engine.ingest.catalog import Catalog
from broadaxe.engine.scheduler.memory import Memory
from broadaxe.engine.scheduler.timers import Timers
from broadaxe.engine.tally import Tally
from broadaxe.engine.tracing import RunTraces
from broadaxe.expr.compiled import Cel
from broadaxe.expr.evaluator import Evaluator


class Ground:
    """Memory, time, the gate, and what is counted and traced."""

    def __init__(self, context: EngineContext) -> None:
        options, ledger = context.options, context.ledger
        self.context = context
        self.timers = Timers(context.clock)
        self.memory = Memory()
        self.gate = Gate(self.timers, options.hold, lambda: ledger.partition_count)
        self.held = HeldCalls(context, self.timers)
        self.background = Background()
        self.tally = Tally(context.meter)
        self.traces = RunTraces(context)
        self.catalog = Catalog(context)
        self.evaluator = Evaluator(Cel(options.expressions))
