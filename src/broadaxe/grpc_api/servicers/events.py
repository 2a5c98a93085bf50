"""`EventsService`: user events, log lines and stream chunks."""

from broadaxe.domain.user_event import UserEvent
from broadaxe.engine.api import Engine, NewLogLine, NewUserEvent, Origin, Refusal
from broadaxe.grpc_api.call import Call
from broadaxe.grpc_api.details import refused_events
from broadaxe.grpc_api.method import Method, service_methods
from broadaxe.grpc_api.rate_limit import RateGroup
from broadaxe.grpc_api.servicers.fields import time_field, uuid_field
from broadaxe.grpc_api.wire import events_pb2 as pb

MISSING = "is not available: push the event again"


class EventsServicer:
    """Decodes, calls the engine, encodes."""

    def __init__(self, engine: Engine, *, keep_logs: bool = True) -> None:
        self._engine = engine
        self._keep_logs = keep_logs

    def methods(self) -> list[Method]:
        """The service's methods, for a transport."""
        return service_methods(
            pb.DESCRIPTOR.services_by_name["EventsService"],
            {
                "Push": self.push,
                "BulkPush": self.push_many,
                "PutLog": self.put_log,
                "PutStreamEvent": self.put_stream_event,
            },
            RateGroup.EVENTS,
            placed=frozenset({"Push", "BulkPush"}),
            missing=MISSING,
        )

    async def push(self, request: pb.PushEventRequest, call: Call) -> pb.Event:
        """Store an event and start what asks for it."""
        origin = Origin(caller=call.caller)
        try:
            event = await self._engine.push_event(call.tenant_id, _new_event(request), origin)
        finally:
            call.trace_parent(origin.parent)
        return _event(event, request)

    async def push_many(self, request: pb.BulkPushEventRequest, call: Call) -> pb.Events:
        """Store many; the wrong ones are refused, the others are stored all the same."""
        origin = Origin(caller=call.caller)
        events = [_new_event(one) for one in request.events]
        try:
            answers = await self._engine.push_events(call.tenant_id, events, origin)
        finally:
            call.trace_parent(origin.parent)
        refusals = [answer for answer in answers if isinstance(answer, Refusal)]
        if refusals:
            raise refused_events(refusals, len(answers) - len(refusals))
        return pb.Events(
            events=[
                _event(answer, asked)
                for answer, asked in zip(answers, request.events, strict=True)
                if isinstance(answer, UserEvent)
            ]
        )

    async def put_log(self, request: pb.PutLogRequest, call: Call) -> pb.PutLogResponse:
        """A log line of a task; taken and dropped when the settings say so."""
        if not self._keep_logs:
            return pb.PutLogResponse()
        line = NewLogLine(
            uuid_field(request.task_run_external_id, "task_run_external_id"),
            time_field(request.created_at, "created_at"),
            request.level if request.HasField("level") else None,
            request.message,
            request.metadata.encode(),
            request.task_retry_count if request.HasField("task_retry_count") else None,
        )
        await self._engine.put_log(call.tenant_id, line)
        return pb.PutLogResponse()

    async def put_stream_event(
        self, request: pb.PutStreamEventRequest, call: Call
    ) -> pb.PutStreamEventResponse:
        """A chunk for those who watch the run."""
        await self._engine.put_stream_event(
            call.tenant_id,
            uuid_field(request.task_run_external_id, "task_run_external_id"),
            time_field(request.created_at, "created_at"),
            request.message,
            request.event_index if request.HasField("event_index") else None,
        )
        return pb.PutStreamEventResponse()


def _new_event(request: pb.PushEventRequest) -> NewUserEvent:
    return NewUserEvent(
        key=request.key,
        payload=request.payload.encode(),
        metadata=request.additional_metadata.encode() if request.additional_metadata else None,
        scope=request.scope if request.HasField("scope") else None,
        priority=request.priority if request.HasField("priority") else None,
    )


def _event(event: UserEvent, request: pb.PushEventRequest) -> pb.Event:
    message = pb.Event(
        tenant_id=str(event.tenant_id), event_id=str(event.id), key=event.key, payload=request.payload
    )
    message.event_timestamp.FromDatetime(event.at)
    if request.HasField("additional_metadata"):
        message.additional_metadata = request.additional_metadata
    return message
