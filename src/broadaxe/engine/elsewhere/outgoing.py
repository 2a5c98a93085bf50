"""Messages to other engines that no commit of a task carries: those of one turn go out together."""

import asyncio
import logging

from broadaxe.domain.errors import BroadaxeError
from broadaxe.engine.background import Background
from broadaxe.engine.context import EngineContext
from broadaxe.store.ledger import Message

_LOG = logging.getLogger(__name__)
_TRIES = 5


class Outgoing:
    """Posts messages in the order in which they were given."""

    def __init__(self, context: EngineContext, background: Background) -> None:
        self._ledger = context.ledger
        self._pause = context.options.retry_write
        self._background = background
        self._waiting: list[Message] = []
        self._posting = False

    def post(self, message: Message) -> None:
        """Leave it soon."""
        self._waiting.append(message)
        if not self._posting:
            self._posting = True
            self._background.spawn(self._post(), "posting messages")

    async def _post(self) -> None:
        tries = 0
        try:
            while self._waiting:
                messages, self._waiting = self._waiting, []
                try:
                    await self._ledger.post(messages)
                    tries = 0
                except BroadaxeError as error:
                    tries += 1
                    if tries >= _TRIES:
                        # An engine that was away for so long is told anew of what counts: its sessions.
                        _LOG.warning(
                            "%d messages to other engines are lost: %s", len(messages), error.message
                        )
                        continue
                    self._waiting = messages + self._waiting
                    await asyncio.sleep(self._pause)
        finally:
            self._posting = False
