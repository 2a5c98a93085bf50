"""gRPC's own services, beside the product's: health and reflection."""

import asyncio
from collections.abc import Iterable

from broadaxe.grpc_api.health import HealthServicer
from broadaxe.grpc_api.method import Method
from broadaxe.grpc_api.reflection import reflection_methods


def with_own_services(
    methods: Iterable[Method], *, leaving: asyncio.Event, health: bool, reflection: bool
) -> list[Method]:
    """The methods, and those of gRPC's own services that are wanted. `leaving`: what health tells of."""
    found = [*methods]
    if health:
        found += HealthServicer([method.service for method in found], leaving).methods()
    if reflection:
        found += reflection_methods(sorted({method.service for method in found}))
    return found
