"""Records spans in memory, through the real encoder and the official decoder; for tests and tools."""

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from broadaxe.clock import Clock, Ids, SystemClock, SystemIds
from broadaxe.telemetry.encode import Envelope
from broadaxe.telemetry.names import SCHEMA_URL, SCOPE
from broadaxe.telemetry.receiver import ReceivedSpan, unpack
from broadaxe.telemetry.sampler import Sampler
from broadaxe.telemetry.tracer import Tracer


class Recording:
    """A tracer whose ended spans can be looked at. Strict unless told otherwise: undeclared use raises."""

    def __init__(
        self,
        *,
        ratio: float = 1.0,
        strict: bool = True,
        clock: Clock | None = None,
        ids: Ids | None = None,
    ) -> None:
        self._raw: list[bytes] = []
        self._envelope = Envelope({"service.name": "recording"}, SCOPE, "0", SCHEMA_URL)
        self.tracer = Tracer(
            clock or SystemClock(), ids or SystemIds(), self._raw.append, Sampler(ratio), strict=strict
        )

    @property
    def request(self) -> ExportTraceServiceRequest:
        """All spans so far as the official message."""
        return ExportTraceServiceRequest.FromString(self._envelope.wrap(self._raw))

    @property
    def spans(self) -> list[ReceivedSpan]:
        """All spans so far, in the order they ended."""
        return unpack(self.request)

    def named(self, name: str) -> list[ReceivedSpan]:
        """The spans of one name (with its prefix)."""
        return [span for span in self.spans if span.name == name]

    def clear(self) -> None:
        """Forgets what was recorded."""
        self._raw.clear()
