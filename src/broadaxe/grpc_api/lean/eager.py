"""Runs a coroutine at once up to its first wait, and only makes a task of one that waits.

Most of a task's cost is in making and scheduling it, and many handlers never wait. From Python 3.12 on
asyncio has this itself; before, the first step runs under a stand-in for the task to come, so that
`asyncio.current_task()`, and with it `asyncio.timeout` and task groups, work in it as well.
"""

import asyncio
import asyncio.tasks as tasks
import contextvars
import sys
from collections.abc import Coroutine, Generator
from types import coroutine
from typing import Any


class _Standing:
    """The task that a coroutine sees in its first step; hands everything on to the real one."""

    __slots__ = ("_cancelled", "_task")

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None
        self._cancelled = 0

    def become(self, task: asyncio.Task[None]) -> None:
        """The real task is there."""
        self._task = task
        for _ in range(self._cancelled):
            task.cancel()

    def cancel(self, msg: object = None) -> bool:
        """As `Task.cancel`."""
        if self._task is not None:
            return self._task.cancel(msg)
        self._cancelled += 1
        return True

    def cancelling(self) -> int:
        """As `Task.cancelling`."""
        return self._cancelled if self._task is None else self._task.cancelling()

    def uncancel(self) -> int:
        """As `Task.uncancel`."""
        if self._task is not None:
            return self._task.uncancel()
        self._cancelled = max(0, self._cancelled - 1)
        return self._cancelled

    def __getattr__(self, name: str) -> Any:
        if self._task is None:
            raise AttributeError(name)
        return getattr(self._task, name)


@coroutine
def _rest(started: Coroutine[Any, Any, None], awaited: Any) -> Generator[object, Any, None]:
    """Go on with a coroutine that has been stepped and waits for something.

    Has to be stepped once before a task gets it: a task that is cancelled before it has begun throws into
    its coroutine, and what has not been stepped never hears of that.
    """
    began = False
    while True:
        try:
            if not began:
                began = True
                yield None
            if awaited is not None:
                # The mark by which a task tells a future that is awaited; the task takes it off at once.
                awaited._asyncio_future_blocking = True
            yield awaited
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is meant for the coroutine
            try:
                awaited = started.throw(error)
            except StopIteration:
                return
        else:
            yield from started
            return


if sys.version_info >= (3, 12):

    def run(work: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop) -> asyncio.Task[None] | None:
        """Begin the work; the task in which it goes on, None when it is done. It must raise nothing."""
        task = asyncio.Task(work, loop=loop, eager_start=True)
        return None if task.done() else task

else:

    def run(work: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop) -> asyncio.Task[None] | None:
        """Begin the work; the task in which it goes on, None when it is done. It must raise nothing."""
        standing: Any = _Standing()
        try:
            tasks._enter_task(loop, standing)
        except RuntimeError:
            return loop.create_task(work)  # this is called from inside a task
        context = contextvars.copy_context()
        try:
            awaited = context.run(work.send, None)
        except StopIteration:
            return None
        finally:
            tasks._leave_task(loop, standing)
        if awaited is not None:
            # Others may await the same future before the task does.
            awaited._asyncio_future_blocking = False
        rest = _rest(work, awaited)
        next(rest)
        task = asyncio.Task(rest, loop=loop, context=context)
        standing.become(task)
        return task
