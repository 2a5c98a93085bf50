"""Messages between engines: rows, and a NOTIFY that only wakes."""

import asyncio
from collections.abc import Iterable, Sequence
from uuid import UUID

from broadaxe.domain.errors import BroadaxeError
from broadaxe.store.connection import Database
from broadaxe.store.instruments import Parent
from broadaxe.store.ledger import EVERYBODY, Message
from broadaxe.store.rows import columns_of, trace_bytes
from broadaxe.store.session import Record, Session
from broadaxe.store.statements import statement

CHANNEL = "broadaxe"
DEBOUNCE = 0.01
"""Seconds within which further messages share a NOTIFY: each takes a lock that all committers share."""
_MOST_NAMED = 64
"""Addresses that one NOTIFY names; beyond, it wakes everybody."""


async def put_messages(session: Session, messages: Sequence[Message], parent: Parent = None) -> list[Record]:
    """Leaves messages in the session's transaction; whom they are for, to be woken after its commit."""
    rows = [
        (
            m.tenant_id,
            m.engine_id,
            m.kind in EVERYBODY and m.engine_id is None,
            m.kind,
            m.body,
            trace_bytes(m.trace),
        )
        for m in messages
    ]
    return await session.fetch(
        statement("message_post_batch"), *columns_of(rows, 6), parent=parent, batch=len(messages)
    )


class MessagePost:
    """Leaves messages, and wakes those they are for."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._notify: asyncio.Task[None] | None = None
        self._waiting: dict[str, None] = {}

    async def post(self, messages: Sequence[Message]) -> None:
        """Returns once the messages are committed; who they are for is woken soon after."""
        if not messages:
            return

        async def work(session: Session) -> list[Record]:
            return await put_messages(session, messages)

        self.wake_for(await self._db.run(work))

    def wake_for(self, posted: Iterable[Record]) -> None:
        """Messages with these addresses (partition, engine) are committed."""
        self.wake(str(record[0] if record[1] is None else UUID(str(record[1]))) for record in posted)

    def wake(self, addresses: Iterable[str]) -> None:
        """Wakes soon those who listen for one of these; the first at once, others together."""
        self._waiting.update(dict.fromkeys(addresses))
        if self._waiting and (self._notify is None or self._notify.done()):
            self._notify = asyncio.get_running_loop().create_task(self._wake(), name="store-notify")

    async def _wake(self) -> None:
        while self._waiting:
            waiting, self._waiting = self._waiting, {}
            payload = ",".join(waiting) if len(waiting) <= _MOST_NAMED else ""
            try:
                await self._db.fetch(statement("message_notify"), CHANNEL, payload)
            except BroadaxeError:
                return  # the sweep finds the rows
            await asyncio.sleep(DEBOUNCE)

    async def close(self) -> None:
        """Waits for the last NOTIFY."""
        if self._notify is not None:
            await asyncio.gather(self._notify, return_exceptions=True)
