"""Events, filters, and trying an expression out."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta, Struct, field

from broadaxe.rest_api.models.envelope import ABSENT, APIResourceMeta, JsonObject, PaginationResponse


class V1EventWorkflowRunSummary(Struct):
    """How the runs of an event stand."""

    running: int
    queued: int
    succeeded: int
    failed: int
    cancelled: int


class V1EventTriggeredRun(Struct, rename="camel", omit_defaults=True):
    """A run that an event started."""

    workflow_run_id: UUID
    filter_id: UUID | None = None


class V1Event(Struct, rename="camel", omit_defaults=True, kw_only=True):
    """An event."""

    metadata: APIResourceMeta
    key: str
    tenant_id: UUID
    workflow_run_summary: V1EventWorkflowRunSummary
    additional_metadata: JsonObject | None = None
    payload: JsonObject | None = None
    scope: str | None = None
    seen_at: datetime | None = None
    triggered_runs: list[V1EventTriggeredRun] | None = None
    """The first 1,000 of them."""


class V1EventList(Struct):
    """A page of events, newest first."""

    pagination: PaginationResponse
    rows: list[V1Event]


class EventKeyList(Struct):
    """The keys of the newest events."""

    pagination: PaginationResponse
    rows: list[str]


class V1Filter(Struct, rename="camel", kw_only=True):
    """A filter."""

    metadata: APIResourceMeta
    tenant_id: UUID
    workflow_id: UUID
    scope: str
    expression: str
    payload: JsonObject
    is_declarative: bool


class V1FilterList(Struct):
    """A page of filters, oldest first."""

    pagination: PaginationResponse
    rows: list[V1Filter]


class V1CreateFilterRequest(Struct, rename="camel", kw_only=True):
    """A filter to make."""

    workflow_id: UUID
    expression: str
    scope: str
    payload: JsonObject = field(default_factory=lambda: ABSENT)


class V1UpdateFilterRequest(Struct, rename="camel", kw_only=True):
    """What to change of a filter; what is left out stays."""

    expression: str | None = None
    scope: str | None = None
    payload: JsonObject = field(default_factory=lambda: ABSENT)


class V1CELDebugRequest(Struct, rename="camel", kw_only=True):
    """An expression to try out as a filter's."""

    expression: str
    input: JsonObject
    filter_payload: JsonObject = field(default_factory=lambda: ABSENT)
    additional_metadata: JsonObject = field(default_factory=lambda: ABSENT)


class V1CELDebugResponse(Struct, omit_defaults=True):
    """What became of it."""

    status: Literal["SUCCESS", "ERROR"]
    output: bool | None = None
    error: str | None = None


class CreateEventRequest(Struct, rename="camel", kw_only=True):
    """An event to push."""

    key: str
    data: JsonObject
    additional_metadata: JsonObject = field(default_factory=lambda: ABSENT)
    priority: Annotated[int, Meta(ge=1, le=3)] | None = None
    scope: str | None = None


class BulkCreateEventRequest(Struct):
    """Events to push."""

    events: list[CreateEventRequest]


class Event(Struct, rename="camel", omit_defaults=True, kw_only=True):
    """An event that was pushed."""

    metadata: APIResourceMeta
    key: str
    tenant_id: UUID
    additional_metadata: JsonObject | None = None


class Events(Struct):
    """The events that were pushed."""

    metadata: APIResourceMeta
    events: list[Event]
