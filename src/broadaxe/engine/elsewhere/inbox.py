"""Acts upon the messages of other engines about tasks, sessions, results and watchers."""

import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar
from uuid import UUID

import msgspec

from broadaxe.domain.errors import BroadaxeError
from broadaxe.domain.ids import TenantId
from broadaxe.domain.user_event import UserEvent
from broadaxe.engine.elsewhere.bodies import (
    Attempt,
    Chunk,
    Depth,
    Rows,
    Runs,
    SessionAt,
    Watched,
    Watching,
    Workers,
)
from broadaxe.engine.elsewhere.depths import Depths
from broadaxe.engine.elsewhere.guests import Guests
from broadaxe.engine.elsewhere.hosts import Hosts
from broadaxe.engine.elsewhere.interest import Interest
from broadaxe.engine.elsewhere.watching import WatchingElsewhere
from broadaxe.engine.gate import Gate
from broadaxe.engine.ingest.events import EventListener
from broadaxe.store.ledger import Message, MessageKind

_LOG = logging.getLogger(__name__)
_T = TypeVar("_T")
_EARLY = 100_000
RowsChanged = Callable[[TenantId, list[UUID]], Awaitable[None]]


class Inbox:
    """What is for an owner waits while its lease is being taken over, and what comes then waits behind it."""

    def __init__(
        self,
        gate: Gate,
        guests: Guests,
        hosts: Hosts,
        interest: Interest,
        depths: Depths,
        watching: WatchingElsewhere,
        rows_changed: RowsChanged,
        schedules_changed: Callable[[Message], Awaitable[None]],
        listeners: Sequence[EventListener],
    ) -> None:
        self._listeners = listeners
        self._schedules_changed = schedules_changed
        self._gate = gate
        self._guests = guests
        self._hosts = hosts
        self._interest = interest
        self._depths = depths
        self._watching = watching
        self._rows_changed = rows_changed
        self._early: deque[Message] = deque(maxlen=_EARLY)
        """For a partition that is being taken over: dealt with when its memory is whole."""
        self._behind: set[int] = set()
        """Partitions that are owned, whose early messages are not all dealt with."""

    def gaining(self, partition: int) -> None:
        """The partition's memory is whole: until `gained` has ended, its messages keep their order."""
        self._behind.add(partition)

    async def gained(self, partition: int) -> None:
        """Act upon what came during the take-over, and upon what has come since."""
        try:
            while early := self._take_early(partition):
                for message in early:
                    await self._late(message)
        finally:
            self._behind.discard(partition)

    def _take_early(self, partition: int) -> list[Message]:
        early, self._early = self._early, deque(maxlen=_EARLY)
        found: list[Message] = []
        for message in early:
            mine = self._gate.partition(message.tenant_id) == partition and self._gate.owns(message.tenant_id)
            (found if mine else self._early).append(message)
        return found

    async def _late(self, message: Message) -> None:
        """One that does not do leaves those behind it alone."""
        try:
            await self._for_owner(message.tenant_id, message.kind, message)
        except (BroadaxeError, msgspec.DecodeError) as error:
            _LOG.warning("a %s message failed: %s", message.kind.name.lower(), error)

    async def orders(self, messages: Iterable[Message]) -> None:
        """All orders to send of a sweep, those of a tenant with one look at the rows."""
        by_tenant: dict[TenantId, list[Attempt]] = {}
        for message in messages:
            by_tenant.setdefault(message.tenant_id, []).append(_body(message, Attempt))
        for tenant_id, orders in by_tenant.items():
            await self._guests.send(tenant_id, orders)

    async def act(self, message: Message) -> bool:
        """Deal with one; False when it is of another kind."""
        tenant_id, kind = message.tenant_id, message.kind
        if await self._for_engine(tenant_id, kind, message):
            return True
        if kind not in _FOR_OWNER:
            return False
        if self._gate.owns(tenant_id) and self._gate.partition(tenant_id) not in self._behind:
            await self._for_owner(tenant_id, kind, message)
        else:
            self._early.append(message)
        return True

    async def _for_engine(self, tenant_id: TenantId, kind: MessageKind, message: Message) -> bool:
        if kind is MessageKind.SEND:
            await self._guests.send(tenant_id, [_body(message, Attempt)])
        elif kind is MessageKind.STOP:
            await self._guests.stop(tenant_id, _body(message, Attempt))
        elif kind is MessageKind.END_SESSION:
            for worker_id in _body(message, Workers).ids:
                self._guests.end(tenant_id, worker_id)
        elif kind is MessageKind.BEAT_ELSEWHERE:
            self._guests.beat(_body(message, Workers).ids)
        elif kind is MessageKind.RUN_ENDED:
            await self._interest.ended(tenant_id, _body(message, Runs))
        elif kind is MessageKind.WATCHED:
            self._watching.watched(_body(message, Watched))
        elif kind is MessageKind.QUEUE_FULL:
            self._depths.told(tenant_id, _body(message, Depth))
        else:
            return False
        return True

    async def _for_owner(self, tenant_id: TenantId, kind: MessageKind, message: Message) -> None:
        if kind is MessageKind.ROWS_CHANGED:
            await self._rows_changed(tenant_id, _body(message, Rows).ids)
        elif kind is MessageKind.SESSION_OPENED:
            await self._hosts.opened(tenant_id, _body(message, SessionAt))
        elif kind is MessageKind.SESSION_CLOSED:
            self._hosts.closed(tenant_id, _body(message, SessionAt))
        elif kind in (MessageKind.WORKER_SILENT, MessageKind.WORKER_BEATS):
            self._hosts.silent(tenant_id, _body(message, Workers).ids, kind is MessageKind.WORKER_SILENT)
        elif kind is MessageKind.RUN_WANTED:
            self._interest.wanted(tenant_id, _body(message, Runs))
        elif kind is MessageKind.WATCH:
            self._watching.watch(tenant_id, _body(message, Watching))
        elif kind is MessageKind.UNWATCH:
            self._watching.unwatch(_body(message, Watching))
        elif kind is MessageKind.SCHEDULES_CHANGED:
            await self._schedules_changed(message)
        elif kind is MessageKind.EVENT_DELIVERED:
            for listener in self._listeners:
                await listener.delivered(_body(message, UserEvent))
        elif kind is MessageKind.CHUNK:
            await self._watching.chunk(tenant_id, _body(message, Chunk))


_FOR_OWNER = frozenset(
    {
        MessageKind.ROWS_CHANGED,
        MessageKind.SESSION_OPENED,
        MessageKind.SESSION_CLOSED,
        MessageKind.WORKER_SILENT,
        MessageKind.WORKER_BEATS,
        MessageKind.RUN_WANTED,
        MessageKind.WATCH,
        MessageKind.UNWATCH,
        MessageKind.CHUNK,
        MessageKind.EVENT_DELIVERED,
        MessageKind.SCHEDULES_CHANGED,
    }
)


def _body(message: Message, kind: type[_T]) -> _T:
    return msgspec.json.decode(message.body, type=kind)
