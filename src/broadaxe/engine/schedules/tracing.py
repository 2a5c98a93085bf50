"""The spans of due times: a leaf of the run that was started, or a root of its own when none was."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from broadaxe.engine.context import EngineContext
from broadaxe.telemetry import names as T
from broadaxe.telemetry.context import TraceContext
from broadaxe.telemetry.encode import Pair

_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Source:
    """What a due time belongs to."""

    id: UUID
    workflow: str
    workflow_id: UUID
    expression: str | None
    """None for a planned run."""
    trace: TraceContext | None
    """Where it was asked for."""


class FireTraces:
    """Tells of what became of due times, each with a link to where the cron or planned run was asked for."""

    def __init__(self, context: EngineContext) -> None:
        self._tracer = context.tracer
        self._clock = context.clock

    def settled(
        self,
        tenant_id: UUID,
        source: Source,
        due_at: datetime,
        began_ns: int,
        outcome: str,
        run: TraceContext | None,
    ) -> None:
        """A due time was dealt with."""
        parent = run if run is not None else self._tracer.new_root()
        if not parent.sampled:
            return
        lateness = max(0, (self._clock.now() - due_at) // _MILLISECOND)
        attrs: list[Pair] = [
            (T.ATTR_TENANT_ID, str(tenant_id)),
            (T.ATTR_WORKFLOW_NAME, source.workflow),
            (T.ATTR_WORKFLOW_ID, str(source.workflow_id)),
            (T.ATTR_TRIGGER_KIND, "scheduled" if source.expression is None else "cron"),
            (T.ATTR_SCHEDULE_ID, str(source.id)),
            (T.ATTR_SCHEDULE_DUE, due_at.isoformat()),
            (T.ATTR_SCHEDULE_LATENESS_MS, lateness),
            (T.ATTR_OUTCOME, outcome),
        ]
        if source.expression is not None:
            attrs.append((T.ATTR_CRON_EXPRESSION, source.expression))
        self._tracer.emit(
            T.SPAN_SCHEDULE_FIRE,
            parent,
            began_ns,
            self._clock.now_ns(),
            attrs=attrs,
            links=(source.trace,) if source.trace is not None else (),
        )
