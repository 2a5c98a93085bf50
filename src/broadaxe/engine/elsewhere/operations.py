"""Cancels and replays of tenants that another engine schedules."""

from collections.abc import Callable, Sequence
from uuid import UUID

import msgspec

from broadaxe.domain.errors import FailedPrecondition
from broadaxe.domain.ids import TenantId
from broadaxe.domain.task import CancelRequested, Replayed, TaskEvent, TaskFilter
from broadaxe.engine.api import Origin
from broadaxe.engine.context import EngineContext
from broadaxe.engine.elsewhere.rows import RowsElsewhere
from broadaxe.engine.gate import Gate
from broadaxe.engine.ingest.operations import Operations
from broadaxe.engine.tracing import run_context, sampled
from broadaxe.store.ledger import Message, MessageKind, StoredTask

_PAGE = 500


class OperationsElsewhere:
    """Each is a change of rows, acknowledged after its commit."""

    def __init__(
        self, context: EngineContext, gate: Gate, rows: RowsElsewhere, operations: Operations
    ) -> None:
        self._ledger = context.ledger
        self._options = context.options
        self._gate = gate
        self._rows = rows
        self._operations = operations

    async def cancel(
        self, tenant_id: TenantId, ids: Sequence[UUID], where: TaskFilter | None, origin: Origin
    ) -> list[UUID]:
        """Cancel what is not final; the ids that were."""
        await self._gate.wait(admit_draining=True)
        limit = self._options.cancel_limit
        wanted = await self._operations.wanted(tenant_id, ids, where, limit, final=False)
        done = await self._change(
            tenant_id, wanted, lambda row: CancelRequested(reason="Cancelled by request"), origin
        )
        runs: list[UUID] = [
            run.facts.id for run in await self._ledger.get_runs(tenant_id, wanted) if not run.end
        ]
        if runs:
            # Steps that only wait have no row: their owner cancels them.
            await self._leave(tenant_id, MessageKind.CANCEL, runs)
        return [*runs, *(one for one in done if one not in runs)]

    async def replay(
        self, tenant_id: TenantId, ids: Sequence[UUID], where: TaskFilter | None, origin: Origin
    ) -> list[UUID]:
        """Run final tasks again; the ids that do."""
        if not self._options.replay_enabled:
            raise FailedPrecondition("replay is switched off")
        await self._gate.wait()
        limit = self._options.replay_limit
        wanted = await self._operations.wanted(tenant_id, ids, where, limit, final=True)
        steps: list[UUID] = []
        alone: list[UUID] = []
        for at in range(0, len(wanted), _PAGE):
            for stored in await self._ledger.get_tasks(tenant_id, wanted[at : at + _PAGE]):
                facts = stored.facts
                if facts.run_id == facts.id:
                    alone.append(facts.id)
                elif stored.status.state.final:
                    steps.append(facts.run_id if facts.run_id in wanted else facts.id)
        if steps:
            # A run of several is opened again by who decides about its steps.
            await self._leave(tenant_id, MessageKind.REPLAY, list(dict.fromkeys(steps)))
        done = await self._change(tenant_id, alone, lambda row: Replayed(), origin)
        return [*dict.fromkeys(steps), *done]

    async def _leave(self, tenant_id: TenantId, kind: MessageKind, ids: Sequence[UUID]) -> None:
        body = msgspec.json.encode({"ids": ids})
        await self._ledger.post([Message(tenant_id, kind, body)])

    async def _change(
        self,
        tenant_id: TenantId,
        ids: Sequence[UUID],
        event_of: Callable[[StoredTask], TaskEvent | None],
        origin: Origin,
    ) -> list[UUID]:
        done: list[UUID] = []
        for at in range(0, len(ids), _PAGE):
            stored = await self._ledger.get_tasks(tenant_id, ids[at : at + _PAGE])
            origin.touched += [run_context(one.facts) for one in stored if sampled(one.facts)]
            trace = run_context(stored[0].facts) if stored and sampled(stored[0].facts) else None
            for changed in await self._rows.change(stored, event_of, trace=trace):
                if changed.decision is not None:
                    done.append(changed.before.facts.id)
        return done
