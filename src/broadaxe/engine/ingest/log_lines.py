"""Log lines of tasks: which task a line belongs to, and in which attempt it was written."""

import asyncio
from collections import OrderedDict
from uuid import UUID

from broadaxe.domain.errors import InvalidArgument, NotFound
from broadaxe.domain.ids import TaskId, TenantId
from broadaxe.domain.payloads import require_object
from broadaxe.engine.api import NewLogLine
from broadaxe.engine.context import EngineContext
from broadaxe.engine.gate import Gate
from broadaxe.engine.scheduler.memory import Memory
from broadaxe.engine.scheduler.row_reads import RowReads
from broadaxe.store.ledger import LogLine

_LIMIT = 10_000
"""Characters of a line."""
_KNOWN = 20_000
"""Tasks remembered as being there, for the further lines of those that are not in memory."""
_LEVELS = frozenset({"DEBUG", "INFO", "WARN", "ERROR"})


class LogLines:
    """Keeps them.

    A task that is not in memory here (it ended, or another engine schedules it) is looked up once: a line
    that names its attempt needs no more than that the task is there."""

    def __init__(self, context: EngineContext, gate: Gate, memory: Memory, reads: RowReads) -> None:
        self._ledger = context.ledger
        self._gate = gate
        self._memory = memory
        self._reads = reads
        self._known: OrderedDict[tuple[TenantId, UUID], TaskId] = OrderedDict()

    async def put(self, tenant_id: TenantId, line: NewLogLine, *, owned: bool) -> None:
        """Store a line; returns after the commit. `owned`: whether this engine schedules the tenant.

        NotFound for an unknown task, InvalidArgument for a bad line."""
        level = _checked_level(line)
        await self._gate.wait(admit_draining=True)
        task_id, attempt = await self._place(tenant_id, line)
        row = LogLine(tenant_id, task_id, attempt, line.at, level, line.message, line.metadata or b"{}")
        await asyncio.shield(self._ledger.add_log_lines([row], owned=owned))

    async def _place(self, tenant_id: TenantId, line: NewLogLine) -> tuple[TaskId, int]:
        """The task and the attempt of a line."""
        live = self._memory.task(tenant_id, line.task_id)
        if live is not None:
            return live.facts.id, live.status.attempt if line.attempt is None else line.attempt
        key = (tenant_id, line.task_id)
        known = self._known.get(key)
        if known is not None and line.attempt is not None:
            self._known.move_to_end(key)
            return known, line.attempt
        stored = await self._reads.get(tenant_id, line.task_id)
        if stored is None:
            raise NotFound(f"task {line.task_id} not found")
        self._know(key, stored.facts.id)
        return stored.facts.id, stored.status.attempt if line.attempt is None else line.attempt

    def _know(self, key: tuple[TenantId, UUID], task_id: TaskId) -> None:
        self._known[key] = task_id
        self._known.move_to_end(key)
        if len(self._known) > _KNOWN:
            self._known.popitem(last=False)


def _checked_level(line: NewLogLine) -> str:
    """The level of a line as it is stored. InvalidArgument for a line that is not taken."""
    if not 1 <= len(line.message) <= _LIMIT or "\x00" in line.message:
        raise InvalidArgument(f"message: must have 1 to {_LIMIT} characters, without U+0000")
    level = (line.level or "INFO").upper()
    if level not in _LEVELS:
        raise InvalidArgument(f"level: must be one of {', '.join(sorted(_LEVELS))}")
    if line.metadata:
        require_object("metadata", line.metadata)
    return level
