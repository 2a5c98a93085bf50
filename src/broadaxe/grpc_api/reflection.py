"""gRPC server reflection, by the official package, over our private descriptor pool."""

from collections.abc import AsyncIterator, Iterable
from functools import cache
from typing import Any

from google.protobuf import descriptor_pool
from google.protobuf.message import Message
from grpc_reflection.v1alpha import reflection_pb2

from broadaxe.grpc_api.call import Call
from broadaxe.grpc_api.method import Method, service_methods
from broadaxe.grpc_api.wire.pool import POOL, add_file

SERVICE = reflection_pb2.DESCRIPTOR.services_by_name["ServerReflection"]


def reflection_methods(services: Iterable[str]) -> list[Method]:
    """Let tools such as grpcurl ask, without a token, for the services and their messages."""
    names = [*services, SERVICE.full_name]
    for name in names:
        try:
            POOL.FindServiceByName(name)
        except KeyError:
            # A service of another package (OTLP, health): its description is in the process-wide pool.
            add_file(descriptor_pool.Default().FindFileContainingSymbol(name))

    @cache
    def servicer() -> Any:
        # It loads grpcio, which takes 20 MB: few processes are ever asked.
        from grpc_reflection.v1alpha import _async

        return _async.ReflectionServicer(names, POOL)

    def answer(requests: Any, call: Call) -> AsyncIterator[Message]:
        answers: AsyncIterator[Message] = servicer().ServerReflectionInfo(requests, None)
        return answers

    return service_methods(
        SERVICE,
        {"ServerReflectionInfo": answer},
        rate_group=None,
        untraced=frozenset(method.name for method in SERVICE.methods),
    )
