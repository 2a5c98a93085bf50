"""The task's state machine under any order of events: what always holds."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from broadaxe.domain.ids import WorkerId
from broadaxe.domain.task import (
    Assigned,
    AttemptRecord,
    CancelRequested,
    Completed,
    Decision,
    ExecutionTimedOut,
    Failed,
    Replayed,
    RetryDue,
    ScheduleTimedOut,
    SendFailed,
    SlotReleased,
    Started,
    StepPolicy,
    TaskEvent,
    TaskState,
    TaskStatus,
    TimeoutRefreshed,
    WorkerLost,
)
from broadaxe.domain.transitions import TRANSITIONS, decide

START = datetime(2026, 5, 1, tzinfo=UTC)
WORKERS = st.sampled_from([WorkerId(UUID(int=1)), WorkerId(UUID(int=2))])
SECONDS = st.floats(0, 400)
NUMBERED = (Started, Completed, Failed, ExecutionTimedOut, ScheduleTimedOut, WorkerLost, RetryDue)

POLICIES = st.builds(
    StepPolicy,
    retries=st.integers(0, 3),
    backoff_factor=st.none() | st.floats(1, 1000),
    backoff_max=st.floats(1, 86_400),
    timeout=st.floats(0.001, 1000),
    max_internal_retries=st.integers(0, 3),
)


def live_event(attempt: int) -> st.SearchStrategy[TaskEvent]:
    """Any event, about this attempt where it names one."""
    number = st.just(attempt)
    return st.one_of(
        st.builds(Assigned, WORKERS),
        st.just(SendFailed()),
        st.builds(Started, number),
        st.builds(Completed, number, st.binary(max_size=3)),
        st.builds(Failed, number, st.binary(max_size=3), st.booleans(), st.none() | st.floats(-1, 1e9)),
        st.builds(CancelRequested, st.none() | number, st.sampled_from(["", "why"])),
        st.builds(ExecutionTimedOut, number),
        st.builds(ScheduleTimedOut, number),
        st.builds(WorkerLost, number, st.just("gone")),
        st.builds(RetryDue, number),
        st.builds(TimeoutRefreshed, st.floats(-10, 1e6)),
        st.just(SlotReleased()),
        st.just(Replayed()),
    )


class TaskMachine(RuleBasedStateMachine):
    """One task, its history, and a clock that now and then steps back."""

    @initialize(policy=POLICIES)
    def create(self, policy: StepPolicy) -> None:
        self.policy = policy
        self.now = START
        self.status = TaskStatus(TaskState.QUEUED, 0, START)
        self.records: list[AttemptRecord] = []

    @rule(seconds=SECONDS)
    def time_passes(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    @rule(seconds=st.floats(0, 5))
    def clock_steps_back(self, seconds: float) -> None:
        self.now -= timedelta(seconds=seconds)

    @rule(data=st.data())
    def event_arrives(self, data: st.DataObject) -> None:
        event = data.draw(live_event(self.status.attempt))
        self.take(event)

    @rule(worker=WORKERS, end=st.sampled_from(["complete", "fail", "lose", "time out"]))
    def attempt_runs(self, worker: WorkerId, end: str) -> None:
        attempt = self.status.attempt
        self.take(RetryDue(attempt))
        self.take(Assigned(worker))
        self.take(Started(attempt))
        if end == "time out":
            self.now = max(self.now, self.status.timeout_at or self.now)
        ends: dict[str, TaskEvent] = {
            "complete": Completed(attempt, b"{}"),
            "fail": Failed(attempt, b"e"),
            "lose": WorkerLost(attempt, "gone"),
            "time out": ExecutionTimedOut(attempt),
        }
        self.take(ends[end])

    @rule(data=st.data(), other=st.integers(-2, 20), worker=WORKERS)
    def stale_event_arrives(self, data: st.DataObject, other: int, worker: WorkerId) -> None:
        attempt = other if other != self.status.attempt else other + 1
        event = data.draw(live_event(attempt))
        if isinstance(event, NUMBERED) or (isinstance(event, CancelRequested) and event.attempt is not None):
            assert decide(self.status, self.policy, event, self.now) is None

    def take(self, event: TaskEvent) -> None:
        before = self.status
        decision = decide(before, self.policy, event, self.now)
        assert decision == decide(before, self.policy, event, self.now), "a decision depends on nothing else"
        if decision is not None:
            self.check(before, event, decision)
            self.status = decision.status

    def check(self, before: TaskStatus, event: TaskEvent, decision: Decision) -> None:
        after = decision.status
        row = TRANSITIONS[before.state, type(event)]
        assert after.state in row.to
        if before.state.final:
            assert isinstance(event, Replayed)
        assert after.attempt in (before.attempt, before.attempt + 1)
        assert (decision.record is not None) == (after.attempt > before.attempt), "each ended attempt is kept"
        if decision.record is not None:
            assert decision.record.attempt == before.attempt
            self.records.append(decision.record)
        if not isinstance(event, Replayed):
            assert after.app_retries >= before.app_retries
            assert after.internal_retries >= before.internal_retries
        held = before.state is TaskState.ASSIGNED and before.worker_id is not None
        if decision.cancel is not None:
            assert held
            assert (decision.cancel.worker_id, decision.cancel.attempt) == (before.worker_id, before.attempt)
        if held and isinstance(event, CancelRequested | ExecutionTimedOut | WorkerLost):
            assert decision.cancel is not None, "a worker is never left with an attempt that ended"
        assert all(note.attempt in (before.attempt, after.attempt) for note in decision.notes)

    @invariant()
    def counters_are_bounded(self) -> None:
        if not hasattr(self, "status"):
            return
        assert 0 <= self.status.app_retries <= self.policy.retries
        assert 0 <= self.status.internal_retries <= self.policy.max_internal_retries

    @invariant()
    def fields_fit_the_state(self) -> None:
        if not hasattr(self, "status"):
            return
        status = self.status
        assigned = status.state is TaskState.ASSIGNED
        assert (status.finished_at is not None) == status.state.final
        assert (status.timeout_at is not None) == assigned
        assert (status.retry_at is not None) == (status.state is TaskState.DELAYED)
        assert not (assigned and status.worker_id is None)
        if not assigned and not status.state.final:
            assert (status.worker_id, status.assigned_at, status.started_at) == (None, None, None)
            assert not status.slot_released
        assert status.output is None or status.state is TaskState.COMPLETED
        assert (status.error is not None) == (status.state is TaskState.FAILED)

    @invariant()
    def times_are_ordered(self) -> None:
        if not hasattr(self, "status"):
            return
        for begin, end in (
            (self.status.assigned_at, self.status.started_at),
            (self.status.assigned_at, self.status.finished_at),
            (self.status.started_at, self.status.finished_at),
            *((record.started_at, record.ended_at) for record in self.records),
            *((record.assigned_at, record.ended_at) for record in self.records),
        ):
            assert begin is None or end is None or begin <= end

    @invariant()
    def history_is_gapless(self) -> None:
        if hasattr(self, "records"):
            assert [record.attempt for record in self.records] == list(range(self.status.attempt))


TaskMachine.TestCase.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
TestTaskMachine = TaskMachine.TestCase
