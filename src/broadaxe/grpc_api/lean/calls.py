"""From a request's head to its handler, through the pipeline."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import aclosing
from functools import partial

from broadaxe.grpc_api.call import Call, Code, RpcError
from broadaxe.grpc_api.errors import INTERNAL_MESSAGE, status_details
from broadaxe.grpc_api.lean import eager
from broadaxe.grpc_api.lean.deadlines import Deadlines
from broadaxe.grpc_api.lean.head import GZIP
from broadaxe.grpc_api.lean.route import Route
from broadaxe.grpc_api.lean.stream import Stream
from broadaxe.grpc_api.method import Method
from broadaxe.grpc_api.pipeline import Pipeline

log = logging.getLogger(__name__)

_CANCELLED = "the call was cancelled"


class Calls:
    """Runs the calls of all connections of a server."""

    def __init__(
        self,
        methods: Iterable[Method],
        pipeline: Pipeline,
        loop: asyncio.AbstractEventLoop,
        monotonic: Callable[[], float],
    ) -> None:
        self._routes = {method.full_name: Route(method) for method in methods}
        self._services = {route.method.service for route in self._routes.values()}
        self._pipeline = pipeline
        self._loop = loop
        self._monotonic = monotonic
        self._deadlines = Deadlines(loop, monotonic)
        self.running: set[asyncio.Task[None]] = set()
        """The tasks of calls that wait for something."""

    def answer(self, stream: Stream, request: bytes, timeout: float | None) -> bool:
        """A head came together with the only message of the call: serve it, if that is what its method takes.
        False, and nothing is done, when it is not as simple as that."""
        head = stream.head
        route = self._routes.get(head.path)
        if route is None or not (route.single and head.simple) or (timeout is not None and timeout <= 0):
            return False
        stream.heard = stream.ended_in = True
        self._prepare(stream, route, timeout)
        self._start(stream, request)
        if stream.deadline is not None and not stream.ended_out:
            stream.deadline_key = self._deadlines.add(stream, stream.deadline)
        return True

    def begin(self, stream: Stream, timeout: float | None) -> None:
        """A request's head is there: refuse it, or get ready for its messages."""
        head = stream.head
        if head.http_status:
            return
        if head.refusal is not None:
            stream.finish(*head.refusal)
            return
        route = self._routes.get(head.path)
        if route is None:
            stream.finish(Code.UNIMPLEMENTED, self._unknown(head.path))
            return
        if timeout is not None and timeout <= 0:
            stream.expire()
            return
        self._prepare(stream, route, timeout)
        if stream.deadline is not None:
            stream.deadline_key = self._deadlines.add(stream, stream.deadline)
        stream.streams_in = route.streams_in
        if route.streams_in:
            self._start(stream, stream)

    def _prepare(self, stream: Stream, route: Route, timeout: float | None) -> None:
        """Tell a stream what its head says about the call."""
        head = stream.head
        stream.route = route
        stream.takes_gzip = head.encoding == GZIP and head.takes_gzip
        if timeout is not None:
            stream.deadline = self._monotonic() + timeout

    def serve(self, stream: Stream, request: bytes) -> None:
        """The only request of a call is there."""
        self._start(stream, request)

    def ended(self, stream: Stream) -> None:
        """The call has its answer, or nobody waits for one."""
        if stream.deadline is not None:
            self._deadlines.discard(stream, stream.deadline_key)

    def _unknown(self, path: str) -> str:
        service = path.strip("/").rpartition("/")[0]
        what = "method" if service in self._services else "service"
        return f"unknown {what} {path}"

    def _start(self, stream: Stream, request: "bytes | Stream") -> None:
        route = stream.route
        if route is None:
            raise RuntimeError("a call without a method")
        call = Call(
            route.name,
            stream.head.metadata,
            deadline=stream.deadline,
            peer=stream.owner.peer,
            closing=self._pipeline.closing,
        )
        if route.streams_out:
            task = self._loop.create_task(self._stream(stream, route, request, call))
        else:
            started = eager.run(self._single(stream, route, request, call), self._loop)
            if started is None:
                return
            task = started
        stream.task = task
        stream.owner.running += 1
        self.running.add(task)
        task.add_done_callback(partial(self._done, stream))
        if stream.ended_out:
            task.cancel()

    async def _single(self, stream: Stream, route: Route, request: "bytes | Stream", call: Call) -> None:
        try:
            reply = await self._pipeline.single(route.method, request, call)
            if call.initial_metadata or call.trailing_metadata:
                stream.tell(call)
            stream.reply(reply)
        except RpcError as error:
            stream.tell(call)
            stream.finish(error.code, error.message, status_details(error))
        except asyncio.CancelledError:
            if stream.task is not None:
                raise  # `_done` answers
            # Something in the handler has cancelled it before it ever waited: there is no task yet.
            stream.finish(Code.CANCELLED, _CANCELLED)
        except Exception:
            log.exception("%s could not be answered", route.name)
            stream.finish(Code.INTERNAL, INTERNAL_MESSAGE)

    async def _stream(self, stream: Stream, route: Route, request: "bytes | Stream", call: Call) -> None:
        try:
            async with aclosing(self._pipeline.stream(route.method, request, call)) as replies:
                async for reply in replies:
                    if not stream.started:
                        stream.tell(call)
                    await stream.send(reply)
            stream.tell(call)
            stream.finish()
        except RpcError as error:
            stream.tell(call)
            stream.finish(error.code, error.message, status_details(error))
        except Exception:
            log.exception("%s could not be answered", route.name)
            stream.finish(Code.INTERNAL, INTERNAL_MESSAGE)

    def _done(self, stream: Stream, task: asyncio.Task[None]) -> None:
        """The task is over. (One that was cancelled before it began never came to its own clean-up.)"""
        stream.task = None
        stream.owner.running -= 1
        self.running.discard(task)
        if not stream.answered:
            # Something other than this transport has cancelled the task.
            stream.finish(Code.CANCELLED, _CANCELLED)
