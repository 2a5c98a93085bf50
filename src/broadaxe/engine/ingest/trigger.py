"""Starting runs: checked, planned, born assigned where a slot is free, committed, then sent."""

import asyncio
from asyncio import Future
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from uuid import UUID

from broadaxe.domain.dag import Progress
from broadaxe.domain.errors import (
    AlreadyExists,
    BroadaxeError,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    Unavailable,
    Unimplemented,
)
from broadaxe.domain.event_filters import ExpressionFailure
from broadaxe.domain.idempotency import COLLISION, BulkCollision, Collision
from broadaxe.domain.ids import TenantId
from broadaxe.domain.task import Assigned, TaskFacts, TaskStatus
from broadaxe.domain.transitions import decide
from broadaxe.domain.user_event import UserEvent
from broadaxe.engine.api import Origin, Trigger
from broadaxe.engine.context import EngineContext
from broadaxe.engine.elsewhere.depths import Depths
from broadaxe.engine.gate import Gate
from broadaxe.engine.ingest.catalog import Catalog
from broadaxe.engine.ingest.keys import Keys
from broadaxe.engine.ingest.planning import Parent, Planner, check, claim_of, need_of, waiting_status
from broadaxe.engine.runs.book import RunBook
from broadaxe.engine.runs.changes import facts_of_run
from broadaxe.engine.runs.conditions import Conditions
from broadaxe.engine.runs.dag_plan import DagPlan
from broadaxe.engine.runs.live_run import Flight, LiveRun
from broadaxe.engine.scheduler.lifecycle import Lifecycle
from broadaxe.engine.scheduler.live import LiveTask, Need, StepPlan
from broadaxe.engine.scheduler.memory import Memory
from broadaxe.engine.scheduler.scheduler import Scheduler
from broadaxe.engine.scheduler.workers import Worker
from broadaxe.engine.tally import Tally
from broadaxe.engine.tracing import RunTraces, run_context
from broadaxe.store.event_ledger import EventLink, KeyHolder, NewEvent
from broadaxe.store.ledger import NewTask
from broadaxe.store.run_ledger import NewRun
from broadaxe.store.schedule_ledger import NOBODY, FireClaim
from broadaxe.telemetry.context import TraceContext


class ComingRun:
    """A run of several steps whose creation is being committed."""

    __slots__ = ("flight", "generation", "run")

    def __init__(self, run: LiveRun, flight: Flight | None, generation: int) -> None:
        self.run = run
        self.flight = flight
        self.generation = generation

    @property
    def run_id(self) -> UUID:
        """The run's id."""
        return self.run.id


class Coming:
    """A task whose creation is being committed."""

    __slots__ = ("generation", "live", "worker")

    def __init__(self, live: LiveTask, worker: Worker | None, generation: int) -> None:
        self.live = live
        self.worker = worker
        self.generation = generation

    @property
    def run_id(self) -> UUID:
        """The run's id: the task is the run."""
        return self.live.facts.run_id


class Triggers:
    """Creates tasks."""

    def __init__(
        self,
        context: EngineContext,
        gate: Gate,
        memory: Memory,
        catalog: Catalog,
        scheduler: Scheduler,
        lifecycle: Lifecycle,
        traces: RunTraces,
        tally: Tally,
        keys: Keys,
        book: RunBook,
        conditions: Conditions,
        *,
        elsewhere: Depths | None = None,
    ) -> None:
        """`elsewhere`: for tenants that other engines schedule. Their tasks are born waiting, their owner is
        told; this says which of its queues are full."""
        self._elsewhere = elsewhere
        self._book = book
        self._conditions = conditions
        self._owned = elsewhere is None
        self._ledger = context.ledger
        self._clock = context.clock
        self._options = context.options
        self._gate = gate
        self._memory = memory
        self._catalog = catalog
        self._scheduler = scheduler
        self._lifecycle = lifecycle
        self._traces = traces
        self._tally = tally
        self._keys = keys
        self._planner = Planner(context)
        self._in_flight = 0
        self._idle: list[Future[None]] = []

    async def one(self, tenant_id: TenantId, trigger: Trigger, origin: Origin) -> UUID:
        """Start a run; its id, or that of the run which already holds its child key."""
        self._gate.require()
        check(trigger, self._options)
        plan = self._catalog.known(tenant_id, trigger.workflow)
        if plan is None:
            plan = await self._plan(tenant_id, trigger.workflow)
        await self._require_runnable(plan)
        parent = await self._parent(tenant_id, trigger) if trigger.parent_task_id is not None else None
        if plan.version.definition.idempotency is not None:
            trigger = await self._keys.add(trigger, plan)
        ids = await self._create(tenant_id, [(trigger, plan, parent)], origin)
        if isinstance(ids[0], KeyHolder):
            raise AlreadyExists(COLLISION, Collision(ids[0]))
        return ids[0]

    async def many(self, tenant_id: TenantId, triggers: Sequence[Trigger], origin: Origin) -> list[UUID]:
        """Start runs in one commit; one wrong item refuses all, naming its index."""
        self._gate.require()
        if len(triggers) > self._options.bulk_limit:
            raise InvalidArgument(f"workflows: at most {self._options.bulk_limit} in one call")
        items: list[tuple[Trigger, StepPlan, Parent | None]] = []
        for index, trigger in enumerate(triggers):
            try:
                check(trigger, self._options)
                plan = await self._plan(tenant_id, trigger.workflow)
                await self._require_runnable(plan)
                parent = await self._parent(tenant_id, trigger) if trigger.parent_task_id else None
                keyed = await self._keys.add(trigger, plan)
            except (InvalidArgument, NotFound, Unimplemented) as error:
                raise type(error)(f"item {index}: {error.message}") from error
            items.append((keyed, plan, parent))
        ids = await self._create(tenant_id, items, origin) if items else []
        collisions = tuple(Collision(one) for one in ids if isinstance(one, KeyHolder))
        if collisions:
            started = tuple(one for one in ids if not isinstance(one, KeyHolder))
            raise AlreadyExists(COLLISION, BulkCollision(started, collisions))
        return ids

    async def for_event(
        self,
        event: UserEvent,
        above: TraceContext,
        items: Sequence[tuple[Trigger, StepPlan]],
        failures: Sequence[ExpressionFailure],
    ) -> list[UUID]:
        """Store an event and start its runs in the same commit; ids as the ledger's, `KeyHolder` included."""
        found = [(trigger, plan, None) for trigger, plan in items]
        trace = above.trace_id + above.span_id + (b"\x01" if above.sampled else b"\x00")
        new = NewEvent(event, trace, (), failures)
        return await self._create(event.tenant_id, found, Origin(), event=new)

    async def planned(
        self, tenant_id: TenantId, trigger: Trigger, fire: FireClaim, origin: Origin
    ) -> UUID | None:
        """Start the run of a due time, in a trace of its own; None if that is not to be had any more."""
        self._gate.require()
        check(trigger, self._options)
        plan = await self._plan(tenant_id, trigger.workflow)
        await self._require_runnable(plan)
        parent = await self._parent(tenant_id, trigger) if trigger.parent_task_id is not None else None
        trigger = await self._keys.add(trigger, plan)
        ids = await self._create(tenant_id, [(trigger, plan, parent)], origin, fire)
        return None if ids[0] == NOBODY or isinstance(ids[0], KeyHolder) else ids[0]

    async def settle(self) -> None:
        """Wait until no creation is in flight."""
        while self._in_flight:
            waiter: Future[None] = asyncio.get_running_loop().create_future()
            self._idle.append(waiter)
            await waiter

    async def _plan(self, tenant_id: TenantId, name: str) -> StepPlan:
        plan = await self._catalog.newest(tenant_id, name)
        if plan is None:
            raise NotFound(f"workflow not found: {name}")
        return plan

    async def _parent(self, tenant_id: TenantId, trigger: Trigger) -> Parent:
        assert trigger.parent_task_id is not None
        live = self._memory.task(tenant_id, trigger.parent_task_id)
        if live is not None:
            return Parent(live.facts, live.status.attempt)
        stored = await self._ledger.get_task(tenant_id, trigger.parent_task_id)
        if stored is None:
            raise InvalidArgument(f"parent_task_run_external_id: task {trigger.parent_task_id} not found")
        return Parent(stored.facts, stored.status.attempt)

    async def _create(
        self,
        tenant_id: TenantId,
        items: Sequence[tuple[Trigger, StepPlan, Parent | None]],
        origin: Origin,
        fire: FireClaim | None = None,
        event: NewEvent | None = None,
    ) -> list[UUID]:
        self._gate.require()
        self._require_room(tenant_id, items)
        coming: list[Coming | ComingRun] = []
        tasks: list[NewTask | NewRun] = []
        for trigger, plan, parent in items:
            one, task = self._prepare(tenant_id, trigger, plan, parent, origin, fire)
            coming.append(one)
            tasks.append(task)
        if event is not None:
            event = replace(event, links=_links(items, coming))
        answer: Future[list[UUID]] = asyncio.get_running_loop().create_future()
        self._in_flight += 1
        try:
            create = self._ledger.create_tasks if self._owned else self._ledger.create_elsewhere
            future = create(tasks, patience=self._options.patience, event=event)
        except BroadaxeError as error:
            future = asyncio.get_running_loop().create_future()
            future.set_exception(error)
        future.add_done_callback(partial(self._created, tenant_id, coming, answer))
        self._lifecycle.writes.ride()
        return await answer

    async def _require_runnable(self, plan: StepPlan) -> None:
        if plan.missing is not None:
            raise Unimplemented(plan.missing)
        if plan.dag is not None:
            await self._conditions.prepare(plan.dag)

    def _require_room(
        self, tenant_id: TenantId, items: Sequence[tuple[Trigger, StepPlan, Parent | None]]
    ) -> None:
        for action, count in Counter(action for _, plan, _ in items for action in _first(plan)).items():
            if self._elsewhere is not None:
                self._elsewhere.require(tenant_id, action, count)
                continue
            queue = self._memory.queues.get((tenant_id, action))
            if queue is not None and queue.size + queue.arriving + count > self._options.queue_limit:
                raise ResourceExhausted(f"queue {action} holds {queue.size} tasks; its limit is reached")

    def _prepare(
        self,
        tenant_id: TenantId,
        trigger: Trigger,
        plan: StepPlan,
        parent: Parent | None,
        origin: Origin,
        fire: FireClaim | None,
    ) -> "tuple[Coming | ComingRun, NewTask | NewRun]":
        now = self._clock.now()
        origin.made_at = now
        facts = self._planner.facts(tenant_id, trigger, plan, parent, origin, now, rooted=fire is not None)
        if plan.dag is not None:
            return self._prepare_run(trigger, plan.dag, facts, origin, fire)
        status: TaskStatus = waiting_status(now)
        need = need_of(plan, facts)
        worker = self._reserve(tenant_id, plan, need, facts)
        if worker is not None:
            decision = decide(status, plan.policy, Assigned(worker.row.id), now)
            assert decision is not None
            status = decision.status
        elif self._owned:
            self._memory.queue(tenant_id, plan.step.action).arriving += 1
        live = LiveTask(facts, status, plan, need, self._memory.next_order(), facts.input)
        place = run_context(facts)
        if origin.parent is None or place.sampled:
            origin.parent = place
        trace = place if place.sampled else None
        coming = Coming(live, worker, self._gate.generation_of(tenant_id))
        claim = claim_of(trigger) if fire is None else None
        return coming, NewTask(facts, status, claim, trace, fire, trigger.key)

    def _prepare_run(
        self,
        trigger: Trigger,
        dag: DagPlan,
        facts: TaskFacts,
        origin: Origin,
        fire: FireClaim | None,
    ) -> tuple[ComingRun, NewRun]:
        run = LiveRun(facts_of_run(facts), dag, Progress(dag.graph), facts.input)
        flight = self._book.begin(run) if self._owned else None
        place = run_context(facts)
        if origin.parent is None or place.sampled:
            origin.parent = place
        trace = place if place.sampled else None
        claim = claim_of(trigger) if fire is None else None
        # Of a tenant that another engine schedules: the owner finds the run without steps and decides them.
        first = None if flight is None else flight.change
        new = NewRun(
            run.facts,
            () if first is None else first.tasks,
            () if first is None else first.opened,
            claim,
            trace,
            fire,
            trigger.key,
        )
        return ComingRun(run, flight, self._gate.generation_of(facts.tenant_id)), new

    def _reserve(self, tenant_id: TenantId, plan: StepPlan, need: Need, facts: TaskFacts) -> Worker | None:
        if not self._owned or self._memory.pauses.holds(tenant_id, facts.workflow_id):
            return None
        return self._scheduler.reserve(tenant_id, plan.step.action, need, facts.id)

    def _created(
        self,
        tenant_id: TenantId,
        coming: list[Coming | ComingRun],
        answer: "Future[list[UUID]]",
        future: "Future[list[UUID]]",
    ) -> None:
        self._in_flight -= 1
        if not self._in_flight:
            waiters, self._idle = self._idle, []
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)
        error = Unavailable("the write was cut off") if future.cancelled() else future.exception()
        if error is not None:
            for one in coming:
                self._withdraw(one)
                if not future.cancelled():
                    self._not_created(one, type(error).__name__)
            if not answer.done():
                answer.set_exception(error)
            return
        ids = future.result()
        born = 0
        for one, run_id in zip(coming, ids, strict=True):
            if run_id == one.run_id:
                # Tasks of a run count as they come, the first ones too.
                born += isinstance(one, Coming)
                self._enter(one)
            else:
                self._withdraw(one)
                self._not_created(one, None)
        if born:
            self._tally.created(tenant_id, born)
        if not answer.done():
            answer.set_result(ids)

    def _not_created(self, one: Coming | ComingRun, refused: str | None) -> None:
        facts = one.live.facts if isinstance(one, Coming) else one.run.facts
        plan = one.live.plan if isinstance(one, Coming) else one.run.dag.steps[0]
        self._traces.not_created(facts, plan, refused)

    def _enter(self, one: Coming | ComingRun) -> None:
        """The task is committed: it enters memory. If the lease changed meanwhile, the rows that were read
        at the take-over include it."""
        if not self._current(one):
            return
        if isinstance(one, ComingRun):
            if one.flight is not None:
                self._book.created(one.run, one.flight)
            return
        live = one.live
        if one.worker is None:
            self._arrived(live)
            live.drop_input(self._options.kept_input)
        queue = self._memory.queues.get(live.queue_key)
        self._lifecycle.born(live, one.worker, queue.size if queue is not None else 0)

    def _withdraw(self, one: Coming | ComingRun) -> None:
        if not self._current(one):
            return
        if isinstance(one, ComingRun):
            if one.flight is not None:
                self._book.withdraw(one.flight)
            return
        if one.worker is not None:
            self._scheduler.release(one.worker, one.live.id)
        else:
            self._arrived(one.live)

    def _current(self, one: Coming | ComingRun) -> bool:
        """Whether memory still is what it was when the task was planned."""
        tenant_id = one.live.facts.tenant_id if isinstance(one, Coming) else one.run.facts.tenant_id
        return self._owned and self._gate.generation_of(tenant_id) == one.generation != 0

    def _arrived(self, live: LiveTask) -> None:
        queue = self._memory.queue(*live.queue_key)
        queue.arriving -= 1
        if not queue.arriving and queue.size:
            self._scheduler.wake(queue)


def _first(plan: StepPlan) -> list[str]:
    """The queues that a new run's first tasks go to."""
    if plan.dag is None:
        return [plan.step.action]
    return [rule.definition.action for rule in plan.dag.graph.steps if not rule.parents]


def _links(
    items: Sequence[tuple[Trigger, StepPlan, Parent | None]], coming: Sequence[Coming | ComingRun]
) -> list[EventLink]:
    """Which of the event's runs is due to which filter."""
    causes = [trigger.cause for trigger, _, _ in items]
    return [
        EventLink(one.run_id, cause.filter_id if cause is not None else None)
        for cause, one in zip(causes, coming, strict=True)
    ]
