"""`EventsService`: log lines and stream chunks; user events come later."""

from broadaxe.domain.errors import Unimplemented
from broadaxe.engine.api import Engine
from broadaxe.grpc_api.call import Call
from broadaxe.grpc_api.method import Group, Kind, Method
from broadaxe.grpc_api.servicers.fields import time_field, uuid_field
from broadaxe.grpc_api.wire import events_pb2 as pb

NO_EVENTS = "user events are not there yet: workflows run when they are triggered by name"


class EventsServicer:
    """Decodes, calls the engine, encodes."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def methods(self) -> list[Method]:
        """The service's methods, for a transport."""
        table = [
            ("Push", pb.PushEventRequest, pb.Event, self.push),
            ("BulkPush", pb.BulkPushEventRequest, pb.Events, self.bulk_push),
            ("ReplaySingleEvent", pb.ReplayEventRequest, pb.Event, self.replay),
            ("PutLog", pb.PutLogRequest, pb.PutLogResponse, self.put_log),
            ("PutStreamEvent", pb.PutStreamEventRequest, pb.PutStreamEventResponse, self.put_stream_event),
        ]
        return [
            Method(
                service="EventsService",
                name=name,
                kind=Kind.UNARY_UNARY,
                request=request,
                response=response,
                handler=handler,
                group=Group.EVENTS,
            )
            for name, request, response, handler in table
        ]

    async def push(self, request: pb.PushEventRequest, call: Call) -> pb.Event:
        """Not there yet."""
        raise Unimplemented(NO_EVENTS)

    async def bulk_push(self, request: pb.BulkPushEventRequest, call: Call) -> pb.Events:
        """Not there yet."""
        raise Unimplemented(NO_EVENTS)

    async def replay(self, request: pb.ReplayEventRequest, call: Call) -> pb.Event:
        """Not there yet."""
        raise Unimplemented(NO_EVENTS)

    async def put_log(self, request: pb.PutLogRequest, call: Call) -> pb.PutLogResponse:
        """A log line of a task."""
        await self._engine.put_log(
            call.tenant_id,
            uuid_field(request.task_run_external_id, "task_run_external_id"),
            time_field(request.created_at, "created_at"),
            request.level if request.HasField("level") else None,
            request.message,
            request.metadata.encode(),
            request.task_retry_count if request.HasField("task_retry_count") else None,
        )
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
