"""Messages for an owner keep their order across its take-over."""

import asyncio
from typing import Any, cast
from uuid import UUID

import msgspec

from broadaxe.domain.errors import Unavailable
from broadaxe.domain.ids import TenantId
from broadaxe.engine.elsewhere.bodies import Rows
from broadaxe.engine.elsewhere.inbox import Inbox
from broadaxe.store.ledger import Message, MessageKind

HERE, THERE = TenantId(UUID(int=1)), TenantId(UUID(int=2))


class Owns:
    """A gate: a tenant is its own partition."""

    def __init__(self) -> None:
        self.owned: set[UUID] = set()

    def partition(self, tenant_id: UUID) -> int:
        return tenant_id.int

    def owns(self, tenant_id: UUID) -> bool:
        return tenant_id in self.owned


def created(number: int, tenant: TenantId = HERE) -> Message:
    """What an engine says that created a task."""
    return Message(tenant, MessageKind.ROWS_CHANGED, msgspec.json.encode(Rows([UUID(int=number)])))


def inbox_of(gate: Owns, rows_changed: Any) -> Inbox:
    nothing = cast("Any", None)
    return Inbox(cast("Any", gate), nothing, nothing, nothing, nothing, nothing, rows_changed, nothing, ())


async def test_messages_that_come_while_early_ones_are_dealt_with_wait_behind_them() -> None:
    gate, seen, first = Owns(), list[int](), asyncio.Event()

    async def rows_changed(_: TenantId, ids: list[UUID]) -> None:
        if ids[0].int == 1:
            await first.wait()
        seen.append(ids[0].int)

    inbox = inbox_of(gate, rows_changed)
    for message in (created(1), created(9, THERE), created(2)):
        assert await inbox.act(message)
    assert seen == []
    gate.owned.add(HERE)
    inbox.gaining(HERE.int)
    catching_up = asyncio.ensure_future(inbox.gained(HERE.int))
    assert await inbox.act(created(3))
    await asyncio.sleep(0)
    assert await inbox.act(created(4))
    assert seen == []
    first.set()
    await catching_up
    assert seen == [1, 2, 3, 4]
    assert await inbox.act(created(5))
    assert seen == [1, 2, 3, 4, 5], "the other tenant's wait for its take-over"


async def test_early_message_that_fails_leaves_those_behind_it_alone() -> None:
    gate, seen = Owns(), list[int]()

    async def rows_changed(_: TenantId, ids: list[UUID]) -> None:
        if ids[0].int == 1:
            raise Unavailable("away")
        seen.append(ids[0].int)

    inbox = inbox_of(gate, rows_changed)
    for number in (1, 2):
        await inbox.act(created(number))
    gate.owned.add(HERE)
    inbox.gaining(HERE.int)
    await inbox.gained(HERE.int)
    assert seen == [2]
