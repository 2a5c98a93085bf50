"""A worker's stream at another engine, as the owner of its tenant sees it."""

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

import msgspec

from broadaxe.domain.ids import EngineId, TenantId
from broadaxe.domain.task import TaskFacts
from broadaxe.engine.api import ActionKind, WorkerAction
from broadaxe.engine.elsewhere.bodies import Attempt, Workers
from broadaxe.engine.tracing import attempt_context, sampled
from broadaxe.store.ledger import Message, MessageKind


class RemoteSession:
    """Implements `Outlet`: what is offered becomes a message for the engine that has the stream.

    An order to send is committed with its assignment. From then on the task counts as sent: that engine alone
    knows how far it got, and writes what follows when it did not get there.
    """

    def __init__(
        self,
        tenant_id: TenantId,
        worker_id: UUID,
        engine_id: EngineId,
        opened_at: datetime,
        post: Callable[[Message], None],
    ) -> None:
        self.tenant_id = tenant_id
        self.worker_id = worker_id
        self.engine_id = engine_id
        self.opened_at = opened_at
        self.open = True
        self._post = post
        self._ordered: set[tuple[UUID, int]] = set()

    @property
    def has_room(self) -> bool:
        """While it is open: how full the stream is only its engine knows."""
        return self.open

    def order(self, facts: TaskFacts, attempt: int) -> Message:
        """The order to send an attempt, for the commit of its assignment."""
        self._ordered.add((facts.id, attempt))
        body = msgspec.json.encode(Attempt(facts.id, attempt, self.worker_id))
        trace = attempt_context(facts, attempt) if sampled(facts) else None
        return Message(self.tenant_id, MessageKind.SEND, body, trace, self.engine_id)

    def ordered(self, task_id: UUID, attempt: int) -> bool:
        """Whether the order was committed with the assignment; asked once."""
        key = (task_id, attempt)
        if key not in self._ordered:
            return False
        self._ordered.discard(key)
        return True

    def offer(self, action: WorkerAction) -> bool:
        """Leave a message for its engine."""
        if not self.open:
            return False
        kind = MessageKind.SEND if action.kind is ActionKind.START else MessageKind.STOP
        body = msgspec.json.encode(Attempt(action.task_id, action.attempt, self.worker_id))
        self._post(Message(self.tenant_id, kind, body, None, self.engine_id))
        return True

    def withdraw(self, task_id: UUID, attempt: int) -> bool:
        """It cannot be known here: the engine that has the stream is told to stop the attempt."""
        return False

    def end(self) -> None:
        """Ask its engine to end the stream."""
        if self.open:
            self.open = False
            body = msgspec.json.encode(Workers([self.worker_id]))
            self._post(Message(self.tenant_id, MessageKind.END_SESSION, body, None, self.engine_id))
