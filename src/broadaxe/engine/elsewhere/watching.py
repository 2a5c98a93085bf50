"""Watchers of runs at other engines, and chunks that reach other engines: both ways."""

import asyncio
from asyncio import Future
from collections.abc import AsyncIterator
from datetime import datetime
from uuid import UUID

import msgspec

from broadaxe.domain.errors import BroadaxeError, InvalidArgument, NotFound, Unavailable
from broadaxe.domain.fleet import Fleet
from broadaxe.domain.ids import EngineId, TenantId
from broadaxe.engine.api import RunEvent, RunEventKind
from broadaxe.engine.context import EngineContext
from broadaxe.engine.dispatch.run_events import RunEvents, Watch
from broadaxe.engine.elsewhere.bodies import Chunk, Event, Watched, Watching
from broadaxe.engine.elsewhere.outgoing import Outgoing
from broadaxe.engine.gate import Gate
from broadaxe.engine.scheduler.row_reads import RowReads
from broadaxe.store.ledger import Message, MessageKind

_GRACE = 5.0
"""Seconds that an owner may take to answer beyond what it waits for a run to appear."""


class _Asked:
    """A watcher here that an owner elsewhere serves."""

    def __init__(self, tenant_id: TenantId, asked: Watching, watch: Watch) -> None:
        self.tenant_id = tenant_id
        self.asked = asked
        self.watch = watch
        self.answer: Future[None] = asyncio.get_running_loop().create_future()


class WatchingElsewhere:
    """Asks owners for events, and serves those that ask."""

    def __init__(
        self,
        context: EngineContext,
        gate: Gate,
        events: RunEvents,
        reads: RowReads,
        outgoing: Outgoing,
    ) -> None:
        self._ledger = context.ledger
        self._reads = reads
        self._ids = context.ids
        self._options = context.options
        self._me = context.options.engine_id
        self._gate = gate
        self._events = events
        self._outgoing = outgoing
        self._asked: dict[UUID, _Asked] = {}
        self._served: dict[UUID, tuple[EngineId, asyncio.Task[None]]] = {}

    # -- for the watchers here ----------------------------------------------------------------------------

    async def watch_run(self, tenant_id: TenantId, run_id: UUID) -> Watch:
        """Events of one run. NotFound when it does not appear for a while."""
        return await self._ask(tenant_id, Watching(self._ids.uuid4(), self._me, run_id))

    async def watch_metadata(self, tenant_id: TenantId, key: str, value: str) -> Watch:
        """Events of all runs with this pair."""
        return await self._ask(tenant_id, Watching(self._ids.uuid4(), self._me, None, key, value))

    async def put_stream_event(
        self, tenant_id: TenantId, task_id: UUID, at: datetime, chunk: bytes, index: int | None
    ) -> None:
        """A chunk of a task that runs, for the owner. NotFound for an unknown one."""
        if index is not None and index < 0:
            raise InvalidArgument("event_index: must not be negative")
        await self._gate.wait(admit_draining=True)
        if await self._reads.get(tenant_id, task_id) is None:
            raise NotFound(f"task {task_id} not found")
        body = msgspec.json.encode(Chunk(task_id, at, chunk, index))
        await self._ledger.post([Message(tenant_id, MessageKind.CHUNK, body)])

    def watched(self, told: Watched) -> None:
        """The owner says what happened."""
        one = self._asked.get(told.watch_id)
        if one is None:
            return
        if not one.answer.done():
            if told.problem is not None:
                one.answer.set_exception(NotFound(told.problem))
                return
            one.answer.set_result(None)
        for event in told.events:
            one.watch.put(_run_event(event))
        if told.ended:
            one.watch.end()

    def moved(self) -> None:
        """Leases changed hands: the new owners are asked again."""
        for one in self._asked.values():
            if not self._gate.owns(one.tenant_id):
                self._post(one.tenant_id, MessageKind.WATCH, one.asked, None)

    def close(self) -> None:
        """The process drains: every stream ends."""
        for one in list(self._asked.values()):
            one.watch.end()
        for _, task in self._served.values():
            task.cancel()

    async def _ask(self, tenant_id: TenantId, asked: Watching) -> Watch:
        await self._gate.wait()

        def leave(watch: Watch) -> None:
            if self._asked.pop(asked.watch_id, None) is not None:
                self._post(tenant_id, MessageKind.UNWATCH, asked, None)

        one = _Asked(tenant_id, asked, Watch(tenant_id, self._options.watch_buffer, leave))
        self._asked[asked.watch_id] = one
        self._post(tenant_id, MessageKind.WATCH, asked, None)
        try:
            async with asyncio.timeout(self._options.watch_wait + _GRACE):
                await one.answer
        except TimeoutError:
            one.watch.end()
            raise Unavailable("the engine that schedules the run does not answer; try again") from None
        except BaseException:
            one.watch.end()
            raise
        return one.watch

    # -- for the owner ------------------------------------------------------------------------------------

    def watch(self, tenant_id: TenantId, asked: Watching) -> None:
        """Another engine has a watcher."""
        if asked.watch_id in self._served:
            return
        task = asyncio.get_running_loop().create_task(self._serve(tenant_id, asked), name="watcher elsewhere")
        self._served[asked.watch_id] = (EngineId(asked.engine_id), task)
        task.add_done_callback(lambda _: self._served.pop(asked.watch_id, None))

    def unwatch(self, asked: Watching) -> None:
        """It has left."""
        served = self._served.get(asked.watch_id)
        if served is not None:
            served[1].cancel()

    async def chunk(self, tenant_id: TenantId, chunk: Chunk) -> None:
        """A chunk reached another engine."""
        await self._events.put_stream_event(tenant_id, chunk.task_id, chunk.at, chunk.chunk, chunk.index)

    def seen(self, fleet: Fleet) -> None:
        """Watchers at dead engines are gone."""
        for engine_id, task in list(self._served.values()):
            if not fleet.alive(engine_id):
                task.cancel()

    async def _serve(self, tenant_id: TenantId, asked: Watching) -> None:
        to = EngineId(asked.engine_id)
        try:
            if asked.run_id is not None:
                watch = await self._events.watch_run(tenant_id, asked.run_id)
            else:
                watch = await self._events.watch_metadata(tenant_id, asked.key, asked.value)
        except BroadaxeError as error:
            if self._gate.owns(tenant_id):
                self._post(tenant_id, MessageKind.WATCHED, Watched(asked.watch_id, problem=error.message), to)
            return
        self._post(tenant_id, MessageKind.WATCHED, Watched(asked.watch_id), to)
        try:
            await self._pass_on(tenant_id, asked.watch_id, to, watch)
        finally:
            await watch.aclose()

    async def _pass_on(
        self, tenant_id: TenantId, watch_id: UUID, to: EngineId, watch: AsyncIterator[RunEvent]
    ) -> None:
        try:
            async for event in watch:
                self._post(tenant_id, MessageKind.WATCHED, Watched(watch_id, [_event(event)]), to)
        except BroadaxeError:
            # The watcher did not keep up.
            self._post(tenant_id, MessageKind.WATCHED, Watched(watch_id, ended=True), to)
            return
        if self._gate.owns(tenant_id):
            # Without the lease the next owner goes on with it.
            self._post(tenant_id, MessageKind.WATCHED, Watched(watch_id, ended=True), to)

    def _post(
        self, tenant_id: TenantId, kind: MessageKind, body: msgspec.Struct, to: EngineId | None
    ) -> None:
        self._outgoing.post(Message(tenant_id, kind, msgspec.json.encode(body), None, to))


def _event(event: RunEvent) -> Event:
    return Event(
        event.kind.value,
        event.run_id,
        event.task_id,
        event.at,
        event.attempt,
        event.payload,
        event.step_name,
        event.event_index,
        event.hangup,
    )


def _run_event(event: Event) -> RunEvent:
    return RunEvent(
        RunEventKind(event.kind),
        event.run_id,
        event.task_id,
        event.at,
        event.attempt,
        event.payload,
        event.step_name,
        event.event_index,
        event.hangup,
    )
