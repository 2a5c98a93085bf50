"""Which workflows ask for which events, and their filters: a tenant's are read with its first event."""

import asyncio
from collections import OrderedDict, defaultdict
from collections.abc import Sequence
from uuid import UUID

from broadaxe.domain.event_filters import EventFilter
from broadaxe.domain.event_keys import KeyIndex
from broadaxe.domain.ids import TenantId
from broadaxe.engine.context import EngineContext
from broadaxe.store.event_ledger import Subscription

_TENANTS = 1_024


class TenantSubscriptions:
    """What one tenant's workflows ask for."""

    def __init__(self, subscriptions: Sequence[Subscription], filters: Sequence[EventFilter]) -> None:
        self._index = KeyIndex((key, one) for one in subscriptions for key in one.keys)
        self._filters: defaultdict[UUID, list[EventFilter]] = defaultdict(list)
        for one in filters:
            self._filters[one.workflow_id].append(one)

    def matching(self, key: str) -> list[Subscription]:
        """Workflows that declare a key which this one matches."""
        return self._index.find(key)

    def filters(self, workflow_id: UUID) -> Sequence[EventFilter]:
        """All filters of a workflow."""
        return self._filters.get(workflow_id, ())


class Subscriptions:
    """A cache by tenant, forgotten when something changed."""

    def __init__(self, context: EngineContext) -> None:
        self._events = context.ledger.events
        self._known: OrderedDict[TenantId, TenantSubscriptions] = OrderedDict()
        self._loading: dict[TenantId, asyncio.Task[TenantSubscriptions]] = {}

    async def of(self, tenant_id: TenantId) -> TenantSubscriptions:
        """A tenant's, as they were when this was called or later."""
        known = self._known.get(tenant_id)
        if known is not None:
            return known
        loading = self._loading.get(tenant_id)
        if loading is None:
            loading = asyncio.get_running_loop().create_task(self._load(tenant_id), name="subscriptions")
            self._loading[tenant_id] = loading
        return await asyncio.shield(loading)

    async def _load(self, tenant_id: TenantId) -> TenantSubscriptions:
        own = asyncio.current_task()
        try:
            found = TenantSubscriptions(*await self._events.load_subscriptions(tenant_id))
            # Not if something changed meanwhile: the next event then reads again.
            if self._loading.get(tenant_id) is own:
                self._known[tenant_id] = found
                if len(self._known) > _TENANTS:
                    self._known.popitem(last=False)
            return found
        finally:
            if self._loading.get(tenant_id) is own:
                del self._loading[tenant_id]

    def forget(self, tenant_id: TenantId | None) -> None:
        """Something of a tenant's changed, or of anybody's (None)."""
        if tenant_id is None:
            self._known.clear()
            self._loading.clear()
        else:
            self._known.pop(tenant_id, None)
            self._loading.pop(tenant_id, None)
