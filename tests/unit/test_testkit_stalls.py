"""What the machine kept from the event loop, and nothing else."""

import asyncio
import time

from broadaxe.testkit.stalls import Stalls


async def test_stalls_are_summed_while_they_last_and_after() -> None:
    async with Stalls() as stalls:
        await asyncio.sleep(0)
        # The one thing that keeps a loop from running for certain, as a machine that is stopped does.
        time.sleep(0.2)  # noqa: ASYNC251
        during = stalls.seconds
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        after = stalls.seconds
    assert 0.15 < during <= after
