"""The API process's way to the engine: the same services that SDKs use, with an internal token a tenant.

What the engine refuses comes back as the domain's errors, so a caller sees no difference to being in the
engine's own process.
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC
from typing import TypeVar
from uuid import UUID

import grpc
import grpc.aio
from google.protobuf.message import Message

from broadaxe.config.tls import ClientTls
from broadaxe.domain.errors import (
    AlreadyExists,
    BroadaxeError,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    Unavailable,
    Unimplemented,
)
from broadaxe.domain.ids import TenantId
from broadaxe.domain.user_event import UserEvent
from broadaxe.engine.api import NewUserEvent, Origin, Refusal, Trigger
from broadaxe.grpc_api.wire import events_pb2 as events_pb
from broadaxe.grpc_api.wire.v1 import workflows_pb2 as pb
from broadaxe.telemetry.context import format_traceparent

M = TypeVar("M")

TIMEOUT = 30.0
"""Seconds for one call."""

_ERRORS: dict[grpc.StatusCode, type[BroadaxeError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidArgument,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.ALREADY_EXISTS: AlreadyExists,
    grpc.StatusCode.FAILED_PRECONDITION: FailedPrecondition,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ResourceExhausted,
    grpc.StatusCode.UNIMPLEMENTED: Unimplemented,
}
TokenSource = Callable[[TenantId], str]
"""A short-lived internal token for a tenant."""


class EngineClient:
    """Calls an engine over gRPC. One channel, made at the first use; `close` it in the same loop."""

    def __init__(self, address: str, tls: ClientTls | None, token: TokenSource) -> None:
        self._address = address
        self._tls = tls
        self._token = token
        self._channel: grpc.aio.Channel | None = None

    def _connected(self) -> grpc.aio.Channel:
        if self._channel is None:
            if self._tls is None:
                self._channel = grpc.aio.insecure_channel(self._address)
            else:
                tls = self._tls
                credentials = grpc.ssl_channel_credentials(tls.root_ca, tls.key, tls.cert)
                options = [("grpc.ssl_target_name_override", tls.server_name)] if tls.server_name else []
                self._channel = grpc.aio.secure_channel(self._address, credentials, options)
        return self._channel

    async def close(self) -> None:
        """Give the channel back."""
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close(None)

    async def _call(
        self,
        method: str,
        tenant_id: TenantId,
        request: Message,
        parse: Callable[[bytes], M],
        origin: Origin,
    ) -> M:
        metadata = [("authorization", f"bearer {self._token(tenant_id)}")]
        if origin.caller is not None:
            metadata.append(("traceparent", format_traceparent(origin.caller)))
        unary = self._connected().unary_unary(f"/{method}", None, None)
        try:
            reply: Awaitable[bytes] = unary(request.SerializeToString(), timeout=TIMEOUT, metadata=metadata)
            return parse(await reply)
        except grpc.aio.AioRpcError as error:
            kind = _ERRORS.get(error.code(), Unavailable)
            raise kind(error.details() or f"the engine answered {error.code().name}") from None

    async def trigger(self, tenant_id: TenantId, trigger: Trigger, origin: Origin) -> UUID:
        """Start a run; its id."""
        request = pb.TriggerWorkflowRunRequest(
            workflow_name=trigger.workflow,
            input=trigger.input,
            additional_metadata=trigger.metadata or b"",
        )
        if trigger.priority is not None:
            request.priority = trigger.priority
        parse = pb.TriggerWorkflowRunResponse.FromString
        reply = await self._call("v1.AdminService/TriggerWorkflowRun", tenant_id, request, parse, origin)
        return UUID(reply.external_id)

    async def cancel(self, tenant_id: TenantId, ids: Sequence[UUID], origin: Origin) -> list[UUID]:
        """Cancel; the ids affected."""
        request = pb.CancelTasksRequest(external_ids=[str(one) for one in ids])
        parse = pb.CancelTasksResponse.FromString
        reply = await self._call("v1.AdminService/CancelTasks", tenant_id, request, parse, origin)
        return [UUID(one) for one in reply.cancelled_tasks]

    async def replay(self, tenant_id: TenantId, ids: Sequence[UUID], origin: Origin) -> list[UUID]:
        """Run final tasks again; the ids affected."""
        request = pb.ReplayTasksRequest(external_ids=[str(one) for one in ids])
        parse = pb.ReplayTasksResponse.FromString
        reply = await self._call("v1.AdminService/ReplayTasks", tenant_id, request, parse, origin)
        return [UUID(one) for one in reply.replayed_tasks]

    async def push_event(self, tenant_id: TenantId, event: NewUserEvent, origin: Origin) -> UserEvent:
        """Store a user event with the runs it starts."""
        request = _push_request(event)
        reply = await self._call("EventsService/Push", tenant_id, request, events_pb.Event.FromString, origin)
        return _pushed(tenant_id, event, reply)

    async def push_events(
        self, tenant_id: TenantId, events: Sequence[NewUserEvent], origin: Origin
    ) -> list[UserEvent | Refusal]:
        """Store many. InvalidArgument names those that were refused; the others are stored."""
        request = events_pb.BulkPushEventRequest(events=[_push_request(event) for event in events])
        parse = events_pb.Events.FromString
        reply = await self._call("EventsService/BulkPush", tenant_id, request, parse, origin)
        return [_pushed(tenant_id, *pair) for pair in zip(events, reply.events, strict=True)]


def _push_request(event: NewUserEvent) -> events_pb.PushEventRequest:
    try:
        payload, metadata = event.payload.decode(), (event.metadata or b"").decode()
    except UnicodeDecodeError:
        raise InvalidArgument("payload: must be UTF-8") from None
    request = events_pb.PushEventRequest(key=event.key, payload=payload)
    if metadata:
        request.additional_metadata = metadata
    if event.scope is not None:
        request.scope = event.scope
    if event.priority is not None:
        request.priority = event.priority
    return request


def _pushed(tenant_id: TenantId, event: NewUserEvent, reply: events_pb.Event) -> UserEvent:
    return UserEvent(
        tenant_id=tenant_id,
        id=UUID(reply.event_id),
        key=reply.key,
        payload=event.payload,
        metadata=event.metadata or b"{}",
        at=reply.event_timestamp.ToDatetime(tzinfo=UTC),
        scope=event.scope,
        priority=event.priority,
    )
