"""Which traces are recorded: a ratio of trace ids, minus those that their caller does not want."""

from broadaxe.telemetry.context import TraceContext


class Sampler:
    """Decides by trace id alone, so that every process with the same ratio keeps the same whole traces.

    The rule is OpenTelemetry's TraceIdRatioBased: the lower 64 bits of the id, as an unsigned number, are
    below `ratio` * 2**64. A caller's sampled flag 00 is respected; its 01 does not override the ratio.
    """

    __slots__ = ("_bound", "ratio")

    def __init__(self, ratio: float) -> None:
        if not 0.0 <= ratio <= 1.0:
            raise ValueError(f"ratio {ratio} is not between 0 and 1")
        self.ratio = ratio
        self._bound = round(ratio * (1 << 64))

    def decide(self, trace_id: bytes, caller: TraceContext | None = None) -> bool:
        """Whether the trace is recorded."""
        if caller is not None and not caller.sampled:
            return False
        return int.from_bytes(trace_id[8:], "big") < self._bound
