"""Events and filters on their way out."""

from broadaxe.domain.event_filters import EventFilter
from broadaxe.domain.user_event import UserEvent
from broadaxe.rest_api.encoders.payloads import as_object, as_optional_object, paginate
from broadaxe.rest_api.models.envelope import APIResourceMeta
from broadaxe.rest_api.models.events import (
    Event,
    V1Event,
    V1EventList,
    V1EventTriggeredRun,
    V1EventWorkflowRunSummary,
    V1Filter,
    V1FilterList,
)
from broadaxe.views.events import EventView
from broadaxe.views.model import Page


def encode_event(view: EventView) -> V1Event:
    """An event with what it started."""
    event = view.event
    return V1Event(
        metadata=APIResourceMeta(event.id, event.at, event.at),
        key=event.key,
        tenant_id=event.tenant_id,
        workflow_run_summary=V1EventWorkflowRunSummary(
            view.running, view.queued, view.succeeded, view.failed, view.cancelled
        ),
        additional_metadata=as_optional_object(event.metadata),
        payload=as_object(event.payload),
        scope=event.scope,
        seen_at=event.at,
        triggered_runs=[V1EventTriggeredRun(one.run_id, one.filter_id) for one in view.runs],
    )


def encode_event_page(page: Page[EventView]) -> V1EventList:
    """A page of events."""
    return V1EventList(paginate(page), [encode_event(row) for row in page.rows])


def encode_pushed(event: UserEvent) -> Event:
    """An event that was just pushed."""
    return Event(
        metadata=APIResourceMeta(event.id, event.at, event.at),
        key=event.key,
        tenant_id=event.tenant_id,
        additional_metadata=as_optional_object(event.metadata),
    )


def encode_filter(one: EventFilter) -> V1Filter:
    """A filter."""
    return V1Filter(
        metadata=APIResourceMeta(one.id, one.created_at, one.updated_at),
        tenant_id=one.tenant_id,
        workflow_id=one.workflow_id,
        scope=one.scope,
        expression=one.expression,
        payload=as_object(one.payload),
        is_declarative=one.declared,
    )


def encode_filter_page(page: Page[EventFilter]) -> V1FilterList:
    """A page of filters."""
    return V1FilterList(paginate(page), [encode_filter(row) for row in page.rows])
