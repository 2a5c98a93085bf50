"""Where a call came from, and what the engine tells the surface of it."""

from dataclasses import dataclass, field
from datetime import datetime

from broadaxe.telemetry.context import TraceContext


@dataclass(slots=True)
class Origin:
    """Where a call came from: the caller's trace context, and where the engine leaves the parent that
    the surface's own RPC or HTTP span is to have (see `docs/architecture/telemetry.md`)."""

    caller: TraceContext | None = None
    parent: TraceContext | None = None
    touched: list[TraceContext] = field(default_factory=list)
    """Runs that the call was about without making or ending them, for links."""
    made_at: datetime | None = None
    """When the run that was asked for was made."""
