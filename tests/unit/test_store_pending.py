"""The queue before the group commit, and what errors mean."""

import asyncio
from datetime import UTC, datetime
from uuid import UUID

import asyncpg
import pytest

from broadaxe.domain.errors import BroadaxeError, ResourceExhausted, Unavailable
from broadaxe.domain.ids import TaskId, TenantId
from broadaxe.domain.task import TaskState, TaskStatus
from broadaxe.store.failures import Failure, classify, describe
from broadaxe.store.ledger import TaskWrite
from broadaxe.store.pending import Pending, PendingQueue

AT = datetime(2026, 1, 1, tzinfo=UTC)


def op(size: int = 10, *, task: int | None = None, wait: float = 60.0, patient: bool = True) -> Pending:
    loop = asyncio.get_running_loop()
    made = Pending(loop.create_future(), size, 0, loop.time() + wait, patient)
    if task is not None:
        status = TaskStatus(TaskState.QUEUED, 0, AT)
        made.write = TaskWrite(TenantId(UUID(int=1)), TaskId(UUID(int=task)), 0, TaskState.QUEUED, status)
    return made


async def test_take_within_limits_in_order() -> None:
    queue = PendingQueue(10_000, 3, 100)
    ops = [op() for _ in range(5)]
    for one in ops:
        queue.put(one)
    assert queue.take() == ops[:3]
    assert queue.take() == ops[3:]
    assert not queue.work.is_set()
    big = [op(80), op(80), op(200)]
    for one in big:
        queue.put(one)
    assert [queue.take(), queue.take(), queue.take()] == [[one] for one in big]


async def test_take_second_write_of_a_task_waits_for_the_next_batch() -> None:
    queue = PendingQueue(10_000, 100, 10_000)
    first, second, other = op(task=1), op(task=1), op(task=2)
    for one in (first, second, other):
        queue.put(one)
    assert queue.take() == [first, other]
    assert queue.work.is_set()
    assert queue.take() == [second]


async def test_put_lazy_alone_rises_after_its_delay() -> None:
    queue = PendingQueue(10_000, 100, 10_000)
    lazy = op()
    queue.put(lazy, 0.01)
    assert not queue.work.is_set()
    await asyncio.wait_for(queue.work.wait(), 30)
    assert queue.take() == [lazy]


async def test_put_lazy_rides_with_the_next() -> None:
    queue = PendingQueue(10_000, 100, 10_000)
    lazy, eager = op(), op()
    queue.put(lazy, 60.0)
    queue.put(eager)
    assert queue.take() == [lazy, eager]
    assert not queue.work.is_set()


async def test_put_beyond_the_bytes_is_exhausted_until_released() -> None:
    queue = PendingQueue(100, 10, 1000)
    first = op(90)
    queue.put(first)
    with pytest.raises(ResourceExhausted):
        queue.put(op(20))
    queue.release(first)
    queue.put(op(20))


async def test_deadline_passed_waiting_is_given_up_in_flight_is_not() -> None:
    queue = PendingQueue(10_000, 1, 1000)
    flying, caller, store = op(wait=0.01), op(wait=0.01, patient=False), op(wait=0.02)
    for one in (flying, caller, store):
        queue.put(one)
    assert queue.take() == [flying]
    answers: list[BaseException | None] = []
    for one, kind in ((caller, Unavailable), (store, ResourceExhausted)):
        with pytest.raises(kind):
            await asyncio.wait_for(one.future, 30)
        answers.append(one.future.exception())
    assert all(isinstance(answer, BroadaxeError) for answer in answers)
    assert not flying.future.done()
    assert queue.held_bytes == flying.size
    assert not queue.work.is_set()
    queue.give_back([flying])
    with pytest.raises(ResourceExhausted):
        await asyncio.wait_for(flying.future, 30)


async def test_give_back_keeps_the_order() -> None:
    queue = PendingQueue(10_000, 2, 1000)
    ops = [op() for _ in range(4)]
    for one in ops:
        queue.put(one)
    batch = queue.take()
    queue.give_back(batch)
    assert queue.take() + queue.take() == ops


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        (asyncpg.AdminShutdownError("57P01"), Failure.AWAY),
        (asyncpg.CannotConnectNowError("57P03"), Failure.AWAY),
        (asyncpg.TooManyConnectionsError("53300"), Failure.AWAY),
        (asyncpg.DiskFullError("53100"), Failure.AWAY),
        (asyncpg.ReadOnlySQLTransactionError("25006"), Failure.AWAY),
        (asyncpg.ConnectionDoesNotExistError("08003"), Failure.AWAY),
        (asyncpg.InterfaceError("connection is closed"), Failure.AWAY),
        (ConnectionResetError(), Failure.AWAY),
        (TimeoutError(), Failure.AWAY),
        (asyncpg.SerializationError("40001"), Failure.RETRY),
        (asyncpg.DeadlockDetectedError("40P01"), Failure.RETRY),
        (asyncpg.LockNotAvailableError("55P03"), Failure.RETRY),
        (asyncpg.QueryCanceledError("57014"), Failure.RETRY),
        (asyncpg.UniqueViolationError("23505"), Failure.REFUSED),
        (asyncpg.CharacterNotInRepertoireError("22021"), Failure.REFUSED),
    ],
)
def test_classify_by_sqlstate(error: Exception, meaning: Failure) -> None:
    assert classify(error) is meaning


def test_describe_never_shows_a_message() -> None:
    text = describe(asyncpg.UniqueViolationError("Key (name)=(secret) already exists."))
    assert text == "UniqueViolationError (23505)"
