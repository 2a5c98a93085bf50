"""An OTLP/gRPC collector that behaves as badly as a test wants it to."""

import asyncio
import enum
from collections.abc import Callable, Sequence

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from broadaxe.telemetry.receiver import Context, ReceivedSpan, Receiver
from broadaxe.telemetry.trace_tree import group_by_trace
from broadaxe.testkit.certificates import Authority


class Mood(enum.Enum):
    """How it answers traces."""

    NORMAL = "normal"
    SLOW = "slow"
    """Takes everything after `delay` seconds."""
    REFUSING = "refusing"
    """UNAVAILABLE, or the status given as `refusal`."""
    HANGING = "hanging"
    """No answer until the mood changes."""
    PARTIAL = "partial"
    """Takes all but the last `rejected` spans of a request and says so."""


class Collector:
    """`async with Collector() as collector:` then `collector.target` as the collector's URL."""

    def __init__(
        self,
        mood: Mood = Mood.NORMAL,
        *,
        authority: Authority | None = None,
        client_required: bool = False,
        delay: float = 1.0,
        rejected: int = 1,
        refusal: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE,
        port: int = 0,
        keep: int = 100_000,
    ) -> None:
        """TLS with the server's certificate of `authority` when one is given, plaintext otherwise.

        `keep`: how many of the newest spans.
        """
        credentials = None if authority is None else authority.credentials(client_required=client_required)
        self._receiver = Receiver(port=port, credentials=credentials, answer=self._answer, keep=keep)
        self._mood = mood
        self._changed = asyncio.Event()
        self.delay = delay
        self.rejected = rejected
        self.refusal = refusal
        self.requests = 0
        """Trace requests so far, whatever became of them."""
        self.waiting = 0
        """Trace requests that have no answer yet."""

    async def __aenter__(self) -> "Collector":
        await self._receiver.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Close the port; requests under way are cut."""
        await self._receiver.stop()
        self._wake()

    @property
    def target(self) -> str:
        """`host:port`."""
        return self._receiver.target

    @property
    def receiver(self) -> Receiver:
        """What keeps the spans, metrics and headers."""
        return self._receiver

    @property
    def spans(self) -> Sequence[ReceivedSpan]:
        """Accepted spans, oldest first."""
        return self._receiver.spans

    @property
    def headers(self) -> Sequence[dict[str, str | bytes]]:
        """Metadata of each request, also of refused ones."""
        return self._receiver.headers

    @property
    def mood(self) -> Mood:
        """How it answers; assign another at any time."""
        return self._mood

    @mood.setter
    def mood(self, mood: Mood) -> None:
        self._mood = mood
        self._wake()

    def traces(self) -> dict[str, list[ReceivedSpan]]:
        """Accepted spans by trace id."""
        return group_by_trace(self.spans)

    def named(self, name: str) -> list[ReceivedSpan]:
        """Accepted spans of this name."""
        return [span for span in self.spans if span.name == name]

    async def wait_for(self, condition: Callable[[], bool], what: str, timeout: float = 30.0) -> None:
        """Until accepted spans make this true; AssertionError naming `what` otherwise."""
        if not await self._receiver.wait_for(condition, timeout):
            names = sorted({span.name for span in self.spans})
            raise AssertionError(f"after {timeout:g} s not in the collector: {what}; it has {names}")

    async def wait_span(self, name: str, count: int = 1, timeout: float = 30.0) -> list[ReceivedSpan]:
        """The spans of this name once there are `count`."""
        await self.wait_for(lambda: len(self.named(name)) >= count, f"{count} of {name}", timeout)
        return self.named(name)

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _answer(
        self, request: ExportTraceServiceRequest, context: Context
    ) -> ExportTraceServiceResponse:
        self.requests += 1
        self.waiting += 1
        try:
            while self._mood is Mood.HANGING:
                await self._changed.wait()
            if self._mood is Mood.SLOW:
                await asyncio.sleep(self.delay)
            if self._mood is Mood.REFUSING:
                await context.abort(self.refusal, "refused by the test")
        finally:
            self.waiting -= 1
        if self._mood is not Mood.PARTIAL:
            return ExportTraceServiceResponse()
        held = sum(len(scope.spans) for one in request.resource_spans for scope in one.scope_spans)
        return ExportTraceServiceResponse(
            partial_success=ExportTracePartialSuccess(
                rejected_spans=min(self.rejected, held), error_message="rejected by the test"
            )
        )
