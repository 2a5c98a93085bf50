"""Events: pushing and reading them, their filters, trying an expression out."""

from itertools import zip_longest

from broadaxe.domain.errors import InvalidArgument
from broadaxe.engine.api import NewUserEvent, Origin, Refusal
from broadaxe.engine.filters import FilterChange
from broadaxe.expr.failures import ExpressionFailed
from broadaxe.rest_api.call import Call
from broadaxe.rest_api.decoding import object_bytes, optional_object_bytes
from broadaxe.rest_api.encoders.events import (
    encode_event,
    encode_event_page,
    encode_filter,
    encode_filter_page,
    encode_pushed,
)
from broadaxe.rest_api.encoders.runs import ONE_PAGE
from broadaxe.rest_api.models.envelope import APIResourceMeta
from broadaxe.rest_api.models.events import (
    BulkCreateEventRequest,
    CreateEventRequest,
    Event,
    EventKeyList,
    Events,
    V1CELDebugRequest,
    V1CELDebugResponse,
    V1CreateFilterRequest,
    V1Event,
    V1EventList,
    V1Filter,
    V1FilterList,
    V1UpdateFilterRequest,
)
from broadaxe.rest_api.problems import not_found
from broadaxe.rest_api.queries import EventListQuery, FilterListQuery
from broadaxe.telemetry import names as T


async def list_events(call: Call) -> V1EventList:
    """A page of events, newest first."""
    query = call.query(EventListQuery)
    page = await call.views.list_events(call.tenant_id, query.to_criteria(), query.offset, query.limit)
    return encode_event_page(page)


async def get_event(call: Call) -> V1Event:
    """An event with what it started."""
    event = await call.views.get_event(call.tenant_id, call.id("v1-event"))
    if event is None:
        raise not_found("event")
    return encode_event(event)


async def list_event_keys(call: Call) -> EventKeyList:
    """The keys of the newest events."""
    return EventKeyList(ONE_PAGE, await call.views.list_event_keys(call.tenant_id))


async def push_event(call: Call) -> Event:
    """Store an event and start what asks for it."""
    origin = Origin(caller=call.span.caller)
    new = _new_event(call.json(CreateEventRequest), "")
    try:
        event = await call.services.commands.push_event(call.tenant_id, new, origin)
    finally:
        call.span.place(origin.parent)
    call.span.set(T.ATTR_EVENT_ID, str(event.id))
    return encode_pushed(event)


async def push_events(call: Call) -> Events:
    """Store many; the wrong ones are refused, the others are stored all the same."""
    origin = Origin(caller=call.span.caller)
    asked = call.json(BulkCreateEventRequest).events
    events = [_new_event(one, f"events[{at}].") for at, one in enumerate(asked)]
    try:
        answers = await call.services.commands.push_events(call.tenant_id, events, origin)
    finally:
        call.span.place(origin.parent)
    pushed = [answer for answer in answers if not isinstance(answer, Refusal)]
    refusals = [answer for answer in answers if isinstance(answer, Refusal)]
    if refusals:
        named = "; ".join(f"events[{one.index}].{one.error.message}" for one in refusals[:20])
        raise InvalidArgument(f"{named} ({len(pushed)} other events were stored)")
    first = pushed[0]
    return Events(APIResourceMeta(first.id, first.at, first.at), [encode_pushed(one) for one in pushed])


async def list_filters(call: Call) -> V1FilterList:
    """A page of filters, oldest first."""
    query = call.query(FilterListQuery)
    pairs = list(zip_longest(query.workflow_ids, query.scopes))
    page = await call.views.list_filters(call.tenant_id, pairs, query.offset, query.limit)
    return encode_filter_page(page)


async def get_filter(call: Call) -> V1Filter:
    """A filter."""
    found = await call.views.get_filter(call.tenant_id, call.id("v1-filter"))
    if found is None:
        raise not_found("filter")
    return encode_filter(found)


async def create_filter(call: Call) -> V1Filter:
    """Make a filter of a workflow."""
    request = call.json(V1CreateFilterRequest)
    payload = optional_object_bytes("payload", request.payload) or b"{}"
    return encode_filter(
        await call.services.commands.filters.create(
            call.tenant_id, request.workflow_id, request.scope, request.expression, payload
        )
    )


async def update_filter(call: Call) -> V1Filter:
    """Change what is given of a filter."""
    request = call.json(V1UpdateFilterRequest)
    change = FilterChange(
        request.scope, request.expression, optional_object_bytes("payload", request.payload)
    )
    return encode_filter(
        await call.services.commands.filters.change(call.tenant_id, call.id("v1-filter"), change)
    )


async def delete_filter(call: Call) -> V1Filter:
    """Take a filter away."""
    return encode_filter(await call.services.commands.filters.delete(call.tenant_id, call.id("v1-filter")))


async def debug_expression(call: Call) -> V1CELDebugResponse:
    """What an expression would say as a filter's. What is wrong with it is an answer, not a refusal."""
    request = call.json(V1CELDebugRequest)
    metadata = optional_object_bytes("additionalMetadata", request.additional_metadata)
    metadata = optional_object_bytes("additionalMetadata", request.additional_metadata)
    try:
        output = await call.services.evaluator.boolean(
            request.expression,
            {
                "input": object_bytes("input", request.input),
                "additional_metadata": metadata or b"{}",
                "payload": optional_object_bytes("filterPayload", request.filter_payload) or b"{}",
                "event_id": "",
                "event_key": "",
            },
        )
    except ExpressionFailed as error:
        return V1CELDebugResponse("ERROR", error=error.message)
    return V1CELDebugResponse("SUCCESS", output=output)


def _new_event(request: CreateEventRequest, where: str) -> NewUserEvent:
    return NewUserEvent(
        key=request.key,
        payload=object_bytes(f"{where}data", request.data),
        metadata=optional_object_bytes(f"{where}additionalMetadata", request.additional_metadata),
        scope=request.scope,
        priority=request.priority,
    )
