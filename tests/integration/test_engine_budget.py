"""What tasks cost at load: an engine on PostgreSQL, to which all comes in one turn of its loop.

How many tasks share a commit is decided here by the test, never by the speed of the machine: the reports of
starts wait for the ends, and the sweep is too far off to run. So each bound is a count.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from uuid import UUID, uuid4

import asyncpg
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans
from store_server import new_options

from broadaxe.clock import SystemClock, SystemIds
from broadaxe.domain.ids import EngineId, TenantId
from broadaxe.domain.workflow import StepDefinition, WorkflowDefinition
from broadaxe.engine.api import EventKind, NewWorker, Origin, Trigger, WorkerAction, WorkerEvent
from broadaxe.engine.context import EngineOptions
from broadaxe.engine.core import EngineCore
from broadaxe.engine.dispatch.sessions import Session
from broadaxe.store.connection import Database
from broadaxe.store.instruments import NoMetrics
from broadaxe.store.postgres_ledger import PostgresLedger
from broadaxe.telemetry.sampler import Sampler
from broadaxe.telemetry.tracer import Tracer

TASKS = 200
FAR = 3_600.0
"""Seconds; later than any test ends."""
TENANT = TenantId(uuid4())
INPUT = b'{"message":"' + b"x" * 150 + b'"}'
OUTPUT = b'{"result":"done and well"}'


@dataclass
class Loaded:
    """An engine, one worker with slots enough, and what was recorded."""

    engine: EngineCore
    ledger: PostgresLedger
    session: Session
    spans: list[bytes]
    actions: "asyncio.Queue[WorkerAction]" = field(default_factory=asyncio.Queue)

    async def read(self) -> None:
        """The worker's stream."""
        async for action in self.session:
            self.session.sent(action, 1, 2, 100)
            self.actions.put_nowait(action)

    async def trigger(self, count: int) -> list[UUID]:
        """That many calls in one turn; ends when all were sent to the worker."""
        calls = (self.engine.trigger(TENANT, Trigger("flow", INPUT), Origin()) for _ in range(count))
        runs = await asyncio.gather(*calls)
        sent = [(await self.actions.get()).task_id for _ in range(count)]
        assert sorted(sent) == sorted(runs)
        return runs

    async def finish(self, tasks: list[UUID]) -> None:
        """The worker reports all starts and all ends in one turn."""
        calls = [
            self.engine.worker_event(TENANT, WorkerEvent(kind, task, 0, payload), Origin())
            for task in tasks
            for kind, payload in ((EventKind.STARTED, b""), (EventKind.COMPLETED, OUTPUT))
        ]
        await asyncio.gather(*calls)

    @property
    def counts(self) -> Counter[str]:
        """Statements so far, by name."""
        return self.ledger.database.instruments.counts


@pytest.fixture
async def loaded(dsn: str) -> AsyncIterator[Loaded]:
    clock, ids = SystemClock(), SystemIds()
    spans: list[bytes] = []
    tracer = Tracer(clock, ids, spans.append, Sampler(1.0))
    ledger = PostgresLedger(Database(new_options(dsn), clock, ids, tracer))
    await ledger.open()
    options = EngineOptions(
        EngineId(ids.uuid7()),
        started_hold=FAR,
        sweep_every=FAR,
        heartbeat_flush=FAR,
        fresh=FAR,
        dead_after=FAR,
    )
    engine = EngineCore(ledger, clock, ids, tracer, NoMetrics(), options)
    engine.start()
    await engine.until_ready()
    step = StepDefinition(id=ids.uuid7(), name="step", action="flow:step", slots={"default": 1})
    await engine.put_workflow(TENANT, WorkflowDefinition(name="flow", steps=(step,)), Origin())
    worker = NewWorker("worker", ("flow:step",), {"default": TASKS}, {}, {})
    session = await engine.open_session(TENANT, await engine.register_worker(TENANT, worker))
    made = Loaded(engine, ledger, session, spans)
    reading = asyncio.create_task(made.read())
    await made.finish(await made.trigger(1))  # the workflow is known, the statements are prepared
    made.counts.clear()
    spans.clear()
    yield made
    await engine.drain()
    await engine.stop()
    await reading
    await ledger.close()


async def test_tasks_at_load_cost_two_commits_together(loaded: Loaded) -> None:
    await loaded.finish(await loaded.trigger(TASKS))
    assert loaded.counts == {
        "BEGIN": 2, "COMMIT": 2, "task_create_batch_fenced": 1, "task_write_batch_fenced": 1,
    }  # fmt: skip
    assert loaded.ledger.database.instruments.statements / TASKS <= 0.1


async def test_lone_task_costs_the_same_two_commits(loaded: Loaded) -> None:
    await loaded.finish(await loaded.trigger(1))
    assert loaded.counts == {
        "BEGIN": 2, "COMMIT": 2, "task_create_batch_fenced": 1, "task_write_batch_fenced": 1,
    }  # fmt: skip


async def test_tasks_at_load_write_little_wal(loaded: Loaded, dsn: str) -> None:
    """Counted between two moments without a checkpoint of the server's own, which would add whole pages."""
    connection = await asyncpg.connect(dsn)
    place = "SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn"
    before = await connection.fetchval(place)
    await loaded.finish(await loaded.trigger(TASKS))
    written = await connection.fetchval(place) - before
    await connection.close()
    assert written / TASKS <= 2500


async def test_tasks_take_little_room(loaded: Loaded, dsn: str) -> None:
    """With their indexes and before any vacuum: a row as it was made, and one as it ended, whose payloads are
    200 bytes here. `make bench` has smaller ones."""
    rounds = 20
    connection = await asyncpg.connect(dsn)
    size = "SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits WHERE inhparent = 'task'::regclass"
    before = await connection.fetchval(size)
    for _ in range(rounds):
        await loaded.finish(await loaded.trigger(TASKS))
    grown = await connection.fetchval(size) - before
    await connection.close()
    assert grown / (rounds * TASKS) <= 1_000


async def test_tasks_at_load_have_few_spans_each(loaded: Loaded) -> None:
    """Calls have one more each: what a whole run looks like is in `tests/telemetry/golden`."""
    await loaded.finish(await loaded.trigger(TASKS))
    spans = ScopeSpans.FromString(b"".join(loaded.spans)).spans
    names = Counter(span.name.removeprefix("hatchet.run/") for span in spans)
    assert names == {
        "run": TASKS, "queue-wait": TASKS, "attempt": TASKS, "assign": TASKS, "send": TASKS,
        "commit-wait": 2 * (TASKS - 1),  # the flush itself is in the trace of its first member
        "flush": 2, "INSERT task": 1, "UPDATE task": 1,
    }  # fmt: skip
