"""Random sequences of calls, faults and time keep the invariants of design.md section 7."""

import asyncio
from typing import Any
from uuid import UUID

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broadaxe.domain.errors import BroadaxeError
from broadaxe.domain.task import TaskState
from broadaxe.engine.api import ActionKind, EventKind, Origin, WorkerAction
from broadaxe.store.ledger import StoreError, TaskWrite
from broadaxe.testkit.verify import verify
from tests.unit.engine.harness import TENANT, Bench, FakeWorker, make_bench

STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            (
                "trigger",
                "trigger",
                "trigger",
                "start",
                "complete",
                "complete",
                "complete",
                "fail",
                "cancel",
                "replay",
                "release",
                "stale",
                "tick",
                "tick",
                "long",
                "beat",
                "join",
                "leave",
                "mute",
                "return",
                "crash",
                "lose",
                "refuse",
                "hold",
            )
        ),
        st.integers(0, 7),
    ),
    min_size=5,
    max_size=60,
)


class Model:
    """What the outside knows: acknowledged ids, cancels, results, and what every worker was sent."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.runs: list[UUID] = []
        self.cancelled: dict[UUID, int] = {}
        self.accepted: dict[tuple[UUID, int], bytes] = {}
        self.workers: list[FakeWorker] = []
        self.old: list[FakeWorker] = []
        self.results = 0
        self.crashes = 0

    def pick(self, number: int) -> UUID | None:
        return self.runs[-1 - number % len(self.runs)] if self.runs else None

    def sent(self) -> list[WorkerAction]:
        return [
            action
            for worker in (*self.old, *self.workers)
            for action in worker.actions
            if action.kind is ActionKind.START
        ]

    async def report(self, kind: EventKind, run: UUID, attempt: int, payload: bytes = b"") -> None:
        bench = self.bench
        before = bench.row(run).status
        await bench.report(kind, run, payload, attempt)
        after = bench.row(run).status
        if kind is EventKind.COMPLETED and after.output == payload and before.output != payload:
            assert (run, attempt) not in self.accepted, "I3: a result was accepted twice"
            self.accepted[(run, attempt)] = payload

    async def step(self, name: str, number: int) -> None:
        try:
            await getattr(self, name)(number)
        except BroadaxeError:
            return

    async def trigger(self, number: int) -> None:
        self.runs.append(await self.bench.trigger({"n": number}, priority=1 + number % 3))

    async def start(self, number: int) -> None:
        run = self.pick(number)
        if run is not None:
            await self.report(EventKind.STARTED, run, self.bench.row(run).status.attempt)

    async def complete(self, number: int) -> None:
        run = self.pick(number)
        if run is not None:
            self.results += 1
            payload = str(self.results).encode()
            await self.report(EventKind.COMPLETED, run, self.bench.row(run).status.attempt, payload)

    async def fail(self, number: int) -> None:
        run = self.pick(number)
        if run is not None:
            await self.report(EventKind.FAILED, run, self.bench.row(run).status.attempt, b"no")

    async def stale(self, number: int) -> None:
        run = self.pick(number)
        if run is not None:
            attempt = self.bench.row(run).status.attempt - 1
            before = self.bench.row(run).status
            await self.report(EventKind.COMPLETED, run, attempt, b'"stale"')
            assert self.bench.row(run).status.output != b'"stale"', f"I3: stale result accepted: {before}"

    async def cancel(self, number: int) -> None:
        run = self.pick(number)
        if run is not None:
            for one in await self.bench.engine.cancel(TENANT, [run], None, Origin()):
                self.cancelled[one] = self.bench.row(one).status.attempt

    async def replay(self, number: int) -> None:
        run = self.pick(number)
        if run is not None:
            await self.bench.engine.replay(TENANT, [run], None, Origin())

    async def release(self, number: int) -> None:
        run = self.pick(number)
        if run is not None:
            await self.bench.engine.release_slot(TENANT, run)

    async def tick(self, number: int) -> None:
        await self.bench.advance(0.2 * number, 0.2)

    async def long(self, number: int) -> None:
        await self.bench.advance(8.0 * number, 2.0)

    async def beat(self, number: int) -> None:
        for worker in self.workers:
            await self.step_beat(worker)

    async def step_beat(self, worker: FakeWorker) -> None:
        try:
            await self.bench.engine.heartbeat(TENANT, worker.id)
        except BroadaxeError:
            return

    async def join(self, number: int) -> None:
        if len(self.workers) < 3:
            self.workers.append(await self.bench.worker(slots=1 + number % 3))

    async def leave(self, number: int) -> None:
        if self.workers:
            worker = self.workers.pop(number % len(self.workers))
            self.old.append(worker)
            await worker.hang_up()

    async def mute(self, number: int) -> None:
        if self.workers:
            self.workers[number % len(self.workers)].mute = True

    async def return_(self, number: int) -> None:
        if self.old:
            worker = self.old[number % len(self.old)]
            self.workers.append(await self.bench.listen(worker.id))

    async def crash(self, number: int) -> None:
        bench = self.bench
        bench.ledger.crash()
        await bench.engine.timers_service.stop()
        bench.engine.ownership._task.cancel()  # type: ignore[union-attr]
        self.old += self.workers
        self.workers = []
        # No process starts within the millisecond in which another died, and ids are in order by those.
        bench.clock.advance(0.001)
        # A seed of its own for each process, or two of them would make the same ids.
        self.crashes += 1
        self.bench = await make_bench(bench.tables, bench.clock, seed=1_000 * self.crashes + number)
        for worker in self.old:
            worker.bench = self.bench

    async def lose(self, number: int) -> None:
        self.bench.ledger.lose()
        self.old += self.workers
        self.workers = []
        await self.bench.settle()

    async def refuse(self, number: int) -> None:
        left = [number % 3]

        def refuse(item: object) -> BaseException | None:
            if isinstance(item, TaskWrite) and left[0] > 0:
                left[0] -= 1
                return StoreError("refused")
            return None

        self.bench.ledger.refuse = refuse
        await self.bench.advance(0.5, 0.5)
        self.bench.ledger.refuse = lambda item: None
        await self.bench.advance(70, 10)

    async def hold(self, number: int) -> None:
        """Things that happen while one commit is in flight."""
        bench = self.bench
        bench.ledger.hold = True
        run = self.pick(number)
        calls: list[asyncio.Future[Any]] = [asyncio.ensure_future(bench.trigger(priority=2))]
        created = len(calls)
        if run is not None:
            calls.append(asyncio.ensure_future(bench.engine.cancel(TENANT, [run], None, Origin())))
            attempt = bench.row(run).status.attempt
            calls.append(
                asyncio.ensure_future(bench.report(EventKind.COMPLETED, run, b'"held"', attempt=attempt))
            )
        await bench.settle()
        bench.ledger.release()
        await asyncio.wait(calls)
        if calls[0].exception() is None:
            self.runs.append(calls[0].result())
        if len(calls) > created and calls[created].exception() is None:
            for one in calls[created].result():
                self.cancelled[one] = bench.row(one).status.attempt
        for call in calls[created + 1 :]:
            call.exception()

    def check(self) -> None:
        bench = self.bench
        verify(
            bench.engine.memory,
            bench.tables.tasks.values(),
            acknowledged=self.runs,
            cancelled=self.cancelled,
            history=bench.tables.history,
        )
        starts = [(action.task_id, action.attempt) for action in self.sent()]
        assert len(starts) == len(set(starts)), "the same attempt was sent twice"


async def play(steps: list[tuple[str, int]]) -> None:
    bench = await make_bench()
    await bench.register(step={"retries": 2, "timeout": 20.0, "schedule_timeout": 120.0})
    model = Model(bench)
    for name, number in steps:
        await model.step("return_" if name == "return" else name, number)
        await model.bench.settle()
        model.check()
    await finish(model)


async def finish(model: Model) -> None:
    """However it went: with a worker at hand everything ends."""
    worker = await model.bench.worker(slots=50)
    for _ in range(40):
        try:
            await model.bench.engine.heartbeat(TENANT, worker.id)
        except BroadaxeError:
            worker = await model.bench.worker(slots=50)
        for run in model.runs:
            status = model.bench.row(run).status
            if status.state is TaskState.ASSIGNED:
                await model.report(EventKind.COMPLETED, run, status.attempt, b"1")
        await model.bench.advance(4, 2.0)
    assert all(model.bench.state(run).final for run in model.runs), "I1: a run never ends"
    model.old.append(worker)
    model.check()
    await model.bench.close()


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(STEPS)
def test_engine_any_sequence_keeps_the_invariants(steps: list[tuple[str, int]]) -> None:
    asyncio.run(play(steps))
