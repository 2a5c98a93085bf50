"""The ledger in memory: the same compare-and-set and claims as the database, with faults at will."""

from broadaxe.testkit.memory.fleet import MemoryFleet
from broadaxe.testkit.memory.reads import MemoryReads
from broadaxe.testkit.memory.workers import MemoryWorkers
from broadaxe.testkit.memory.workflows import MemoryWorkflows
from broadaxe.testkit.memory.writing import MemoryWriting


class MemoryLedger(MemoryWriting, MemoryReads, MemoryWorkflows, MemoryWorkers, MemoryFleet):
    """Implements `Ledger` on `MemoryTables`. Commits happen on the next turn of the loop, in order, unless
    `hold` is set: then they wait for `release`."""
