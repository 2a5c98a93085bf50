"""A worker's open stream: a bounded outbox that the transport empties, and the account of what was sent."""

import asyncio
from asyncio import Future
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from broadaxe.engine.api import ActionKind, WorkerAction

Key = tuple[UUID, int, ActionKind]
"""Task, attempt, kind of message."""


@dataclass(frozen=True, slots=True)
class Written:
    """A message that the transport wrote, with the times of the write (nanoseconds since 1970)."""

    action: WorkerAction
    started_ns: int
    ended_ns: int
    size: int


class SessionOwner(Protocol):
    """Who opened the session and hears of what becomes of it."""

    def written(self, session: "Session", written: Written) -> None:
        """A message is on the stream."""

    def handed(self, session: "Session", action: WorkerAction) -> None:
        """The transport took a message."""

    def room_made(self, session: "Session") -> None:
        """A full outbox takes messages again."""

    def closed(self, session: "Session", unsent: list[WorkerAction], doubtful: list[WorkerAction]) -> None:
        """It is over. `unsent` never left; `doubtful` were with the transport, unconfirmed."""


class Outlet(Protocol):
    """A worker's stream as the owner of its tenant sees it: open here, or at another engine."""

    worker_id: UUID
    opened_at: datetime
    open: bool

    @property
    def has_room(self) -> bool:
        """Whether it takes another message."""

    def offer(self, action: WorkerAction) -> bool:
        """Queue a message; False when it is full or over."""

    def withdraw(self, task_id: UUID, attempt: int) -> bool:
        """Take a START back; True if it never left."""

    def end(self) -> None:
        """The engine ends it."""


class Session:
    """One open stream. Implements `engine.api.WorkerSession`."""

    def __init__(
        self,
        id: UUID,
        worker_id: UUID,
        opened_at: datetime,
        limit: int,
        limit_bytes: int,
        owner: SessionOwner,
    ) -> None:
        self.id = id
        self.worker_id = worker_id
        self.opened_at = opened_at
        self._limit = limit
        self._limit_bytes = limit_bytes
        self._bytes = 0
        self.owner = owner
        """Another one when the tenant's scheduling moves to or from another engine; the stream goes on."""
        self._outbox: OrderedDict[Key, WorkerAction] = OrderedDict()
        self._handed: OrderedDict[Key, WorkerAction] = OrderedDict()
        self._waiter: Future[None] | None = None
        self._was_full = False
        self.open = True

    @property
    def has_room(self) -> bool:
        """Whether it takes another message."""
        return self.open and len(self._outbox) < self._limit and self._bytes < self._limit_bytes

    @property
    def waiting(self) -> int:
        """Messages in the outbox."""
        return len(self._outbox)

    def offer(self, action: WorkerAction) -> bool:
        """Queue a message; False when it is full or over. A cancel is taken even when it is full."""
        if not self.open or (action.kind is ActionKind.START and not self.has_room):
            return False
        self._outbox[(action.task_id, action.attempt, action.kind)] = action
        self._bytes += len(action.payload)
        if not self.has_room:
            self._was_full = True
        self._wake()
        return True

    def withdraw(self, task_id: UUID, attempt: int) -> bool:
        """Take a START back; True if it never left."""
        action = self._outbox.pop((task_id, attempt, ActionKind.START), None)
        if action is None:
            return False
        self._bytes -= len(action.payload)
        return True

    def delivery_of(self, task_id: UUID, attempt: int) -> str | None:
        """`outbox` or `handed` for a START that has not been written yet."""
        key = (task_id, attempt, ActionKind.START)
        return "outbox" if key in self._outbox else "handed" if key in self._handed else None

    def end(self) -> None:
        """The engine ends it: the iteration stops, what the transport has may still be confirmed."""
        self._finish([])

    # -- for the transport ------------------------------------------------------------------------------

    def __aiter__(self) -> "Session":
        return self

    async def __anext__(self) -> WorkerAction:
        while not self._outbox:
            if not self.open:
                raise StopAsyncIteration
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        key, action = self._outbox.popitem(last=False)
        self._bytes -= len(action.payload)
        self._handed[key] = action
        self.owner.handed(self, action)
        if self._was_full and len(self._outbox) * 2 <= self._limit and self._bytes * 2 <= self._limit_bytes:
            self._was_full = False
            self.owner.room_made(self)
        return action

    def sent(self, action: WorkerAction, started_ns: int, ended_ns: int, size: int) -> None:
        """The transport wrote the message."""
        if self._handed.pop((action.task_id, action.attempt, action.kind), None) is not None:
            self.owner.written(self, Written(action, started_ns, ended_ns, size))

    def close(self) -> None:
        """The client hung up, or the transport is done with the stream. Calling it again is fine."""
        doubtful = list(self._handed.values())
        self._handed.clear()
        self._finish(doubtful)

    def _finish(self, doubtful: list[WorkerAction]) -> None:
        if not self.open and not doubtful:
            return
        self.open = False
        unsent = list(self._outbox.values())
        self._outbox.clear()
        self._wake()
        self.owner.closed(self, unsent, doubtful)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
