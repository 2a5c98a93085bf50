"""What each statement tells telemetry: a span where the trace is recorded, a duration, and a count."""

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, Protocol, TypeVar

from broadaxe.clock import Clock
from broadaxe.store.failures import DRIVER_ERRORS, error_type_of, sqlstate_of
from broadaxe.store.statements import Statement
from broadaxe.telemetry import names as T
from broadaxe.telemetry.context import TraceContext
from broadaxe.telemetry.tracer import AnySpan, Tracer, current_span
from broadaxe.telemetry.vocabulary import Label, Metric, SpanName

SYSTEM: Final = "postgresql"
Result = TypeVar("Result")
Labels = tuple[tuple[Label, str | int], ...]
Observed = Callable[[], Iterable[tuple[float, Labels]]]
Parent = TraceContext | AnySpan | None
"""What a database span hangs under; None = the current span."""


class MetricSink(Protocol):
    """The part of `broadaxe.telemetry`'s metrics that the store uses."""

    def add(self, metric: Metric, value: float = 1, labels: Labels = ()) -> None:
        """Adds to a counter."""

    def record(self, metric: Metric, value: float, labels: Labels = ()) -> None:
        """Records one value of a histogram."""

    def observe(self, metric: Metric, callback: Observed) -> None:
        """Has an observed instrument ask `callback`."""


class NoMetrics:
    """Stands for metrics that nobody asked for."""

    def add(self, metric: Metric, value: float = 1, labels: Labels = ()) -> None:
        """Does nothing."""

    def record(self, metric: Metric, value: float, labels: Labels = ()) -> None:
        """Does nothing."""

    def observe(self, metric: Metric, callback: Observed) -> None:
        """Does nothing."""


_log = logging.getLogger("broadaxe.store")


class Instruments:
    """Runs statements under telemetry. `counts` holds how often each was sent, by name, for budgets."""

    def __init__(
        self,
        clock: Clock,
        tracer: Tracer,
        metrics: MetricSink,
        namespace: str,
        *,
        log_statements: bool = False,
    ) -> None:
        self.clock = clock
        self.tracer = tracer
        self.metrics = metrics
        self.namespace = namespace
        self._log_statements = log_statements
        self.counts: Counter[str] = Counter()
        self._labels: dict[tuple[str, str, str], Labels] = {}

    @property
    def statements(self) -> int:
        """Statements sent so far, without BEGIN, COMMIT and ROLLBACK."""
        return sum(count for name, count in self.counts.items() if not name.isupper())

    def _labels_of(self, operation: str, target: str, error: str) -> Labels:
        labels = self._labels.get((operation, target, error))
        if labels is None:
            pairs = [(T.LABEL_DB_SYSTEM_NAME, SYSTEM), (T.LABEL_DB_OPERATION_NAME, operation)]
            pairs += [(T.LABEL_DB_COLLECTION_NAME, target)] if target else []
            pairs += [(T.LABEL_ERROR_TYPE, error)] if error else []
            labels = self._labels[operation, target, error] = tuple(pairs)
        return labels

    def start(self, name: SpanName, parent: Parent, operation: str, target: str, text: str) -> AnySpan:
        """Opens a database span under `parent`, or under the current span."""
        span = self.tracer.start(name, current_span() if parent is None else parent)
        if span.recording:
            span.set(T.ATTR_DB_SYSTEM_NAME, SYSTEM)
            span.set(T.ATTR_DB_NAMESPACE, self.namespace)
            span.set(T.ATTR_DB_OPERATION_NAME, operation)
            span.set(T.ATTR_DB_QUERY_TEXT, text)
            span.set(T.ATTR_DB_QUERY_SUMMARY, f"{operation} {target}" if target else operation)
            if target:
                span.set(T.ATTR_DB_COLLECTION_NAME, target)
        return span

    async def run(
        self,
        statement: Statement,
        call: Callable[[], Awaitable[Result]],
        rows: Callable[[Result], int],
        parent: Parent,
        batch: int,
        *,
        writes: bool = False,
    ) -> Result:
        """Awaits one statement, with its span, duration and count. Errors pass through.

        `writes`: `rows` counts what was written, not what came back."""
        self.counts[statement.name] += 1
        span = self.start(statement.span, parent, statement.operation, statement.target, statement.text)
        if batch and span.recording:
            span.set(T.ATTR_DB_OPERATION_BATCH_SIZE, batch)
        began = self.clock.monotonic()
        try:
            result = await call()
        except DRIVER_ERRORS as error:
            self._ended(statement.operation, statement.target, began, error_type_of(error))
            self._tell(statement, began, error_type_of(error))
            state = sqlstate_of(error)
            if state is not None:
                span.set(T.ATTR_DB_RESPONSE_STATUS_CODE, state)
            span.end(error_type=error_type_of(error), message=type(error).__name__)
            raise
        except BaseException:
            span.end(error_type="cancelled")
            raise
        self._ended(statement.operation, statement.target, began, "")
        self._tell(statement, began, "")
        if span.recording:
            span.set(T.ATTR_ROWS_CHANGED if writes else T.ATTR_DB_RESPONSE_RETURNED_ROWS, rows(result))
            span.end()
        return result

    def _tell(self, statement: Statement, began: float, error: str) -> None:
        if not self._log_statements:
            return
        milliseconds = round((self.clock.monotonic() - began) * 1000, 3)
        fields = {"statement": statement.name, "query": statement.text, "milliseconds": milliseconds}
        # The operator asked for these lines outright: no level keeps them back but one above "warn".
        _log.warning("statement", extra={**fields, "error_type": error} if error else fields)

    def _ended(self, operation: str, target: str, began: float, error: str) -> None:
        self.metrics.record(
            T.METRIC_DB_CLIENT_DURATION,
            self.clock.monotonic() - began,
            self._labels_of(operation, target, error),
        )
