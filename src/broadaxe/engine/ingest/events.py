"""User events: stored together with the runs they start, then told to whoever waits for them."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

from broadaxe.domain.errors import (
    BroadaxeError,
    InvalidArgument,
    ResourceExhausted,
    Unavailable,
)
from broadaxe.domain.event_filters import EventFilter, ExpressionFailure, FailureSource, candidates
from broadaxe.domain.ids import TenantId, WorkflowId
from broadaxe.domain.metadata import EVENT_ID, EVENT_KEY, add_keys, require_metadata
from broadaxe.domain.payloads import require_object
from broadaxe.domain.user_event import UserEvent
from broadaxe.engine.api import EventCause, NewUserEvent, Origin, Refusal, Trigger
from broadaxe.engine.context import EngineContext, EngineOptions
from broadaxe.engine.event_tracing import EventTraces
from broadaxe.engine.gate import Gate
from broadaxe.engine.ingest.catalog import Catalog
from broadaxe.engine.ingest.keys import Keys
from broadaxe.engine.ingest.planning import PRIORITIES
from broadaxe.engine.ingest.subscriptions import Subscriptions
from broadaxe.engine.ingest.trigger import Triggers
from broadaxe.engine.scheduler.live import StepPlan
from broadaxe.engine.tally import Tally
from broadaxe.expr.evaluator import Evaluator
from broadaxe.expr.failures import ExpressionFailed
from broadaxe.store.event_ledger import KeyHolder
from broadaxe.telemetry.context import TraceContext
from broadaxe.telemetry.logs import RateLimited

_BREATH = 32
"""Expressions that are evaluated without letting others run."""


class EventListener(Protocol):
    """Who waits for events beside the workflows that declare them."""

    async def delivered(self, event: UserEvent) -> None:
        """The event is stored. Returns once what follows from it is committed."""


@dataclass(slots=True)
class _Planned:
    """What an event is going to start."""

    items: list[tuple[Trigger, StepPlan]] = field(default_factory=list)
    failures: list[ExpressionFailure] = field(default_factory=list)
    asked: int = 0
    passed: int = 0


def check_event(event: NewUserEvent, options: EngineOptions) -> None:
    """Raise InvalidArgument naming the field of an event that can never be right."""
    _check_text("key", event.key, options.event_key_limit)
    if not event.key:
        raise InvalidArgument("key: must not be empty")
    if event.scope is not None:
        _check_text("scope", event.scope, options.event_key_limit)
    if len(event.payload) > options.payload_limit:
        raise InvalidArgument(f"payload: larger than {options.payload_limit} bytes")
    require_object("payload", event.payload)
    if event.metadata is not None and len(event.metadata) > options.metadata_limit:
        raise InvalidArgument(f"additional_metadata: larger than {options.metadata_limit} bytes")
    require_metadata(event.metadata)
    if event.priority is not None and event.priority not in PRIORITIES:
        raise InvalidArgument(f"priority: must be 1, 2 or 3, not {event.priority}")


def _check_text(field: str, text: str, limit: int) -> None:
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise InvalidArgument(f"{field}: holds half a surrogate pair") from None
    if size > limit:
        raise InvalidArgument(f"{field}: longer than {limit} bytes")
    if "\x00" in text:
        raise InvalidArgument(f"{field}: must not contain U+0000")


class Events:
    """Takes events."""

    def __init__(
        self,
        context: EngineContext,
        gate: Gate,
        catalog: Catalog,
        subscriptions: Subscriptions,
        evaluator: Evaluator,
        keys: Keys,
        complaint: RateLimited,
        triggers: Triggers,
        traces: EventTraces,
        tally: Tally,
        listeners: tuple[EventListener, ...],
    ) -> None:
        self._clock = context.clock
        self._ids = context.ids
        self._options = context.options
        self._gate = gate
        self._catalog = catalog
        self._subscriptions = subscriptions
        self._evaluator = evaluator
        self._keys = keys
        self._complaint = complaint
        self._triggers = triggers
        self._traces = traces
        self._tally = tally
        self._listeners = listeners

    async def push(self, tenant_id: TenantId, new: NewUserEvent, origin: Origin) -> UserEvent:
        """Store an event and start its runs; returns when all of it is committed and told."""
        self._gate.require()
        check_event(new, self._options)
        return await self._push(tenant_id, new, origin)

    async def push_many(
        self, tenant_id: TenantId, events: Sequence[NewUserEvent], origin: Origin
    ) -> list[UserEvent | Refusal]:
        """Store many, each by itself: one that is refused leaves the others alone."""
        self._gate.require()
        if not 1 <= len(events) <= self._options.event_bulk_limit:
            raise InvalidArgument(f"events: between 1 and {self._options.event_bulk_limit} in one call")
        answers = await asyncio.gather(
            *(self.push(tenant_id, new, origin) for new in events), return_exceptions=True
        )
        found: list[UserEvent | Refusal] = []
        for at, answer in enumerate(answers):
            if isinstance(answer, Unavailable) or (
                isinstance(answer, BaseException) and not isinstance(answer, BroadaxeError)
            ):
                raise answer
            found.append(Refusal(at, answer) if isinstance(answer, BaseException) else answer)
        return found

    async def _push(self, tenant_id: TenantId, new: NewUserEvent, origin: Origin) -> UserEvent:
        event = UserEvent(
            tenant_id=tenant_id,
            id=self._ids.uuid7(),
            key=new.key,
            payload=new.payload,
            metadata=new.metadata or b"{}",
            at=self._clock.now(),
            scope=new.scope,
            priority=new.priority,
        )
        above = self._traces.above(event.id, event.metadata, origin.caller)
        place = self._traces.place(event.id, above)
        if origin.parent is None or place.sampled:
            origin.parent = place
        planned = await self._plan(event, above, place)
        self._require_size(event, len(planned.items))
        try:
            ids = await self._triggers.for_event(event, above, planned.items, planned.failures)
        except BroadaxeError as error:
            self._traces.pushed(event, above, 0, type(error).__name__)
            raise
        runs = sum(not isinstance(one, KeyHolder) for one in ids)
        self._traces.pushed(event, above, runs)
        self._tally.event(tenant_id, runs, len(planned.failures))
        for listener in self._listeners:
            await listener.delivered(event)
        return event

    async def _plan(self, event: UserEvent, above: TraceContext, place: TraceContext) -> _Planned:
        began = self._clock.now_ns()
        planned = _Planned()
        subscriptions = await self._subscriptions.of(event.tenant_id)
        for wanted in subscriptions.matching(event.key):
            chosen = candidates(subscriptions.filters(wanted.workflow_id), event.scope)
            if not chosen:
                continue
            plan = await self._catalog.newest(event.tenant_id, wanted.workflow)
            if plan is None:
                continue
            if plan.missing is not None:
                self._skipped(event, wanted.workflow, plan.missing)
                continue
            for one in chosen:
                if one is None or await self._passes(one, event, planned):
                    await self._add(event, place, one, plan, planned)
        if planned.asked:
            failed = sum(one.source is FailureSource.FILTER for one in planned.failures)
            self._traces.matched(event, above, began, planned.asked, planned.passed, failed)
        return planned

    def _skipped(self, event: UserEvent, workflow: str, missing: str) -> None:
        """It registers, but cannot be run yet: a call would be told so, an event has nobody to tell."""
        self._tally.event_skipped()
        self._complaint.warning("event %s starts no run of %s: %s", event.id, workflow, missing)

    async def _passes(self, one: EventFilter, event: UserEvent, planned: _Planned) -> bool:
        planned.asked += 1
        if planned.asked % _BREATH == 0:
            await asyncio.sleep(0)
        try:
            passed = await self._evaluator.boolean(
                one.expression,
                {
                    "input": event.payload,
                    "additional_metadata": event.metadata,
                    "payload": one.payload,
                    "event_id": str(event.id),
                    "event_key": event.key,
                },
            )
        except ExpressionFailed as error:
            failure = ExpressionFailure(FailureSource.FILTER, one.workflow_id, one.id, error.message)
            planned.failures.append(failure)
            return False
        planned.passed += passed
        return passed

    async def _add(
        self,
        event: UserEvent,
        place: TraceContext,
        one: EventFilter | None,
        plan: StepPlan,
        planned: _Planned,
    ) -> None:
        trigger = Trigger(
            workflow=plan.version.definition.name,
            input=event.payload,
            metadata=add_keys(event.metadata, {EVENT_ID: str(event.id), EVENT_KEY: event.key}),
            priority=event.priority,
            cause=EventCause(place, _id(one), None if one is None else _payload(one.payload)),
        )
        try:
            planned.items.append((await self._keys.add(trigger, plan), plan))
        except InvalidArgument as error:
            workflow_id = WorkflowId(plan.version.workflow_id)
            planned.failures.append(
                ExpressionFailure(FailureSource.IDEMPOTENCY, workflow_id, _id(one), error.message)
            )

    def _require_size(self, event: UserEvent, runs: int) -> None:
        if runs > self._options.event_runs_limit:
            raise ResourceExhausted(
                f"the event would start {runs} runs; at most {self._options.event_runs_limit} are allowed"
            )
        size = runs * len(event.payload)
        if size > self._options.event_fanout_bytes:
            raise ResourceExhausted(
                f"the inputs of the {runs} runs the event would start are {size} bytes; "
                f"at most {self._options.event_fanout_bytes} are allowed"
            )


def _id(one: EventFilter | None) -> UUID | None:
    return None if one is None else one.id


def _payload(payload: bytes) -> bytes | None:
    return None if payload == b"{}" else b'{"filter_payload":' + payload + b"}"
