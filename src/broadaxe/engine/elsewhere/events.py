"""User events that were pushed at an engine which does not schedule the tenant."""

import msgspec

from broadaxe.domain.user_event import UserEvent
from broadaxe.engine.context import EngineContext
from broadaxe.store.ledger import Message, MessageKind


class DeliveredElsewhere:
    """Implements `EventListener`: who waits for events is in the owner's memory, so the owner is told."""

    def __init__(self, context: EngineContext) -> None:
        self._ledger = context.ledger

    async def delivered(self, event: UserEvent) -> None:
        """Returns once the message is committed."""
        body = msgspec.json.encode(event)
        await self._ledger.post([Message(event.tenant_id, MessageKind.EVENT_DELIVERED, body)])
