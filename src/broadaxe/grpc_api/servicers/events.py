"""`EventsService`: log lines and stream chunks; user events come later."""

from broadaxe.engine.api import Engine
from broadaxe.grpc_api.call import Call
from broadaxe.grpc_api.method import Method, service_methods
from broadaxe.grpc_api.rate_limit import RateGroup
from broadaxe.grpc_api.servicers.fields import time_field, uuid_field
from broadaxe.grpc_api.wire import events_pb2 as pb

MISSING = "is not there yet: user events come later, workflows run when they are triggered by name"


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
                "PutLog": self.put_log,
                "PutStreamEvent": self.put_stream_event,
            },
            RateGroup.EVENTS,
            missing=MISSING,
        )

    async def put_log(self, request: pb.PutLogRequest, call: Call) -> pb.PutLogResponse:
        """A log line of a task; taken and dropped when the settings say so."""
        if not self._keep_logs:
            return pb.PutLogResponse()
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
