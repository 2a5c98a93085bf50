"""Writes heartbeats down, all in one statement, now and then and only what changed."""

import asyncio
import logging
from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from broadaxe.domain.errors import BroadaxeError
from broadaxe.domain.ids import TenantId, WorkerId
from broadaxe.engine.context import EngineContext
from broadaxe.engine.gate import Gate
from broadaxe.engine.scheduler.memory import Memory
from broadaxe.engine.scheduler.timers import Timer, Timers
from broadaxe.engine.scheduler.workers import Worker

_LOG = logging.getLogger(__name__)


class Heartbeats:
    """The rows are for people and for the next engine; this one decides from memory."""

    def __init__(
        self,
        context: EngineContext,
        gate: Gate,
        memory: Memory,
        timers: Timers,
        guests: Mapping[UUID, Worker],
    ) -> None:
        """`guests`: workers that listen here while another engine schedules their tenant."""
        self._guests = guests
        self._ledger = context.ledger
        self._every = context.options.heartbeat_flush
        self._gate = gate
        self._memory = memory
        self._timers = timers
        self._timer: Timer | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._timer = self._timers.after(self._every, self._due)

    async def stop(self) -> None:
        """Write what is left, then end."""
        self._timers.cancel(self._timer)
        if self._task is not None:
            await asyncio.wait([self._task])
        if self._gate.open:
            await self.flush()

    def healthy(self) -> bool:
        """Whether it is planned."""
        return self._timer is not None

    async def flush(self) -> None:
        """Write what changed since the last time."""
        changed = [
            (worker, worker.beat_at)
            for worker in (*self._memory.workers.values(), *self._guests.values())
            if worker.beat_at is not None and worker.beat_at != worker.flushed_at
        ]
        if not changed:
            return
        beats: list[tuple[TenantId, WorkerId, datetime]] = [
            (worker.row.tenant_id, worker.row.id, at) for worker, at in changed
        ]
        try:
            await self._ledger.record_heartbeats(beats)
        except BroadaxeError as error:
            _LOG.warning("heartbeats were not written: %s", error.message)
            return
        for worker, at in changed:
            worker.flushed_at = at

    def _due(self) -> None:
        self._timer = self._timers.after(self._every, self._due)
        if self._gate.open and (self._task is None or self._task.done()):
            self._task = asyncio.get_running_loop().create_task(self.flush(), name="heartbeats")
