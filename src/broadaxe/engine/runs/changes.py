"""From decisions about steps to what is written: tasks, some of them born assigned, waits, the run's end."""

from dataclasses import replace
from datetime import datetime

from broadaxe.clock import Clock
from broadaxe.domain.backoff import later
from broadaxe.domain.dag import BY_REQUEST, PARENT_ENDED, Choice, Decided, Outcome, View
from broadaxe.domain.durations import parse_duration
from broadaxe.domain.idempotency import frees_at_end
from broadaxe.domain.ids import StepId
from broadaxe.domain.run import SKIPPED_OUTPUT, RunEnd, RunFacts, Wait, WaitKind, end_of, task_id_of
from broadaxe.domain.task import (
    Assigned,
    Decision,
    Note,
    NoteKind,
    PassedOver,
    Readied,
    RuledOut,
    TaskFacts,
    TaskState,
    TaskStatus,
)
from broadaxe.domain.transitions import decide
from broadaxe.engine.ingest.planning import need_of
from broadaxe.engine.runs.live_run import Again, Arrival, Coming, Flight, LiveRun, WaitOver
from broadaxe.engine.scheduler.live import LiveTask, StepPlan
from broadaxe.engine.scheduler.memory import Memory
from broadaxe.engine.scheduler.scheduler import Scheduler
from broadaxe.engine.scheduler.workers import Worker
from broadaxe.engine.tracing import run_context
from broadaxe.store.ledger import NewTask, TaskWrite
from broadaxe.store.run_ledger import RunChange

_STATES = {
    Outcome.COMPLETED: TaskState.COMPLETED,
    Outcome.SKIPPED: TaskState.COMPLETED,
    Outcome.FAILED: TaskState.FAILED,
    Outcome.CANCELLED: TaskState.CANCELLED,
}


class Changes:
    """Builds changes. What it reserves is given back by `withdraw` when the change is not committed."""

    def __init__(self, clock: Clock, memory: Memory, scheduler: Scheduler) -> None:
        self._clock = clock
        self._memory = memory
        self._scheduler = scheduler

    def plan(
        self,
        run: LiveRun,
        view: View,
        now: datetime,
        arrivals: tuple[Arrival, ...] = (),
        carrier: LiveTask | None = None,
    ) -> Flight | None:
        """What to write for a step forward; None when it decides nothing."""
        over = [arrival.met for arrival in arrivals if isinstance(arrival, WaitOver)]
        if not (view.decided or view.opened or over) and view.left:
            return None
        new: list[Coming] = []
        again: list[Again] = []
        tasks: list[NewTask] = []
        for decided in view.decided:
            known = run.tasks.get(decided.step)
            if known is not None and known.status.state is TaskState.PENDING:
                again.append(self._again(run, known, decided, now))
            else:
                coming, task = self._new(run, decided, now, carrier)
                new.append(coming)
                tasks.append(task)
        waits = [wait for step in view.opened for wait in open_waits(run, step, now)]
        place = run_context(run.facts)
        change = RunChange(
            tenant_id=run.facts.tenant_id,
            run_id=run.facts.id,
            tasks=tuple(tasks),
            writes=tuple(_write(one) for one in again),
            opened=tuple(waits),
            met=tuple(over),
            end=None if view.left else RunEnd(end_of({_STATES[one] for one in view.outcomes()}), now),
            frees_key=not view.left and frees_at_end(run.dag.graph.definition.idempotency),
            trace=place if place.sampled else None,
        )
        return Flight(view, change, new, again, arrivals, carrier)

    def withdraw(self, flight: Flight) -> None:
        """It is not committed: give reserved slots back."""
        for coming in (*flight.new, *(one.coming for one in flight.again)):
            if coming.worker is not None:
                self._scheduler.release(coming.worker, coming.live.id)
            elif coming.decided.choice is Choice.GO:
                self.arrived(coming.live)

    def arrived(self, live: LiveTask) -> None:
        """A task that was to wait in its queue is there, or will not come."""
        queue = self._memory.queue(*live.queue_key)
        queue.arriving -= 1
        if not queue.arriving and queue.size:
            self._scheduler.wake(queue)

    def _new(
        self, run: LiveRun, decided: Decided, now: datetime, carrier: LiveTask | None
    ) -> tuple[Coming, NewTask]:
        plan = run.dag.steps[decided.step]
        facts = step_facts(run, plan, now, carrier)
        status = TaskStatus(state=TaskState.QUEUED, attempt=0, queued_at=now)
        live = LiveTask(facts, status, plan, need_of(plan, facts), self._memory.next_order(), None, run)
        worker: Worker | None = None
        notes: tuple[Note, ...] = ()
        if decided.choice is Choice.GO:
            worker, live.status = self._place(live, now)
        elif decided.choice is Choice.SKIP:
            live.status = replace(status, state=TaskState.COMPLETED, finished_at=now, output=SKIPPED_OUTPUT)
        else:
            live.status = replace(status, state=TaskState.CANCELLED, finished_at=now)
            if decided.reason and decided.reason != PARENT_ENDED:
                notes = (Note(NoteKind.CANCELLED, 0, now, decided.reason),)
        place = run_context(facts)
        trace = place if place.sampled else None
        return Coming(decided.step, live, worker, decided), NewTask(
            facts, live.status, trace=trace, notes=notes
        )

    def _again(self, run: LiveRun, live: LiveTask, decided: Decided, now: datetime) -> Again:
        event: Readied | PassedOver | RuledOut
        if decided.choice is Choice.GO:
            event = Readied()
        elif decided.choice is Choice.SKIP:
            event = PassedOver(SKIPPED_OUTPUT)
        else:
            event = RuledOut("" if decided.reason == PARENT_ENDED else decided.reason or BY_REQUEST)
        before = live.status
        decision = decide(before, live.plan.policy, event, now)
        assert decision is not None
        worker: Worker | None = None
        if decided.choice is Choice.GO:
            probe = replace(live, status=decision.status)
            worker, status = self._place(probe, now)
            decision = Decision(status, decision.record, decision.notes)
        return Again(Coming(decided.step, live, worker, decided), before, decision)

    def _place(self, live: LiveTask, now: datetime) -> tuple[Worker | None, TaskStatus]:
        """A slot, if one is free and nobody waits before it."""
        facts, plan = live.facts, live.plan
        worker = None
        if not self._memory.pauses.holds(facts.tenant_id, facts.workflow_id):
            worker = self._scheduler.reserve(facts.tenant_id, plan.step.action, live.need, facts.id)
        if worker is None:
            self._memory.queue(facts.tenant_id, plan.step.action).arriving += 1
            return None, live.status
        decision = decide(live.status, plan.policy, Assigned(worker.row.id), now)
        assert decision is not None
        return worker, decision.status


def _write(one: Again) -> TaskWrite:
    facts = one.coming.live.facts
    return TaskWrite(
        tenant_id=facts.tenant_id,
        task_id=facts.id,
        expect_attempt=one.before.attempt,
        expect_state=one.before.state,
        status=one.decision.status,
        record=one.decision.record,
        notes=one.decision.notes,
    )


def step_facts(run: LiveRun, plan: StepPlan, now: datetime, carrier: LiveTask | None) -> TaskFacts:
    """The facts of a step's task. Of a sticky workflow it wants the worker of a parent."""
    f = run.facts
    desired = f.desired_worker_id
    if plan.version.definition.sticky is not None:
        parents = run.dag.graph.steps[plan.index].parents
        workers = [run.ends[parent].worker_id for parent in parents if parent in run.ends]
        if carrier is not None:
            workers.append(carrier.status.worker_id)
        desired = next((worker for worker in workers if worker is not None), desired)
    return TaskFacts(
        tenant_id=f.tenant_id,
        id=task_id_of(f.id, plan.step.id),
        run_id=f.id,
        workflow_id=f.workflow_id,
        version_id=f.version_id,
        step_id=StepId(plan.step.id),
        priority=f.priority,
        created_at=now,
        input=b"",
        metadata=f.metadata,
        trace=f.trace,
        desired_worker_id=desired,
        desired_labels=f.desired_labels,
    )


def open_waits(run: LiveRun, step: int, now: datetime) -> list[Wait]:
    """The waits of a step whose parents are done: sleeps count from now."""
    known = run.tasks.get(step)
    attempt = 0 if known is None else known.status.attempt
    waits = []
    for rule in run.dag.graph.steps[step].waits:
        condition = rule.condition
        if condition.kind == "sleep":
            due = later(now, parse_duration(condition.sleep_for))
            waits.append(Wait(run.facts.id, step, rule.item, attempt, WaitKind.SLEEP, now, "", due))
        else:
            waits.append(
                Wait(run.facts.id, step, rule.item, attempt, WaitKind.EVENT, now, condition.event_key)
            )
    return waits


def facts_of_run(facts: TaskFacts) -> RunFacts:
    """What a trigger planned, as the facts of a run of several steps."""
    return RunFacts(
        tenant_id=facts.tenant_id,
        id=facts.run_id,
        workflow_id=facts.workflow_id,
        version_id=facts.version_id,
        priority=facts.priority,
        created_at=facts.created_at,
        input=facts.input,
        metadata=facts.metadata,
        trace=facts.trace,
        parent_task_id=facts.parent_task_id,
        parent_run_id=facts.parent_run_id,
        child_index=facts.child_index,
        child_key=facts.child_key,
        desired_worker_id=facts.desired_worker_id,
        desired_labels=facts.desired_labels,
        triggers=facts.triggers,
    )
