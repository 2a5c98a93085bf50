"""The spans of user events. An event's has an id that follows from its row; its runs hang under it."""

from datetime import datetime
from uuid import UUID

from broadaxe.domain.ids import TenantId
from broadaxe.domain.metadata import read_traceparent
from broadaxe.domain.user_event import UserEvent
from broadaxe.engine.context import EngineContext
from broadaxe.engine.tracing import nanoseconds, place_of_run
from broadaxe.store.event_ledger import StoredEvent
from broadaxe.telemetry import names as T
from broadaxe.telemetry.context import TraceContext, event_span_id, parse_traceparent
from broadaxe.telemetry.encode import Pair


def above_of(trace: bytes) -> TraceContext:
    """What is above an event, out of its row."""
    return TraceContext(trace[:16], trace[16:24], bool(trace[24] & 1))


class EventTraces:
    """Emits what belongs to events."""

    def __init__(self, context: EngineContext) -> None:
        self._tracer = context.tracer
        self._clock = context.clock

    def above(self, event_id: UUID, metadata: bytes, caller: TraceContext | None) -> TraceContext:
        """What an event hangs under: the caller that its metadata name, else that of the call, else nothing,
        in a trace of its own. Decides whether the trace is recorded."""
        own = parse_traceparent(read_traceparent(metadata))
        return place_of_run(self._tracer, event_id, own or caller)

    @staticmethod
    def place(event_id: UUID, above: TraceContext) -> TraceContext:
        """The place of the event's own span."""
        return above._replace(span_id=event_span_id(event_id))

    def matched(
        self, event: UserEvent, above: TraceContext, began_ns: int, asked: int, passed: int, failed: int
    ) -> None:
        """The expressions of filters were evaluated."""
        if above.sampled:
            self._tracer.emit(
                T.SPAN_EVALUATE_FILTERS,
                self.place(event.id, above),
                began_ns,
                self._clock.now_ns(),
                attrs=(
                    (T.ATTR_TENANT_ID, str(event.tenant_id)),
                    (T.ATTR_EVENT_ID, str(event.id)),
                    (T.ATTR_EVENT_KEY, event.key),
                    (T.ATTR_FILTERS_EVALUATED, asked),
                    (T.ATTR_FILTERS_PASSED, passed),
                    (T.ATTR_FILTERS_FAILED, failed),
                ),
            )

    def pushed(self, event: UserEvent, above: TraceContext, runs: int, refused: str | None = None) -> None:
        """The event is stored with its runs, or its commit was `refused`."""
        extra: list[Pair] = [
            (T.ATTR_EVENT_RUNS, runs),
            (T.ATTR_PAYLOAD_SIZE_BYTES, len(event.payload)),
            (T.ATTR_OUTCOME, "completed" if refused is None else "refused"),
        ]
        ended = self._clock.now_ns()
        self._event(event.tenant_id, event.id, event.key, (event.at, ended), above, extra, refused)

    def told_again(self, event: StoredEvent) -> None:
        """The event is told of again out of its row, after a restart."""
        again: list[Pair] = [(T.ATTR_REPLAYED, True), (T.ATTR_OUTCOME, "completed")]
        # How long it took is not kept; it took at least until its last run was made, by that one's id.
        last = event.last_run
        times = (event.at, 0 if last is None else ((last.int >> 80) + 1) * 1_000_000)
        self._event(event.tenant_id, event.id, event.key, times, above_of(event.trace), again, None)

    def _event(
        self,
        tenant_id: TenantId,
        event_id: UUID,
        key: str,
        times: tuple[datetime, int],
        above: TraceContext,
        extra: list[Pair],
        refused: str | None,
    ) -> None:
        if not above.sampled:
            return
        began = nanoseconds(times[0])
        self._tracer.emit(
            T.SPAN_EVENT,
            above,
            began,
            max(began, times[1]),
            span_id=event_span_id(event_id),
            attrs=[
                (T.ATTR_TENANT_ID, str(tenant_id)),
                (T.ATTR_EVENT_ID, str(event_id)),
                (T.ATTR_EVENT_KEY, key),
                *extra,
            ],
            error_type=refused,
        )
