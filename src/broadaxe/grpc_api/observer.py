"""What is recorded of a call: its span, its duration and the number of open streams."""

from collections import Counter
from collections.abc import Iterable
from typing import Protocol

from broadaxe.grpc_api.call import Call, Code
from broadaxe.grpc_api.errors import SERVER_FAULTS
from broadaxe.grpc_api.method import Method
from broadaxe.telemetry import names as T
from broadaxe.telemetry.tracer import Tracer
from broadaxe.telemetry.vocabulary import Attr, AttrValue, Label, Metric

Labels = tuple[tuple[Label, str | int], ...]


class Metrics(Protocol):
    """The part of `telemetry.metrics` that is used here."""

    enabled: bool

    def record(self, metric: Metric, value: float, labels: Labels = ()) -> None:
        """Record one value in a histogram."""


class Observer(Protocol):
    """Is told of every call; must not raise."""

    tracing: bool
    """Whether it wants `began` and `traced`; those are told of methods that deserve a span."""

    def began(self, method: Method, call: Call, start_ns: int) -> None:
        """A call was admitted; nanoseconds since 1970."""

    def traced(self, method: Method, call: Call, code: Code, start_ns: int, end_ns: int) -> None:
        """A unary call has ended, or a stream is open (or failed to open); nanoseconds since 1970."""

    def stream_began(self, method: Method) -> None:
        """A stream was admitted."""

    def stream_ended(self, method: Method) -> None:
        """It is over, whatever its end."""

    def measured(self, method: Method, code: Code, seconds: float) -> None:
        """A call of any kind has ended, admitted or not."""


class TelemetryObserver:
    """Records through the telemetry room.

    The span hangs where the handler said (`call.trace_parent`), else under the caller, else it is a root of
    its own. Where the handler chooses it is emitted when its end is known, and nothing of it is kept during
    the call; otherwise it is open meanwhile, so that statements hang under it.
    """

    def __init__(self, tracer: Tracer, metrics: Metrics) -> None:
        self._tracer = tracer
        self.tracing = tracer.enabled
        self._metrics = metrics
        self._labels: dict[tuple[str, Code], Labels] = {}
        self._streams: Counter[str] = Counter()

    def began(self, method: Method, call: Call, start_ns: int) -> None:
        """Open the span of a call whose place is known."""
        tracer = self._tracer
        if not method.placed:
            name = T.rpc_span(method.service, method.name)
            call.span = tracer.start(name, tracer.adopt(call.caller), start_ns=start_ns)
            tracer.enter(call.span)

    def traced(self, method: Method, call: Call, code: Code, start_ns: int, end_ns: int) -> None:
        """End or emit the SERVER span of one call."""
        tracer = self._tracer
        if not call.traced:
            return
        error_type = code.name if code in SERVER_FAULTS else None
        if call.span is not None:
            if call.span.recording:
                for attr, value in self._attributes(method, call, code):
                    call.span.set(attr, value)
                call.span.end(end_ns, error_type)
            return
        parent = call.parent
        if parent is None:
            parent = tracer.adopt(call.caller)
        if not parent.sampled:
            return
        tracer.emit(
            T.rpc_span(method.service, method.name),
            parent=parent,
            start_ns=start_ns,
            end_ns=end_ns,
            attrs=self._attributes(method, call, code),
            error_type=error_type,
        )

    def _attributes(self, method: Method, call: Call, code: Code) -> list[tuple[Attr, AttrValue]]:
        attributes: list[tuple[Attr, AttrValue]] = [
            (T.ATTR_RPC_SYSTEM, "grpc"),
            (T.ATTR_RPC_SERVICE, method.service),
            (T.ATTR_RPC_METHOD, method.name),
            (T.ATTR_RPC_GRPC_STATUS_CODE, int(code)),
            *call.attributes,
        ]
        if call.tenant is not None:
            attributes.append((T.ATTR_TENANT_ID, str(call.tenant)))
        return attributes

    def stream_began(self, method: Method) -> None:
        """Count an open stream."""
        self._streams[method.name] += 1

    def stream_ended(self, method: Method) -> None:
        """Count it off."""
        self._streams[method.name] -= 1

    def open_streams(self) -> Iterable[tuple[float, Labels]]:
        """Open streams by method, to be observed as `METRIC_STREAMS`."""
        return [(count, ((T.LABEL_KIND, name),)) for name, count in self._streams.items()]

    def measured(self, method: Method, code: Code, seconds: float) -> None:
        """Record the duration with method and code."""
        if not self._metrics.enabled:
            return
        key = (method.full_name, code)
        labels = self._labels.get(key)
        if labels is None:
            labels = (
                (T.LABEL_RPC_SYSTEM, "grpc"),
                (T.LABEL_RPC_METHOD, method.full_name.removeprefix("/")),
                (T.LABEL_RPC_GRPC_STATUS_CODE, int(code)),
            )
            if code in SERVER_FAULTS:
                labels += ((T.LABEL_ERROR_TYPE, code.name),)
            self._labels[key] = labels
        self._metrics.record(T.METRIC_RPC_SERVER_DURATION, seconds, labels)
