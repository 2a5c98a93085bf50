"""Messages for the owner: rows, and a NOTIFY that only wakes."""

import asyncio
from collections.abc import Sequence

from broadaxe.domain.errors import BroadaxeError
from broadaxe.store.connection import Database
from broadaxe.store.lease import CHANNEL
from broadaxe.store.ledger import Message
from broadaxe.store.rows import columns_of, trace_bytes
from broadaxe.store.statements import statement

DEBOUNCE = 0.01
"""Seconds within which further messages share a NOTIFY: each takes a lock that all committers share."""


class MessagePost:
    """Leaves messages."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._notify: asyncio.Task[None] | None = None

    async def post(self, messages: Sequence[Message]) -> None:
        """Returns once the messages are committed; the owner is woken soon after."""
        if not messages:
            return
        rows = [(m.tenant_id, m.kind, m.body, trace_bytes(m.trace)) for m in messages]
        partition = self._db.options.tenant_partition
        await self._db.fetch(
            statement("message_post_batch"), partition, *columns_of(rows, 4), batch=len(messages)
        )
        if self._notify is None or self._notify.done():
            self._notify = asyncio.get_running_loop().create_task(self._wake(), name="store-notify")

    async def _wake(self) -> None:
        await asyncio.sleep(DEBOUNCE)
        self._notify = None  # what is posted from here on is notified anew
        try:
            await self._db.fetch(statement("message_notify"), CHANNEL)
        except BroadaxeError:
            return  # the sweep finds the rows

    async def close(self) -> None:
        """Waits for the last NOTIFY."""
        if self._notify is not None:
            await asyncio.gather(self._notify, return_exceptions=True)
