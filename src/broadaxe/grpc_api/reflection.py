"""gRPC server reflection, by the official package, over our private descriptor pool."""

from collections.abc import Iterable

from google.protobuf import descriptor_pool
from grpc import aio
from grpc_reflection.v1alpha import reflection

from broadaxe.grpc_api.wire.pool import POOL, add_file


def serve_reflection(server: aio.Server, services: Iterable[str]) -> None:
    """Let tools such as grpcurl ask which services there are and what their messages look like."""
    names = [*services, reflection.SERVICE_NAME]
    for name in names:
        try:
            POOL.FindServiceByName(name)
        except KeyError:
            # A service of another package (OTLP, health): its description is in the process-wide pool.
            add_file(descriptor_pool.Default().FindFileContainingSymbol(name))
    reflection.enable_server_reflection(names, server, pool=POOL)
