"""The eager first step, allowances and deadlines."""

import asyncio
import contextvars
from collections.abc import Coroutine
from typing import Any

import pytest

from broadaxe.grpc_api.lean import eager
from broadaxe.grpc_api.lean.allowance import Allowance, PingPolicy
from broadaxe.grpc_api.lean.deadlines import Deadlines
from broadaxe.grpc_api.lean.frames import ConnectionFault

PLACE: contextvars.ContextVar[str] = contextvars.ContextVar("place", default="outside")


async def begin(work: Coroutine[Any, Any, None]) -> asyncio.Task[None] | None:
    """Run eagerly from a callback, as a transport does."""
    loop = asyncio.get_running_loop()
    started: asyncio.Future[asyncio.Task[None] | None] = loop.create_future()
    loop.call_soon(lambda: started.set_result(eager.run(work, loop)))
    return await started


async def test_eager_coroutine_that_never_waits_needs_no_task() -> None:
    seen = []

    async def work() -> None:
        seen.append(asyncio.current_task())
        PLACE.set("inside")

    assert await begin(work()) is None
    assert seen[0] is not None
    assert PLACE.get() == "outside"


async def test_eager_coroutine_that_waits_goes_on_in_a_task_and_the_same_context() -> None:
    gate = asyncio.get_running_loop().create_future()
    seen = []

    async def work() -> None:
        PLACE.set("inside")
        seen.append(await gate)
        await asyncio.sleep(0)
        seen.append(PLACE.get())

    task = await begin(work())
    assert task is not None
    gate.set_result("result")
    await task
    assert seen == ["result", "inside"]


async def test_eager_coroutine_cancelled_while_it_waits_sees_it_and_may_go_on() -> None:
    loop = asyncio.get_running_loop()
    gate, second = loop.create_future(), loop.create_future()
    seen = []

    async def work() -> None:
        try:
            await gate
        except asyncio.CancelledError:
            task = asyncio.current_task()
            assert task is not None
            seen.append(task.cancelling())
            task.uncancel()
        seen.append(await second)

    task = await begin(work())
    assert task is not None
    task.cancel()
    second.set_result(7)
    await task
    assert seen == [1, 7]


async def test_eager_coroutine_cancelled_for_good_is_cancelled() -> None:
    async def work() -> None:
        await asyncio.get_running_loop().create_future()

    task = await begin(work())
    assert task is not None
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


async def test_eager_coroutine_cancelled_before_its_task_begins_sees_it() -> None:
    loop = asyncio.get_running_loop()
    seen: list[str] = []
    finished = loop.create_future()

    async def work() -> None:
        try:
            await loop.create_future()
        finally:
            seen.append("cleaned up")

    def both() -> None:
        task = eager.run(work(), loop)
        assert task is not None
        task.cancel()
        task.add_done_callback(finished.set_result)

    loop.call_soon(both)
    assert (await finished).cancelled()
    assert seen == ["cleaned up"]


async def test_eager_coroutines_that_await_the_same_future_all_go_on() -> None:
    loop = asyncio.get_running_loop()
    gate = loop.create_future()
    seen: list[int] = []

    async def work(number: int) -> None:
        await gate
        seen.append(number)

    tasks: list[asyncio.Task[None] | None] = []
    loop.call_soon(lambda: tasks.extend(eager.run(work(number), loop) for number in range(3)))
    await asyncio.sleep(0)
    gate.set_result(None)
    for task in tasks:
        assert task is not None
        await task
    assert seen == [0, 1, 2]


async def test_eager_failed_wait_raises_in_the_coroutine() -> None:
    gate = asyncio.get_running_loop().create_future()
    seen = []

    async def work() -> None:
        try:
            await gate
        except ValueError as error:
            seen.append(str(error))

    task = await begin(work())
    assert task is not None
    gate.set_exception(ValueError("no"))
    await task
    assert seen == ["no"]


async def test_eager_timeouts_and_groups_begun_in_the_first_step_work() -> None:
    seen = []

    async def slow() -> None:
        await asyncio.get_running_loop().create_future()

    async def work() -> None:
        try:
            async with asyncio.timeout(0.01):
                await slow()
        except TimeoutError:
            seen.append("timeout")
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(0))
        seen.append("group")

    async def group_first() -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(slow())
                raise ValueError
        except* ValueError:
            seen.append("failed")

    for coroutine in (work(), group_first()):
        task = await begin(coroutine)
        assert task is not None
        await task
    assert seen == ["timeout", "group", "failed"]


def test_allowance_lets_a_burst_pass_and_then_its_rate() -> None:
    now = [0.0]
    allowance = Allowance("things", 3, 2, lambda: now[0])
    for _ in range(3):
        allowance.spend()
    now[0] = 1.0
    allowance.spend()
    allowance.spend()
    with pytest.raises(ConnectionFault, match="too many things"):
        allowance.spend()


def test_pings_third_early_one_is_too_many_unless_something_was_sent() -> None:
    policy = PingPolicy(4.5)
    for now in (100.0, 105.0, 110.0, 111.0, 112.0):
        policy.received(now, False)
    policy.received(112.5, True)
    for now in (113.0, 114.0):
        policy.received(now, False)
    with pytest.raises(ConnectionFault, match="too_many_pings"):
        policy.received(115.0, False)


async def test_deadlines_expire_after_their_moment_and_not_when_discarded() -> None:
    loop = asyncio.get_running_loop()
    deadlines = Deadlines(loop, loop.time)
    expired: asyncio.Future[float] = loop.create_future()

    class Call:
        def expire(self) -> None:
            expired.set_result(loop.time())

    kept, gone = Call(), Call()
    at = loop.time() + 0.05
    deadlines.add(kept, at)
    deadlines.discard(gone, deadlines.add(gone, at))
    assert at <= await expired < at + 1.0
