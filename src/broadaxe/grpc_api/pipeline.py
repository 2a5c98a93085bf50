"""What happens around every handler, whatever the transport: log, auth, rate limit, errors, trace.

A transport hands in the bytes of requests and a `Call`, and gets bytes or an `RpcError`, nothing else
(but `asyncio.CancelledError` when it cancelled the call itself).
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from google.protobuf.message import DecodeError, Message

from broadaxe.auth.tokens import Identity
from broadaxe.clock import Clock
from broadaxe.domain.errors import Unavailable
from broadaxe.grpc_api.call import Call, Code, RpcError
from broadaxe.grpc_api.errors import INTERNAL_MESSAGE, DetailEncoder, foreseen, message_detail
from broadaxe.grpc_api.identity import INVALID_TOKEN, Authenticator, authorization
from broadaxe.grpc_api.method import Method
from broadaxe.grpc_api.observer import Observer
from broadaxe.grpc_api.rate_limit import RateGroup, RateLimiter

log = logging.getLogger(__name__)


class _Stream:
    """An open stream: where it waits, so that it can be ended without losing a message half sent."""

    __slots__ = ("_ended", "done", "task", "waiting")

    def __init__(self, task: asyncio.Task[Any], done: asyncio.Event) -> None:
        self.task = task
        self.done = done
        self._ended = False
        self.waiting = False
        """The handler is at work or asleep; otherwise the transport is sending its last message."""

    def ended(self) -> bool:
        """The server wants it to end, and its client to see OK."""
        return self._ended

    def end(self) -> None:
        """Want that."""
        self._ended = True
        if self.waiting:
            self.task.cancel()


class Pipeline:
    """Runs handlers for a transport. One for a server."""

    def __init__(
        self,
        authenticator: Authenticator,
        limiter: RateLimiter,
        observer: Observer,
        clock: Clock,
        encode_detail: DetailEncoder = message_detail,
        leaving: asyncio.Event | None = None,
    ) -> None:
        """`leaving`: set by whoever knows that the server is about to stop."""
        self._authenticator = authenticator
        self._limiter = limiter
        self._observer = observer
        self._now_ns = clock.now_ns
        self._monotonic = clock.monotonic
        self._encode_detail = encode_detail
        self._streams: set[_Stream] = set()
        self.leaving = leaving if leaving is not None else asyncio.Event()
        """New callers should go elsewhere; who comes all the same is served. Set by `drain` at the latest."""
        self.closing = asyncio.Event()
        """For the `closing` of every call."""

    @property
    def open_streams(self) -> int:
        """How many streams are open now."""
        return len(self._streams)

    async def single(self, method: Method, request: bytes | AsyncIterator[bytes], call: Call) -> bytes:
        """Serve a call that is answered by one message; raises `RpcError`."""
        traced = self._observer.tracing and method.traced
        start_ns, began = self._now_ns() if traced else 0, self._monotonic()
        code, admitted = Code.OK, False
        refusal: RpcError | None = None
        try:
            if method.rate_group is not None:
                identity = self._known(call) or await self._identify(method, call)
                self._admit(identity, method.rate_group, call)
            admitted = True
            if traced:
                self._observer.began(method, call, start_ns)
            reply: Message = await method.handler(_decode(method, request), call)
            return reply.SerializeToString()
        except asyncio.CancelledError:
            refusal = self._cancelled(call)
            code = refusal.code
            if call.cancelled:
                raise
            raise refusal from None
        except Exception as error:
            refusal = self._refusal(method, error)
            code = refusal.code
            raise refusal from error
        finally:
            refusal = None  # an exception and the frame that names it keep each other
            if traced and admitted:
                self._observer.traced(method, call, code, start_ns, self._now_ns())
            self._ended(method, call, code, began)

    async def stream(
        self, method: Method, request: bytes | AsyncIterator[bytes], call: Call
    ) -> AsyncGenerator[bytes]:
        """Serve a call that is answered by a stream; raises `RpcError`. Close the generator when done."""
        traced = self._observer.tracing and method.traced
        start_ns, began = self._now_ns() if traced else 0, self._monotonic()
        code, admitted = Code.OK, False
        refusal: RpcError | None = None

        def trace() -> None:
            self._observer.traced(method, call, code, start_ns, self._now_ns())

        try:
            if method.rate_group is not None:
                identity = self._known(call) or await self._identify(method, call)
                self._admit(identity, method.rate_group, call)
            if self.closing.is_set():
                raise Unavailable("the server is stopping")
            admitted = True
            if traced:
                call.on_open(trace)
                self._observer.began(method, call, start_ns)
            self._observer.stream_began(method)
            async for message in self._messages(method, request, call):
                call.opened()
                yield message.SerializeToString()
        except GeneratorExit:
            # The transport closed the generator: its client is gone in the middle of a message.
            call.cancelled = True
            code = Code.CANCELLED
            raise
        except asyncio.CancelledError:
            refusal = self._cancelled(call)
            code = refusal.code
            if call.cancelled:
                raise
            raise refusal from None
        except Exception as error:
            refusal = self._refusal(method, error)
            code = refusal.code
            raise refusal from error
        finally:
            refusal = None
            if admitted:
                call.opened()
                self._observer.stream_ended(method)
            self._ended(method, call, code, began)

    async def _messages(
        self, method: Method, request: bytes | AsyncIterator[bytes], call: Call
    ) -> AsyncGenerator[Message]:
        """The handler's messages, until it is done or `drain` ends the stream."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("streams are served inside a task")
        stream = _Stream(task, asyncio.Event())
        self._streams.add(stream)
        replies: AsyncIterator[Message] = method.handler(_decode(method, request), call)
        try:
            while not stream.ended():
                stream.waiting = True
                try:
                    message = await anext(replies)
                except StopAsyncIteration:
                    return
                except asyncio.CancelledError:
                    # Ended by `drain` and not, at the same time, cancelled by the transport.
                    if stream.ended() and task.uncancel() == 0:
                        return
                    raise
                finally:
                    stream.waiting = False
                yield message
        finally:
            self._streams.discard(stream)
            stream.done.set()
            # A task that is cancelled keeps its exception, and that this frame.
            del task, stream
            if isinstance(replies, AsyncGenerator):
                await replies.aclose()

    async def drain(self, patience: float) -> None:
        """End every open stream with OK.

        Handlers are told first (`call.closing`); those that are still there after `patience` seconds are
        cancelled where they wait. New streams are refused from now on; unary calls are served.
        """
        self.leaving.set()
        self.closing.set()
        waits = [asyncio.ensure_future(stream.done.wait()) for stream in self._streams]
        if waits:
            await asyncio.wait(waits, timeout=patience)
        for stream in tuple(self._streams):
            stream.end()
        if waits:
            # What is left depends on clients that take their last message, or on handlers that clean up.
            await asyncio.wait(waits, timeout=patience)
        for wait in waits:
            wait.cancel()

    def _known(self, call: Call) -> Identity | None:
        """Who calls, if the same token was accepted a moment ago."""
        header = call.metadata.get("authorization")
        return self._authenticator.known(header) if isinstance(header, str) else None

    async def _identify(self, method: Method, call: Call) -> Identity:
        """Ask who calls; raises `Unauthenticated` or `Unavailable`."""
        header = authorization(call.metadata)
        try:
            return await self._authenticator.authenticate(header)
        except Unavailable:
            raise
        except Exception as error:
            refusal = foreseen(error)
            if refusal is None:
                log.exception("authentication failed unexpectedly", extra={"rpc": method.full_name})
            raise RpcError(Code.UNAUTHENTICATED, INVALID_TOKEN) from error

    def _admit(self, identity: Identity, group: RateGroup, call: Call) -> None:
        """Let the caller in; raises `ResourceExhausted` when it has been in too often."""
        call.tenant, call.token_id = identity.tenant_id, identity.token_id
        self._limiter.take(identity.token_id, group)

    def _cancelled(self, call: Call) -> RpcError:
        """The status of a cancelled handler. `call.cancelled` tells afterwards whether it was the transport
        that cancelled, and not something inside the handler."""
        task = asyncio.current_task()
        call.cancelled = task is not None and task.cancelling() > 0
        if call.deadline is not None and self._monotonic() >= call.deadline:
            return RpcError(Code.DEADLINE_EXCEEDED, "deadline exceeded")
        return RpcError(Code.CANCELLED, "the call was cancelled")

    def _refusal(self, method: Method, error: Exception) -> RpcError:
        refusal = foreseen(error, self._encode_detail)
        if refusal is None:
            log.error("%s failed", method.full_name, exc_info=error)
            refusal = RpcError(Code.INTERNAL, INTERNAL_MESSAGE)
        return refusal

    def _ended(self, method: Method, call: Call, code: Code, began: float) -> None:
        seconds = self._monotonic() - began
        self._observer.measured(method, code, seconds)
        if log.isEnabledFor(logging.DEBUG):
            log.debug("%s %s from %s in %.1f ms", method.full_name, code.name, call.peer, seconds * 1000)


def _decode(method: Method, request: bytes | AsyncIterator[bytes]) -> Message | AsyncIterator[Message]:
    if isinstance(request, bytes):
        return _parse(method, request)
    return _parse_each(method, request)


async def _parse_each(method: Method, requests: AsyncIterator[bytes]) -> AsyncIterator[Message]:
    async for request in requests:
        yield _parse(method, request)


def _parse(method: Method, request: bytes) -> Message:
    try:
        return method.request_class.FromString(request)
    except DecodeError:
        raise RpcError(
            Code.INVALID_ARGUMENT, f"the request is no {method.request_class.DESCRIPTOR.name}"
        ) from None
