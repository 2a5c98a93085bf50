"""Tells whoever schedules that rows of crons, planned runs or workflows were changed."""

from uuid import UUID

import msgspec

from broadaxe.domain.errors import BroadaxeError
from broadaxe.domain.ids import TenantId
from broadaxe.engine.context import EngineContext
from broadaxe.engine.gate import Gate
from broadaxe.engine.ingest.catalog import Catalog
from broadaxe.engine.scheduler.pausing import Pausing
from broadaxe.engine.scheduler.timers import Timers
from broadaxe.engine.schedules.requests import Changed
from broadaxe.engine.schedules.service import Schedules
from broadaxe.store.ledger import Ledger, Message, MessageKind

_RETRY = 1.0


class ScheduleChanges:
    """In the process that schedules memory follows at once; in another a message is left for the owner."""

    def __init__(
        self,
        context: EngineContext,
        gate: Gate,
        timers: Timers,
        catalog: Catalog,
        schedules: Schedules,
        pausing: Pausing,
    ) -> None:
        self._ledger = context.ledger
        self._gate = gate
        self._timers = timers
        self._catalog = catalog
        self._schedules = schedules
        self._pausing = pausing

    def has_crons(self, tenant_id: TenantId, workflow_id: UUID) -> bool:
        """Whether crons of the workflow wait here; in a process that does not schedule nobody knows."""
        return not self._gate.owns(tenant_id) or self._schedules.book.has_crons(tenant_id, workflow_id)

    async def announce(self, tenant_id: TenantId, changed: Changed) -> None:
        """Returns once the owner knows, or has a message."""
        if changed.forget is not None and len(self._ledger.fleet.members) > 1:
            body = msgspec.json.encode({"workflow": changed.forget})
            await self._ledger.post([Message(tenant_id, MessageKind.WORKFLOW_CHANGED, body)])
        if not self._gate.owns(tenant_id):
            if changed.forget is not None:
                self._catalog.forget(tenant_id, changed.forget)
            await post_change(self._ledger, tenant_id, changed)
            return
        await self.apply(tenant_id, changed)

    async def apply(self, tenant_id: TenantId, changed: Changed) -> None:
        """Read again what was changed. While the database is away the change is followed a little later."""
        try:
            await self._follow(tenant_id, changed)
        except BroadaxeError:
            self._timers.after(_RETRY, lambda: self._again(tenant_id, changed))

    def _again(self, tenant_id: TenantId, changed: Changed) -> None:
        if self._gate.owns(tenant_id):
            self._schedules.spawn(self.apply(tenant_id, changed), "following a change")

    async def _follow(self, tenant_id: TenantId, changed: Changed) -> None:
        if changed.forget is not None:
            self._catalog.forget(tenant_id, changed.forget)
        if changed.pause_of is not None:
            await self._pausing.changed(tenant_id, changed.pause_of)
        if changed.crons_of is not None:
            await self._schedules.crons_changed(tenant_id, changed.crons_of)
        if changed.scheduled:
            await self._schedules.scheduled_changed(tenant_id, changed.scheduled)


async def post_change(ledger: Ledger, tenant_id: TenantId, changed: Changed) -> None:
    """Leave a message for the owner."""
    body = msgspec.json.encode(changed)
    await ledger.post([Message(tenant_id, MessageKind.SCHEDULES_CHANGED, body)])


def read_change(body: bytes) -> Changed:
    """What such a message says. msgspec.DecodeError if it is not valid."""
    return msgspec.json.decode(body, type=Changed)
