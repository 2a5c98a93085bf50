"""Ends of runs for subscribers at other engines: who wants to hear of which, both ways."""

from collections.abc import Sequence
from uuid import UUID

import msgspec

from broadaxe.domain.fleet import Fleet
from broadaxe.domain.ids import EngineId, TenantId
from broadaxe.domain.run import RunEnd
from broadaxe.engine.context import EngineContext
from broadaxe.engine.dispatch.results import RunResults
from broadaxe.engine.elsewhere.bodies import Runs
from broadaxe.engine.elsewhere.outgoing import Outgoing
from broadaxe.engine.gate import Gate
from broadaxe.engine.runs.live_run import LiveRun
from broadaxe.engine.scheduler.live import LiveTask
from broadaxe.engine.scheduler.memory import Memory
from broadaxe.store.ledger import Message, MessageKind

_LIMIT = 100_000
"""Runs that other engines may wait for; of the oldest beyond they hear when the lease moves."""


class Interest:
    """For the owner a watcher of runs; for the others what `RunResults` asks when it is not the owner."""

    def __init__(self, context: EngineContext, gate: Gate, memory: Memory, outgoing: Outgoing) -> None:
        self._me = context.options.engine_id
        self._gate = gate
        self._memory = memory
        self._outgoing = outgoing
        self._results: RunResults | None = None
        self._wanted: dict[tuple[TenantId, UUID], dict[EngineId, None]] = {}

    def use(self, results: RunResults) -> None:
        """Who waits here."""
        self._results = results

    # -- for the subscribers here -------------------------------------------------------------------------

    def want(self, tenant_id: TenantId, ids: Sequence[UUID]) -> None:
        """Ask the owner to tell of the ends of runs, unless this engine is the owner."""
        if ids and not self._gate.owns(tenant_id):
            body = msgspec.json.encode(Runs(list(ids), self._me))
            self._outgoing.post(Message(tenant_id, MessageKind.RUN_WANTED, body))

    async def ended(self, tenant_id: TenantId, runs: Runs) -> None:
        """The owner says that runs ended, or that it does not know them: the rows are looked at."""
        if self._results is not None:
            await self._results.look(tenant_id, runs.ids, again=not runs.kept)

    # -- for the owner ------------------------------------------------------------------------------------

    def wanted(self, tenant_id: TenantId, runs: Runs) -> None:
        """Another engine has subscribers for these."""
        if runs.engine_id is None:
            return
        engine_id = EngineId(runs.engine_id)
        gone: list[UUID] = []
        for run_id in runs.ids:
            self._wanted.setdefault((tenant_id, run_id), {})[engine_id] = None
            if self._memory.task(tenant_id, run_id) is None and run_id not in self._memory.runs:
                gone.append(run_id)
        while len(self._wanted) > _LIMIT:
            del self._wanted[next(iter(self._wanted))]
        if gone:
            # It may have ended before this was asked: whoever asks reads the rows after this answer.
            self._answer(tenant_id, engine_id, gone, kept=True)

    def created(self, live: LiveTask) -> None:
        """A run begins."""

    def finished(self, live: LiveTask) -> None:
        """A task is final; a run of several has an end of its own."""
        if live.facts.run_id == live.facts.id:
            self._over(live.facts.tenant_id, live.facts.run_id)

    def run_created(self, run: LiveRun) -> None:
        """A run of several begins, or goes on."""

    def run_finished(self, run: LiveRun, end: RunEnd) -> None:
        """A run of several is over."""
        self._over(run.facts.tenant_id, run.facts.id)

    def _over(self, tenant_id: TenantId, run_id: UUID) -> None:
        for engine_id in self._wanted.pop((tenant_id, run_id), ()):
            self._answer(tenant_id, engine_id, [run_id], kept=False)

    def seen(self, fleet: Fleet) -> None:
        """Dead engines want nothing."""
        for key, engines in list(self._wanted.items()):
            for engine_id in [one for one in engines if not fleet.alive(one)]:
                del engines[engine_id]
            if not engines:
                del self._wanted[key]

    def _answer(self, tenant_id: TenantId, engine_id: EngineId, ids: list[UUID], *, kept: bool) -> None:
        body = msgspec.json.encode(Runs(ids, kept=kept))
        self._outgoing.post(Message(tenant_id, MessageKind.RUN_ENDED, body, None, engine_id))
