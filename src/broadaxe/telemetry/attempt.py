"""What exporters and the connection to the collector agree on.

It needs no grpcio, which takes 20 MB: a process without a collector does not load that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import grpc

TRACES_METHOD: Final = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
METRICS_METHOD: Final = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"


class ExportError(Exception):
    """A request was not taken; the text says why in one line. `code`: the status, when it was one."""

    def __init__(self, reason: str, code: grpc.StatusCode | None = None, details: str = "") -> None:
        super().__init__(reason)
        self.code = code
        self.details = details


class Attempt:
    """What to tell about a call that failed but will be repeated."""

    def failed(self, reason: str) -> None:
        """Called for each failed call."""
