"""Reads rows of tasks again: all that is asked for in one turn of the event loop with one statement."""

import asyncio
from asyncio import Future
from uuid import UUID

from broadaxe.domain.errors import BroadaxeError
from broadaxe.domain.ids import TenantId
from broadaxe.engine.background import Background
from broadaxe.engine.context import EngineContext
from broadaxe.store.ledger import StoredTask

_PAGE = 500
_Waiting = dict[UUID, "Future[StoredTask | None]"]


class RowReads:
    """Rows by task, None for one that is not there."""

    def __init__(self, context: EngineContext, background: Background) -> None:
        self._ledger = context.ledger
        self._background = background
        self._asked: dict[TenantId, _Waiting] = {}

    async def get(self, tenant_id: TenantId, task_id: UUID) -> StoredTask | None:
        """The row as it is when this is asked, or later. The ledger's errors."""
        asked = self._asked.get(tenant_id)
        if asked is None:
            asked = self._asked[tenant_id] = {}
            self._background.spawn(self._read(tenant_id), "reading tasks again")
        future = asked.get(task_id)
        if future is None:
            future = asked[task_id] = asyncio.get_running_loop().create_future()
        return await asyncio.shield(future)

    async def _read(self, tenant_id: TenantId) -> None:
        asked = self._asked.pop(tenant_id)
        ids = list(asked)
        for at in range(0, len(ids), _PAGE):
            page = ids[at : at + _PAGE]
            try:
                rows = await self._ledger.get_tasks(tenant_id, page)
            except BroadaxeError as error:
                for task_id in ids[at:]:
                    if not asked[task_id].done():
                        asked[task_id].set_exception(error)
                        asked[task_id].exception()
                return
            found: dict[UUID, StoredTask] = {row.facts.id: row for row in rows}
            for task_id in page:
                if not asked[task_id].done():
                    asked[task_id].set_result(found.get(task_id))
