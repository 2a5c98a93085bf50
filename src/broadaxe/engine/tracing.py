"""The spans of a run. Those of a run, a wait and an attempt have ids that follow from rows, and are emitted
when the thing they describe has ended: nothing is open for long, and a crash loses none for ever.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from uuid import UUID

from broadaxe.domain.metadata import EVENT_ID, read_text
from broadaxe.domain.run import RunEnd, RunFacts, Wait, WaitKind, task_id_of
from broadaxe.domain.schedule import CRON_SCHEDULED_AT, SCHEDULED_AT
from broadaxe.domain.task import AttemptOutcome, AttemptRecord, TaskFacts, TaskState, TaskStatus
from broadaxe.domain.workflow import WorkflowDefinition
from broadaxe.engine.api import ActionKind, RunFinished
from broadaxe.engine.context import EngineContext
from broadaxe.engine.dispatch.sessions import Session, Written
from broadaxe.engine.scheduler.live import LiveTask, StepPlan
from broadaxe.store.ledger import EndedAttempt
from broadaxe.telemetry import names as T
from broadaxe.telemetry.context import (
    ZERO_SPAN_ID,
    TraceContext,
    attempt_span_id,
    format_traceparent,
    queue_span_id,
    run_span_id,
    run_trace_id,
    step_span_id,
    wait_span_id,
)
from broadaxe.telemetry.encode import Pair
from broadaxe.telemetry.tracer import Tracer

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_ENDS = {TaskState.COMPLETED: "completed", TaskState.FAILED: "failed", TaskState.CANCELLED: "cancelled"}
_OUTCOMES = {
    AttemptOutcome.FAILED: ("failed", "failure"),
    AttemptOutcome.TIMED_OUT: ("timed_out", "timeout"),
    AttemptOutcome.REASSIGNED: ("reassigned", "worker_lost"),
    AttemptOutcome.SEND_FAILED: ("send_failed", "send_failed"),
}
_REPLAYED = {
    AttemptOutcome.REPLAYED_COMPLETED: TaskState.COMPLETED,
    AttemptOutcome.REPLAYED_FAILED: TaskState.FAILED,
    AttemptOutcome.REPLAYED_CANCELLED: TaskState.CANCELLED,
}
_TIMED_OUT = re.compile(r"Task exceeded timeout of [0-9a-z.]+")
_ERROR_CLASS = re.compile(
    r"((?:[A-Za-z_]\w{0,63}\.){0,8}[A-Z]\w{0,63}(?:Error|Exception|Timeout|Exit|Interrupt)|Error)(?=:|$)"
)
SYSTEM = "broadaxe"
_KNOWN = 4_096
CRON_KEY = b'"' + CRON_SCHEDULED_AT.encode() + b'":'
SCHEDULED_KEY = b'"' + SCHEDULED_AT.encode() + b'":'


@lru_cache(maxsize=1024)
def _text(one: UUID | None) -> str:
    """The text of an id that many tasks share; it is cheaper to remember than to write anew."""
    return str(one)


def nanoseconds(at: datetime) -> int:
    """A time as nanoseconds since 1970, exactly."""
    return (at - _EPOCH) // _MICROSECOND * 1_000


def sampled(facts: TaskFacts | RunFacts) -> bool:
    """Whether the task's trace is recorded, as was decided at its trigger."""
    return bool(facts.trace[24] & 1)


def place_of_run(tracer: Tracer, run_id: UUID, caller: TraceContext | None) -> TraceContext:
    """What a run that no task spawned hangs under: its caller, else nothing, in the run's own trace.

    Decides whether the trace is recorded.
    """
    if caller is not None:
        return caller._replace(sampled=tracer.decide(caller.trace_id, caller))
    trace_id = run_trace_id(run_id)
    return TraceContext(trace_id, ZERO_SPAN_ID, tracer.decide(trace_id, None))


def run_context(facts: TaskFacts | RunFacts) -> TraceContext:
    """The place of the run's own span."""
    return TraceContext(facts.trace[:16], run_span_id(facts.run_id), sampled(facts))


def attempt_context(facts: TaskFacts, attempt: int) -> TraceContext:
    """The place of an attempt's span; the worker's spans hang under it."""
    return TraceContext(facts.trace[:16], attempt_span_id(facts.id, attempt), sampled(facts))


def _trigger_kind(facts: TaskFacts | RunFacts) -> str:
    """What started the run: the engine's own keys in its metadata say so."""
    if CRON_KEY in facts.metadata:
        return "cron"
    if SCHEDULED_KEY in facts.metadata:
        return "scheduled"
    if facts.parent_task_id is not None:
        return "child"
    return "event" if read_text(facts.metadata, EVENT_ID) is not None else "grpc"


class RunTraces:
    """Emits what belongs to runs and their tasks."""

    def __init__(self, context: EngineContext) -> None:
        self._tracer = context.tracer
        self._clock = context.clock
        self._propagate = context.options.propagate
        self._known: dict[UUID, tuple[Pair, ...]] = {}
        """What all spans of a task say: several spans follow each other closely."""

    def worker_traceparent(self, live: LiveTask) -> str | None:
        """What the worker gets in place of the stored `traceparent`; None leaves the stored one."""
        if not self._propagate or not self._tracer.enabled or not sampled(live.facts):
            return None
        return format_traceparent(attempt_context(live.facts, live.status.attempt))

    def assigned(self, live: LiveTask, chosen_at: datetime, depth: int) -> None:
        """A worker was chosen, and the choice is committed."""
        if not sampled(live.facts):
            return
        attrs = self._task(live.facts, live.plan, live.status.attempt)
        attrs += [(T.ATTR_WORKER_ID, _text(live.status.worker_id)), (T.ATTR_QUEUE_DEPTH, depth)]
        self._tracer.emit(
            T.SPAN_ASSIGN,
            attempt_context(live.facts, live.status.attempt),
            nanoseconds(chosen_at),
            self._clock.now_ns(),
            attrs=attrs,
        )

    def written(self, facts: TaskFacts, plan: StepPlan, session: Session, written: Written) -> None:
        """A message is on a worker's stream."""
        if not sampled(facts):
            return
        action = written.action
        start = action.kind is ActionKind.START
        attrs = self._task(facts, plan, action.attempt)
        attrs += [
            (T.ATTR_WORKER_ID, _text(session.worker_id)),
            (T.ATTR_SESSION_ID, _text(session.id)),
            (T.ATTR_PAYLOAD_SIZE_BYTES, written.size),
            (T.ATTR_MESSAGING_SYSTEM, SYSTEM),
            (T.ATTR_MESSAGING_OPERATION_NAME, "send"),
            (T.ATTR_MESSAGING_OPERATION_TYPE, "send"),
            (T.ATTR_MESSAGING_DESTINATION_NAME, action.action),
        ]
        self._tracer.emit(
            T.SPAN_SEND if start else T.SPAN_SEND_CANCEL,
            attempt_context(facts, action.attempt),
            written.started_ns,
            written.ended_ns,
            attrs=attrs,
        )

    def attempt_ended(
        self, facts: TaskFacts, plan: StepPlan, record: AttemptRecord, replayed: bool = False
    ) -> None:
        """An attempt ended while its task goes on. Replays are told of by the end before them.

        `replayed`: told again from its row, after a restart.
        """
        known = _OUTCOMES.get(record.outcome)
        if known is None or not sampled(facts):
            return
        outcome, reason = known
        extra: list[Pair] = [(T.ATTR_OUTCOME, outcome), (T.ATTR_RETRY_REASON, reason)]
        if replayed:
            extra.append((T.ATTR_REPLAYED, True))
        self._attempt(
            facts,
            plan,
            record.attempt,
            (record.queued_at, record.assigned_at, record.ended_at),
            extra,
            str(record.worker_id),
            (reason, _failure(record.error)[1]),
        )

    def told_again(
        self, ended: EndedAttempt, plan: StepPlan, parents: Sequence[tuple[UUID, int]] = ()
    ) -> None:
        """After a restart: an attempt that ended while its task went on. Where a person ran the task again,
        its last attempt ended the task at first, and that end is what was told."""
        record = ended.record
        state = _REPLAYED.get(record.outcome)
        if state is None:
            self.attempt_ended(ended.facts, plan, record, replayed=True)
            return
        status = TaskStatus(
            state=state,
            attempt=record.attempt,
            queued_at=record.queued_at,
            # As many retries as there were attempts: nobody had run it again before.
            app_retries=record.attempt if ended.first_run else 0,
            worker_id=record.worker_id,
            assigned_at=record.assigned_at,
            finished_at=record.ended_at,
            error=record.error,
        )
        self.finished(ended.facts, plan, status, replayed=True, parents=parents)

    def reassigned(self, facts: TaskFacts, plan: StepPlan, record: AttemptRecord) -> None:
        """An attempt was taken from a worker that is gone."""
        if not sampled(facts):
            return
        attrs = self._task(facts, plan, record.attempt)
        attrs += [(T.ATTR_WORKER_ID, str(record.worker_id)), (T.ATTR_RETRY_REASON, "worker_lost")]
        self._tracer.emit(
            T.SPAN_REASSIGN,
            attempt_context(facts, record.attempt),
            nanoseconds(record.ended_at),
            max(nanoseconds(record.ended_at), self._clock.now_ns()),
            attrs=attrs,
        )

    def finished(
        self,
        facts: TaskFacts,
        plan: StepPlan,
        status: TaskStatus,
        replayed: bool = False,
        parents: Sequence[tuple[UUID, int]] = (),
    ) -> None:
        """The task is final. `replayed`: told again from its row, after a restart. `parents`: tasks and
        attempts that a step came after."""
        if not sampled(facts) or status.finished_at is None:
            return
        outcome = _ENDS[status.state]
        failure = _failure(status.error) if status.state is TaskState.FAILED else None
        extra: list[Pair] = [(T.ATTR_OUTCOME, outcome)]
        if replayed:
            extra.append((T.ATTR_REPLAYED, True))
        times = (status.queued_at, status.assigned_at, status.finished_at)
        links = tuple(
            TraceContext(facts.trace[:16], attempt_span_id(task_id, attempt), True)
            for task_id, attempt in parents
        )
        self._attempt(facts, plan, status.attempt, times, extra, _text(status.worker_id), failure, links)
        if facts.run_id != facts.id or status.attempt > status.app_retries + status.internal_retries:
            # A person ran it again: the run's span was emitted at its first end, and its id is taken. Or the
            # run goes on: its span comes with its own end.
            return
        self._run(facts, plan.version.definition, status.finished_at, extra, failure)

    def run_finished(
        self,
        facts: RunFacts,
        definition: WorkflowDefinition,
        end: RunEnd,
        first: bool = True,
        replayed: bool = False,
    ) -> None:
        """A run of several steps is over. `first`: it was not run again, so its span's id is free."""
        if not sampled(facts) or not first:
            return
        extra: list[Pair] = [(T.ATTR_OUTCOME, _ENDS[end.state])]
        if replayed:
            extra.append((T.ATTR_REPLAYED, True))
        failure = ("failure", None) if end.state is TaskState.FAILED else None
        self._run(facts, definition, end.at, extra, failure)

    def step_decided(self, facts: TaskFacts, plan: StepPlan, status: TaskStatus, reason: str) -> None:
        """A step was skipped or cancelled without going to a worker."""
        if not sampled(facts) or status.finished_at is None:
            return
        attrs = self._task(facts, plan, status.attempt)
        skipped = status.state is TaskState.COMPLETED
        attrs.append((T.ATTR_OUTCOME, "skipped" if skipped else "cancelled"))
        if reason:
            attrs.append((T.ATTR_WAIT_REASON, reason))
        at = nanoseconds(status.finished_at)
        self._tracer.emit(
            T.SPAN_STEP,
            run_context(facts),
            at,
            max(at, self._clock.now_ns()),
            span_id=step_span_id(facts.id, status.attempt),
            attrs=attrs,
        )

    def waited(self, facts: RunFacts, plan: StepPlan, wait: Wait, met_at: datetime) -> None:
        """A step's sleep is over, or its event came."""
        if not sampled(facts):
            return
        task_id = task_id_of(facts.id, plan.step.id)
        attrs: list[Pair] = [
            (T.ATTR_TENANT_ID, _text(facts.tenant_id)),
            (T.ATTR_RUN_ID, str(facts.id)),
            (T.ATTR_TASK_ID, str(task_id)),
            (T.ATTR_TASK_NAME, plan.step.name),
            (T.ATTR_WORKFLOW_NAME, plan.version.definition.name),
            (T.ATTR_WAIT_REASON, wait.kind.name.lower()),
        ]
        if wait.kind is WaitKind.EVENT:
            attrs.append((T.ATTR_EVENT_KEY, wait.key))
        began = nanoseconds(wait.opened_at)
        self._tracer.emit(
            T.SPAN_STEP_WAIT,
            run_context(facts),
            began,
            max(began, nanoseconds(met_at)),
            span_id=wait_span_id(task_id, wait.attempt, wait.item),
            attrs=attrs,
        )

    def _run(
        self,
        facts: TaskFacts | RunFacts,
        definition: WorkflowDefinition,
        ended_at: datetime,
        extra: list[Pair],
        failure: tuple[str, str | None] | None,
    ) -> None:
        attrs: list[Pair] = [
            (T.ATTR_TENANT_ID, _text(facts.tenant_id)),
            (T.ATTR_RUN_ID, str(facts.run_id)),
            (T.ATTR_WORKFLOW_NAME, definition.name),
            (T.ATTR_WORKFLOW_ID, _text(facts.workflow_id)),
            (T.ATTR_WORKFLOW_VERSION_ID, _text(facts.version_id)),
            (T.ATTR_TRIGGER_KIND, _trigger_kind(facts)),
            (T.ATTR_PRIORITY, facts.priority),
            *extra,
        ]
        if facts.parent_run_id is not None:
            attrs.append((T.ATTR_PARENT_RUN_ID, str(facts.parent_run_id)))
        began_ns = nanoseconds(facts.created_at)
        self._tracer.emit(
            T.SPAN_RUN,
            TraceContext(facts.trace[:16], facts.trace[16:24], True),
            began_ns,
            max(began_ns, nanoseconds(ended_at)),
            span_id=run_span_id(facts.run_id),
            attrs=attrs,
            error_type=failure[0] if failure else None,
            message=failure[1] if failure else None,
        )

    def not_created(self, facts: TaskFacts | RunFacts, plan: StepPlan, refused: str | None) -> None:
        """A trigger made no run: its child key was taken, or its commit was `refused`.

        The span takes the id that the run's would have had: what was recorded of the trigger hangs under it.
        """
        if not sampled(facts):
            return
        self._tracer.emit(
            T.SPAN_INGEST,
            TraceContext(facts.trace[:16], facts.trace[16:24], True),
            nanoseconds(facts.created_at),
            max(nanoseconds(facts.created_at), self._clock.now_ns()),
            span_id=run_span_id(facts.run_id),
            attrs=(
                (T.ATTR_TENANT_ID, _text(facts.tenant_id)),
                (T.ATTR_WORKFLOW_NAME, plan.version.definition.name),
                (T.ATTR_WORKFLOW_ID, _text(facts.workflow_id)),
                (T.ATTR_OUTCOME, "deduplicated" if refused is None else "refused"),
            ),
            error_type=refused,
        )

    def delivered(self, run: TraceContext, result: RunFinished, finished_ns: int) -> None:
        """A run's result was handed to a subscriber's stream, so long after its end."""
        size = sum(len(item.output or b"") + len(item.error or b"") for item in result.results)
        attrs: list[Pair] = [
            (T.ATTR_RUN_ID, str(result.run_id)),
            (T.ATTR_STREAM_KIND, "run_results"),
            (T.ATTR_PAYLOAD_SIZE_BYTES, size),
            (T.ATTR_MESSAGING_SYSTEM, SYSTEM),
            (T.ATTR_MESSAGING_OPERATION_NAME, "send"),
            (T.ATTR_MESSAGING_OPERATION_TYPE, "send"),
        ]
        now = self._clock.now_ns()
        self._tracer.emit(T.SPAN_DELIVER_RESULT, run, min(finished_ns, now), now, attrs=attrs)

    def _attempt(
        self,
        facts: TaskFacts,
        plan: StepPlan,
        attempt: int,
        times: tuple[datetime, datetime | None, datetime],
        extra: list[Pair],
        worker_id: str,
        failure: tuple[str, str | None] | None,
        parents: tuple[TraceContext, ...] = (),
    ) -> None:
        queued_at, assigned_at, ended_at = times
        run = run_context(facts)
        attrs = self._task(facts, plan, attempt)
        wait_end = assigned_at or ended_at
        again = [pair for pair in extra if pair[0] is T.ATTR_REPLAYED]
        wait_attrs = [*attrs, *again, (T.ATTR_QUEUE_NAME, plan.step.action)]
        wait_end_ns = nanoseconds(wait_end)
        self._tracer.emit(
            T.SPAN_QUEUE_WAIT,
            run,
            wait_end_ns if queued_at >= wait_end else nanoseconds(queued_at),
            wait_end_ns,
            span_id=queue_span_id(facts.id, attempt),
            attrs=wait_attrs,
        )
        if assigned_at is None:
            return
        links = (attempt_context(facts, attempt - 1), *parents) if attempt else parents
        self._tracer.emit(
            T.SPAN_ATTEMPT,
            run,
            wait_end_ns,
            max(wait_end_ns, nanoseconds(ended_at)),
            span_id=attempt_span_id(facts.id, attempt),
            attrs=[*attrs, *extra, (T.ATTR_WORKER_ID, worker_id)],
            links=links,
            error_type=failure[0] if failure else None,
            message=failure[1] if failure else None,
        )

    def _task(self, facts: TaskFacts, plan: StepPlan, attempt: int) -> list[Pair]:
        known = self._known.get(facts.id)
        if known is None:
            if len(self._known) >= _KNOWN:
                self._known.clear()
            known = self._known[facts.id] = (
                (T.ATTR_TENANT_ID, _text(facts.tenant_id)),
                (T.ATTR_RUN_ID, str(facts.run_id)),
                (T.ATTR_TASK_ID, str(facts.id)),
                (T.ATTR_TASK_NAME, plan.step.name),
                (T.ATTR_WORKFLOW_NAME, plan.version.definition.name),
                (T.ATTR_ACTION_ID, plan.step.action),
            )
        return [*known, (T.ATTR_ATTEMPT, attempt)]


def _failure(error: bytes | None) -> tuple[str, str | None]:
    """The `error.type` of a failed attempt, and what its status may say.

    An error's text is the user's data. Of it only the class that it begins with gets into a span. The text
    of a time-out is ours, and says how long was allowed.
    """
    line = (error or b"")[:512].decode("utf-8", "replace").split("\n", 1)[0]
    if _TIMED_OUT.fullmatch(line):
        return "timeout", line
    named = _ERROR_CLASS.match(line)
    return "failure", named[1] if named else None
