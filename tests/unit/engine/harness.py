"""An engine on a ledger in memory, under a clock that moves when told to."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from broadaxe.domain.ids import EngineId, TenantId
from broadaxe.domain.task import TaskState
from broadaxe.domain.workflow import StepDefinition, WorkflowDefinition
from broadaxe.engine.api import ActionKind, EventKind, NewWorker, Origin, Trigger, WorkerAction, WorkerEvent
from broadaxe.engine.context import EngineOptions
from broadaxe.engine.core import EngineCore
from broadaxe.engine.dispatch.sessions import Session
from broadaxe.engine.services.maintenance import Chore
from broadaxe.store.ledger import StoredTask
from broadaxe.telemetry.sampler import Sampler
from broadaxe.telemetry.tracer import Tracer
from broadaxe.testkit.memory.ledger import MemoryLedger
from broadaxe.testkit.memory.tables import MemoryTables
from broadaxe.testkit.virtual_time import VirtualClock, VirtualIds

TENANT = TenantId(UUID(int=1))
OTHER = TenantId(UUID(int=2))
ENGINE = EngineId(UUID(int=9))


class RecordingMeter:
    """Keeps counters by name and labels."""

    def __init__(self) -> None:
        self.counts: dict[tuple[str, tuple[Any, ...]], float] = {}
        self.values: list[tuple[str, float]] = []
        self.gauges: dict[str, Callable[[], Any]] = {}

    def add(self, metric: Any, value: float = 1, labels: Any = ()) -> None:
        key = (metric.name, tuple(text for _, text in labels))
        self.counts[key] = self.counts.get(key, 0) + value

    def record(self, metric: Any, value: float, labels: Any = ()) -> None:
        self.values.append((metric.name, value))

    def observe(self, metric: Any, callback: Any) -> None:
        self.gauges[metric.name] = callback


class FakeWorker:
    """A worker's side of a session: takes actions as a transport would."""

    def __init__(self, bench: "Bench", worker_id: UUID, session: Session) -> None:
        self.bench = bench
        self.id = worker_id
        self.session = session
        self.actions: list[WorkerAction] = []
        self.ended = False
        self.mute = False
        """Its transport hangs with the next message: whether that arrived nobody can tell."""
        self._task = asyncio.get_running_loop().create_task(self._read())

    async def _read(self) -> None:
        async for action in self.session:
            self.actions.append(action)
            if self.mute:
                await asyncio.Event().wait()
            self.session.sent(action, self.bench.clock.now_ns(), self.bench.clock.now_ns(), 1)
        self.ended = True
        self.session.close()

    @property
    def starts(self) -> list[WorkerAction]:
        return [action for action in self.actions if action.kind is ActionKind.START]

    @property
    def cancels(self) -> list[WorkerAction]:
        return [action for action in self.actions if action.kind is ActionKind.CANCEL]

    async def hang_up(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])
        self.session.close()
        await self.bench.settle()


@dataclass
class Bench:
    clock: VirtualClock
    ids: VirtualIds
    tables: MemoryTables
    ledger: MemoryLedger
    engine: EngineCore
    meter: RecordingMeter
    spans: list[bytes]

    async def settle(self, turns: int = 40) -> None:
        """Let everything run that is ready to."""
        for _ in range(turns):
            await asyncio.sleep(0)

    async def advance(self, seconds: float, step: float = 1.0) -> None:
        """Let time pass, firing what becomes due on the way."""
        left = seconds
        while left > 1e-9:
            part = min(step, left)
            self.clock.advance(part)
            left -= part
            self.engine.timers_service.fire()
            await self.settle(12)

    async def register(self, **fields: Any) -> None:
        step_fields = {"name": "step", "action": "flow:step", "slots": {}, **fields.pop("step", {})}
        step = StepDefinition(id=UUID(int=3), **step_fields)
        definition = WorkflowDefinition(name=fields.pop("name", "flow"), steps=(step,), **fields)
        await self.engine.put_workflow(TENANT, definition, Origin())

    async def worker(self, slots: int = 10, **fields: Any) -> FakeWorker:
        new = NewWorker(
            name=fields.get("name", "worker"),
            actions=fields.get("actions", ("flow:step",)),
            slots=fields.get("units", {"default": slots}),
            labels=fields.get("labels", {}),
            runtime={},
        )
        worker_id = await self.engine.register_worker(TENANT, new)
        return await self.listen(worker_id)

    async def listen(self, worker_id: UUID) -> FakeWorker:
        session = await self.engine.open_session(TENANT, worker_id)
        worker = FakeWorker(self, worker_id, session)
        await self.settle()
        return worker

    async def trigger(self, input: Any = None, workflow: str = "flow", **fields: Any) -> UUID:
        request = Trigger(workflow, json.dumps(input or {}).encode(), **fields)
        run_id = await self.engine.trigger(TENANT, request, fields.pop("origin", Origin()))
        await self.settle()
        return run_id

    async def report(
        self, kind: EventKind, task_id: UUID, payload: bytes = b"", attempt: int | None = None, **fields: Any
    ) -> None:
        event = WorkerEvent(kind, task_id, attempt, payload, **fields)
        call = asyncio.ensure_future(self.engine.worker_event(TENANT, event, Origin()))
        await self.settle()
        if kind is EventKind.STARTED and not call.done():
            await self.advance(0.06, 0.06)
        await call
        await self.settle()

    def row(self, task_id: UUID) -> StoredTask:
        return self.tables.tasks[task_id]

    def state(self, task_id: UUID) -> TaskState:
        return self.tables.tasks[task_id].status.state

    def count(self, name: str, *labels: str) -> float:
        return self.meter.counts.get((name, labels), 0)

    async def close(self) -> None:
        await self.engine.drain()
        await self.engine.stop()


async def make_bench(
    tables: MemoryTables | None = None,
    clock: VirtualClock | None = None,
    *,
    start: bool = True,
    ratio: float | None = None,
    seed: int = 0,
    readings: tuple[Chore, ...] = (),
    **options: Any,
) -> Bench:
    clock = clock or VirtualClock()
    ids = VirtualIds(clock, seed)
    ledger = MemoryLedger(clock, tables)
    spans: list[bytes] = []
    tracer = Tracer(clock, ids, None if ratio is None else spans.append, Sampler(ratio or 0.0), strict=True)
    meter = RecordingMeter()
    engine = EngineCore(
        ledger, clock, ids, tracer, meter, replace(EngineOptions(ENGINE), **options), readings=readings
    )
    bench = Bench(clock, ids, ledger.tables, ledger, engine, meter, spans)
    if start:
        engine.start()
        await engine.until_ready()
    return bench
