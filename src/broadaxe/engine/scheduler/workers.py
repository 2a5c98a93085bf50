"""The owner's memory of a worker: sessions, slots, labels, and how alive it is."""

from collections import deque
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from broadaxe.domain.workflow import LabelValue
from broadaxe.engine.api import WorkerAction
from broadaxe.engine.dispatch.sessions import Outlet
from broadaxe.engine.scheduler.live import LiveTask
from broadaxe.engine.scheduler.timers import Timer
from broadaxe.store.ledger import WorkerRow


class Worker:
    """A worker. What its tasks hold is kept by task, so holding or freeing twice changes nothing."""

    __slots__ = (
        "beat",
        "beat_at",
        "cancels",
        "dead_timer",
        "flushed_at",
        "had_session",
        "held",
        "row",
        "seen",
        "sessions",
        "silent",
        "tasks",
        "used",
    )

    def __init__(self, row: WorkerRow, seen: float) -> None:
        self.row = row
        self.sessions: list[Outlet] = []
        """Oldest first."""
        self.beat: float | None = None
        """Monotonic time of the last heartbeat or opened session; None before the first."""
        self.seen = seen
        """Monotonic time from which its silence counts: also when this process first knew it."""
        self.beat_at: datetime | None = row.last_heartbeat_at
        self.flushed_at: datetime | None = row.last_heartbeat_at
        self.had_session = row.listening_since is not None or row.last_heartbeat_at is not None
        """It listened once, here or at an engine before this one."""
        self.cancels: list[WorkerAction] = []
        """Orders to stop attempts that it may have, for its next session."""
        self.tasks: dict[UUID, LiveTask] = {}
        """Everything assigned to it, also what gave its slot back."""
        self.held: dict[UUID, tuple[tuple[str, int], ...]] = {}
        """Units held, by task: from these the used units follow."""
        self.used: dict[str, int] = {}
        self.dead_timer: Timer | None = None
        self.silent = False
        """The engine that holds its session says that it is not heard of."""

    @property
    def id(self) -> UUID:
        """The worker's id."""
        return self.row.id

    def hold(self, task_id: UUID, slots: tuple[tuple[str, int], ...]) -> None:
        """Take units for a task."""
        if task_id in self.held:
            return
        self.held[task_id] = slots
        for kind, units in slots:
            self.used[kind] = self.used.get(kind, 0) + units

    def free(self, task_id: UUID) -> bool:
        """Give a task's units back; whether it held any."""
        slots = self.held.pop(task_id, None)
        if slots is None:
            return False
        for kind, units in slots:
            self.used[kind] -= units
        return True

    def fits(self, slots: tuple[tuple[str, int], ...]) -> bool:
        """Whether it has that many free units of every kind."""
        total, used = self.row.slots, self.used
        return all(used.get(kind, 0) + units <= total.get(kind, 0) for kind, units in slots)

    def relabel(self, labels: dict[str, LabelValue], paused: bool | None = None) -> None:
        """Its row was changed: labels, and whether it is paused."""
        self.row = replace(self.row, labels=labels, paused=self.row.paused if paused is None else paused)

    def free_units(self) -> dict[str, int]:
        """Free units by kind."""
        return {kind: units - self.used.get(kind, 0) for kind, units in self.row.slots.items()}

    def usable(self, now: float, fresh: float) -> bool:
        """Whether it may get work at all: listens with room, not paused, heard of lately."""
        return (
            not self.row.paused
            and self.beat is not None
            and now - self.beat < fresh
            and any(session.has_room for session in self.sessions)
        )


class ActionRing:
    """The workers that have an action, taken in turn."""

    __slots__ = ("workers",)

    def __init__(self) -> None:
        self.workers: deque[Worker] = deque()

    def turn_to(self, worker: Worker) -> None:
        """The one after this worker is next."""
        ring = self.workers
        for _ in range(len(ring)):
            ring.rotate(-1)
            if ring[-1] is worker:
                return
