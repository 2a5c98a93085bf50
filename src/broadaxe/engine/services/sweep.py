"""Once a second, one statement: takes the messages that other processes left, and acts upon them.

Bodies are JSON objects: `{"ids": [...]}` to cancel or replay, `{"worker_id": ...}`, `{"workflow": name}`
(absent: any), and for a revoked token whatever the room `auth` put there.
"""

import asyncio
import logging
from asyncio import Future
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from itertools import groupby
from typing import Protocol
from uuid import UUID

import msgspec

from broadaxe.domain.errors import BroadaxeError
from broadaxe.domain.ids import TenantId
from broadaxe.domain.task import TaskFilter
from broadaxe.engine.api import Origin
from broadaxe.engine.context import EngineContext
from broadaxe.engine.dispatch.desk import WorkerDesk
from broadaxe.engine.elsewhere.inbox import Inbox
from broadaxe.engine.gate import Gate
from broadaxe.engine.ingest.catalog import Catalog
from broadaxe.engine.ingest.subscriptions import Subscriptions
from broadaxe.engine.scheduler.timers import Timer, Timers
from broadaxe.engine.tally import Tally
from broadaxe.engine.tracing import SYSTEM
from broadaxe.store.ledger import Message, MessageKind
from broadaxe.telemetry import names as T

_LOG = logging.getLogger(__name__)


class _Body(msgspec.Struct):
    ids: list[UUID] = []
    worker_id: UUID | None = None
    workflow: str | None = None


class Orders(Protocol):
    """Cancels and replays that other processes leave."""

    async def cancel(
        self, tenant_id: TenantId, ids: Sequence[UUID], where: TaskFilter | None, origin: Origin
    ) -> list[UUID]:
        """Cancel what is not final."""

    async def replay(
        self, tenant_id: TenantId, ids: Sequence[UUID], where: TaskFilter | None, origin: Origin
    ) -> list[UUID]:
        """Run final tasks again."""


class Sweep:
    """The one regular statement of an idle engine."""

    def __init__(
        self,
        context: EngineContext,
        gate: Gate,
        timers: Timers,
        catalog: Catalog,
        desk: WorkerDesk,
        operations: Orders,
        subscriptions: Subscriptions,
        inbox: Inbox,
        confirmed_until: Callable[[], datetime | None],
        tally: Tally,
    ) -> None:
        self._ledger = context.ledger
        self._clock = context.clock
        self._tracer = context.tracer
        self._options = context.options
        self._gate = gate
        self._timers = timers
        self._catalog = catalog
        self._desk = desk
        self._operations = operations
        self._subscriptions = subscriptions
        self._inbox = inbox
        self._confirmed_until = confirmed_until
        self._tally = tally
        self._timer: Timer | None = None
        self._task: asyncio.Task[None] | None = None
        self._again = False
        self._running = False
        self.on_token_revoked: list[Callable[[Message], None]] = []
        """Told of revoked tokens."""
        self.failures = 0
        self.swept = False
        """Whether any sweep succeeded: before, nothing is known of the others."""

    def start(self) -> None:
        """Begin; a NOTIFY makes the next sweep come at once."""
        self._running = True
        self._ledger.on_wake(self.wake)
        self._timer = self._timers.after(self._options.sweep_every, self._due)

    async def stop(self) -> None:
        """End; messages that were taken are dealt with first."""
        self._running = False
        self._timers.cancel(self._timer)
        if self._task is not None and not self._task.done():
            await asyncio.wait([self._task])

    def healthy(self) -> bool:
        """Whether the last sweep went well."""
        return self._running and self.failures == 0

    def wake(self) -> None:
        """Messages wait."""
        self._begin(told=True)

    def _begin(self, told: bool) -> None:
        if not self._running:
            return
        if self._task is not None and not self._task.done():
            self._again = True
        else:
            self._task = asyncio.get_running_loop().create_task(self._run(told), name="sweep")

    def _due(self) -> None:
        self._timer = self._timers.after(self._options.sweep_every, self._due)
        if self._task is None or self._task.done():
            self._begin(told=False)

    async def _run(self, told: bool) -> None:
        again = True
        while again:
            self._again = False
            await self._sweep(told)
            again = self._again and self._running
            told = True

    async def _sweep(self, told: bool) -> None:
        began = self._clock.now_ns()
        try:
            messages = await self._ledger.sweep(self._confirmed_until())
        except BroadaxeError as error:
            self.failures += 1
            if self.failures == 1:
                _LOG.warning("sweep: %s", error.message)
            return
        self.failures = 0
        self.swept = True
        if not messages:
            return
        if not told:
            self._tally.found(len(messages))
        self._tracer.emit(
            T.SPAN_SWEEP,
            self._tracer.new_root(),
            began,
            self._clock.now_ns(),
            attrs=((T.ATTR_SWEEP_FOUND, len(messages)),),
        )
        for orders, some in groupby(messages, lambda message: message.kind is MessageKind.SEND):
            group = list(some)
            if orders and len(group) > 1:
                await self._orders(group)
                continue
            for message in group:
                await self._message(message, self._act)

    async def _orders(self, group: list[Message]) -> None:
        """Orders to send are looked at together; each has a span of its own all the same."""
        looked: Future[None] = asyncio.ensure_future(self._inbox.orders(group))
        for message in group:
            await self._message(message, lambda _: asyncio.shield(looked))

    async def _message(self, message: Message, act: Callable[[Message], Awaitable[None]]) -> None:
        kind = message.kind.name.lower()
        attrs = (
            (T.ATTR_TENANT_ID, str(message.tenant_id)),
            (T.ATTR_MESSAGING_SYSTEM, SYSTEM),
            (T.ATTR_MESSAGING_OPERATION_NAME, "process"),
            (T.ATTR_MESSAGING_OPERATION_TYPE, "process"),
            (T.ATTR_MESSAGING_DESTINATION_NAME, kind),
            (T.ATTR_PAYLOAD_SIZE_BYTES, len(message.body)),
        )
        span = self._tracer.start(T.SPAN_BUS_MESSAGE, parent=message.trace)
        for attr, value in attrs:
            span.set(attr, value)
        self._tally.message(kind)
        try:
            with self._tracer.use(span):
                await act(message)
        except msgspec.DecodeError as error:
            _LOG.error("a %s message is not valid: %s", kind, error)
            span.end(error_type="invalid_message", message=str(error))
        except BroadaxeError as error:
            _LOG.warning("a %s message failed: %s", kind, error.message)
            span.end(error_type=type(error).__name__, message=error.message)
        else:
            span.end()

    async def _act(self, message: Message) -> None:
        if message.kind is MessageKind.TOKEN_REVOKED:
            for listener in self.on_token_revoked:
                listener(message)
            return
        if message.kind is MessageKind.FILTERS_CHANGED:
            self._subscriptions.forget(message.tenant_id)
            return
        if await self._inbox.act(message):
            return
        body = msgspec.json.decode(message.body or b"{}", type=_Body)
        tenant_id: TenantId = message.tenant_id
        action: Awaitable[object] | None = None
        if message.kind is MessageKind.CANCEL:
            action = self._operations.cancel(tenant_id, body.ids, None, Origin())
        elif message.kind is MessageKind.REPLAY:
            action = self._operations.replay(tenant_id, body.ids, None, Origin())
        elif message.kind is MessageKind.WORKER_CHANGED and body.worker_id is not None:
            action = self._desk.changed(tenant_id, body.worker_id)
        elif message.kind is MessageKind.WORKFLOW_CHANGED:
            if body.workflow is None:
                self._catalog.forget_names()
            else:
                self._catalog.forget(tenant_id, body.workflow)
        if action is not None:
            await action
