"""Filters that people and programs make: checked, stored, and told to the engine that matches events."""

from collections.abc import Awaitable, Callable
from uuid import UUID

from broadaxe.domain.errors import InvalidArgument, NotFound
from broadaxe.domain.event_filters import EventFilter
from broadaxe.domain.ids import TenantId
from broadaxe.domain.payloads import require_object
from broadaxe.domain.registration_checks import ExpressionKind
from broadaxe.engine.context import FilterLimits as FilterLimits
from broadaxe.expr.compiled import Cel
from broadaxe.store.event_ledger import EventLedger
from broadaxe.store.event_ledger import FilterChange as FilterChange
from broadaxe.store.ledger import Ledger, Message, MessageKind


async def post_filters_changed(ledger: Ledger, tenant_id: TenantId) -> None:
    """Tell whoever owns the tenant, which may be another process."""
    await ledger.post([Message(tenant_id, MessageKind.FILTERS_CHANGED, b"{}")])


class Filters:
    """Changes filters. `changed` is called after each change, before the caller is answered."""

    def __init__(
        self,
        store: EventLedger,
        cel: Cel,
        limits: FilterLimits,
        changed: Callable[[TenantId], Awaitable[None]],
    ) -> None:
        self._store = store
        self._cel = cel
        self._limits = limits
        self._changed = changed

    async def create(
        self, tenant_id: TenantId, workflow_id: UUID, scope: str, expression: str, payload: bytes
    ) -> EventFilter:
        """A new filter. InvalidArgument naming the field, NotFound, ResourceExhausted."""
        self._check(FilterChange(scope, expression, payload))
        made = await self._store.add_filter(
            tenant_id, workflow_id, scope, expression, payload, self._limits.filters
        )
        await self._changed(tenant_id)
        return made

    async def change(self, tenant_id: TenantId, filter_id: UUID, change: FilterChange) -> EventFilter:
        """The filter with what is given of `change`. InvalidArgument naming the field, NotFound."""
        self._check(change)
        return await self._told(tenant_id, await self._store.change_filter(tenant_id, filter_id, change))

    async def delete(self, tenant_id: TenantId, filter_id: UUID) -> EventFilter:
        """The filter that is gone. NotFound."""
        return await self._told(tenant_id, await self._store.delete_filter(tenant_id, filter_id))

    async def _told(self, tenant_id: TenantId, found: EventFilter | None) -> EventFilter:
        if found is None:
            raise NotFound("filter not found")
        await self._changed(tenant_id)
        return found

    def _check(self, change: FilterChange) -> None:
        if change.scope is not None:
            _check_scope(change.scope, self._limits.scope)
        if change.expression is not None:
            problem = self._cel.compile_problem(ExpressionKind.FILTER, change.expression)
            if problem is not None:
                raise InvalidArgument(f"expression: {problem}")
        if change.payload is not None:
            if len(change.payload) > self._limits.payload:
                raise InvalidArgument(f"payload: larger than {self._limits.payload} bytes")
            require_object("payload", change.payload)


def _check_scope(scope: str, limit: int) -> None:
    if not scope:
        raise InvalidArgument("scope: must not be empty")
    if "\x00" in scope:
        raise InvalidArgument("scope: must not contain U+0000")
    if len(scope.encode("utf-8", "replace")) > limit:
        raise InvalidArgument(f"scope: longer than {limit} bytes")
