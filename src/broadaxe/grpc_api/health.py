"""gRPC's own health service (`grpc.health.v1`): open to anyone, since probes have no token."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

from google.protobuf.message import Message
from grpc_health.v1 import health_pb2

from broadaxe.domain.errors import NotFound
from broadaxe.grpc_api.call import Call
from broadaxe.grpc_api.method import Method, service_methods

SERVICE = health_pb2.DESCRIPTOR.services_by_name["Health"]


class HealthServicer:
    """Says SERVING for the server (the empty name) and each of its services until it is about to stop."""

    def __init__(self, services: Iterable[str], leaving: asyncio.Event) -> None:
        self._services = frozenset(services) | {""}
        self._leaving = leaving

    def methods(self) -> list[Method]:
        """Check and Watch."""
        return service_methods(
            SERVICE,
            {"Check": self.check, "Watch": self.watch},
            rate_group=None,
            untraced=frozenset(method.name for method in SERVICE.methods),
        )

    async def check(self, request: Any, call: Call) -> Message:
        """The present state; raises `NotFound` for a service that is not here."""
        if request.service not in self._services:
            raise NotFound(f"there is no service {request.service}")
        return _status(not self._leaving.is_set())

    async def watch(self, request: Any, call: Call) -> AsyncIterator[Message]:
        """The state now and when it changes; a service that is not here is unknown, which is no error."""
        if request.service in self._services:
            if not self._leaving.is_set():
                yield _status(True)
                await self._leaving.wait()
            yield _status(False)
        else:
            yield health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVICE_UNKNOWN)
        await call.closing.wait()


def _status(serving: bool) -> Message:
    answer = health_pb2.HealthCheckResponse
    message: Message = answer(status=answer.SERVING if serving else answer.NOT_SERVING)
    return message
