"""The part of the ledger about events, filters and idempotency keys."""

from collections.abc import AsyncIterator, Awaitable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from broadaxe.domain.event_filters import EventFilter, ExpressionFailure
from broadaxe.domain.ids import TenantId, WorkflowId
from broadaxe.domain.user_event import UserEvent
from broadaxe.telemetry.context import TraceContext, event_span_id


class KeyHolder(UUID):
    """In the place of a new run's id: the run that holds its idempotency key. Nothing was created."""


@dataclass(frozen=True, slots=True)
class EventLink:
    """A run that an event starts, and the filter that let it."""

    run_id: UUID
    filter_id: UUID | None


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event to be stored with the runs it starts. Links of runs that were not created are left out."""

    event: UserEvent
    trace: bytes
    """Trace id (16), span id of what is above the event (8, zeros for none), flags (1)."""
    links: Sequence[EventLink] = ()
    failures: Sequence[ExpressionFailure] = ()

    @property
    def place(self) -> TraceContext | None:
        """The place of the event's own span; None when its trace is not recorded."""
        if not self.trace[24] & 1:
            return None
        return TraceContext(self.trace[:16], event_span_id(self.event.id), True)


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """What is needed to tell of an event again."""

    tenant_id: TenantId
    id: UUID
    at: datetime
    key: str
    trace: bytes
    last_run: UUID | None
    """The last of the runs that it started."""


@dataclass(frozen=True, slots=True)
class EventSearch:
    """Events of a key and a scope, the oldest first."""

    tenant_id: TenantId
    key: str
    scope: str
    since: datetime
    """Inclusive, in whole milliseconds."""
    after: UUID | None = None
    """Go on behind this event."""


@dataclass(frozen=True, slots=True)
class EarlierEvent:
    """An event that a search found."""

    id: UUID
    payload: bytes


@dataclass(frozen=True, slots=True)
class Subscription:
    """A workflow whose newest version asks for events."""

    workflow_id: WorkflowId
    workflow: str
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FilterChange:
    """What to change of a filter; None leaves it."""

    scope: str | None = None
    expression: str | None = None
    payload: bytes | None = None


class EventLedger(Protocol):
    """Reads and rare writes; events themselves are stored by `Ledger.create_tasks`."""

    def load_subscriptions(
        self, tenant_id: TenantId
    ) -> "Awaitable[tuple[list[Subscription], list[EventFilter]]]":
        """All of a tenant's."""

    def load_events_since(self, at: datetime) -> "AsyncIterator[list[StoredEvent]]":
        """Events since then, in pages: their spans may be missing."""

    def find_events(self, searches: Sequence[EventSearch]) -> "Awaitable[list[list[EarlierEvent]]]":
        """The next few events of each search; none where there are no more."""

    def add_filter(
        self, tenant_id: TenantId, workflow_id: UUID, scope: str, expression: str, payload: bytes, limit: int
    ) -> "Awaitable[EventFilter]":
        """Make a filter. NotFound for an unknown workflow, ResourceExhausted if there are `limit` already."""

    def change_filter(
        self, tenant_id: TenantId, filter_id: UUID, change: FilterChange
    ) -> "Awaitable[EventFilter | None]":
        """The filter as it is then; None for an unknown one."""

    def delete_filter(self, tenant_id: TenantId, filter_id: UUID) -> "Awaitable[EventFilter | None]":
        """The filter as it was; None for an unknown one."""

    def expire_keys(self) -> "Awaitable[int]":
        """Take expired idempotency keys away; how many."""
