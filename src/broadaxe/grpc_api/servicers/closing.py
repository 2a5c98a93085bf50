"""A stream that ends cleanly when the server stops."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from broadaxe.grpc_api.call import Call

M = TypeVar("M")


@asynccontextmanager
async def closed_with(call: Call, close: Callable[[], None]) -> AsyncIterator[None]:
    """Calls `close` when the server begins to stop, and in any case when the block ends: what the block
    iterates over then ends, and the client sees the stream end with OK."""

    async def watch() -> None:
        await call.closing.wait()
        close()

    watcher = asyncio.create_task(watch())
    try:
        yield
    finally:
        watcher.cancel()
        close()


async def until_closing(requests: AsyncIterator[M], call: Call) -> AsyncIterator[M]:
    """The client's messages until the client or the server ends the stream."""
    closing = asyncio.create_task(call.closing.wait())
    try:
        while True:
            coming = asyncio.ensure_future(anext(requests))
            await asyncio.wait((coming, closing), return_when=asyncio.FIRST_COMPLETED)
            if not coming.done():
                coming.cancel()
                return
            try:
                yield coming.result()
            except StopAsyncIteration:
                return
    finally:
        closing.cancel()
