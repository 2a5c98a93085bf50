"""What the owner does every hour: day partitions ahead, retention by dropping them."""

from datetime import UTC, datetime, timedelta

from broadaxe.app.shared import Shared
from broadaxe.store.partitions import Partitions
from broadaxe.telemetry import names as T


class Chores:
    """The hourly work on partitions, with its spans and the metric of how far they reach."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._partitions = Partitions(shared.database)
        self._horizon: datetime | None = None
        shared.telemetry.metrics.observe(T.METRIC_PARTITION_HORIZON, self._seconds_ahead)

    def _seconds_ahead(self) -> list[tuple[float, tuple[()]]]:
        if self._horizon is None:
            return []
        return [((self._horizon - self._shared.clock.now()).total_seconds(), ())]

    async def make_partitions(self) -> None:
        """Make the days ahead that are missing. The span is kept only when it made some."""
        tracer = self._shared.telemetry.tracer
        began = self._shared.clock.now_ns()
        horizon = await self._partitions.ensure_partitions()
        self._horizon = horizon.until
        if horizon.made:
            tracer.emit(
                T.SPAN_MAINTAIN_PARTITIONS,
                tracer.new_root(),
                began,
                self._shared.clock.now_ns(),
                attrs=((T.ATTR_PARTITIONS_CREATED, len(horizon.made)),),
            )

    async def drop_old(self) -> None:
        """Drop the days that are past the retention, when retention is on."""
        settings = self._shared.settings
        if not settings.runtime.enable_data_retention:
            return
        kept = settings.limits.core_partition_retention or settings.limits.tenant_retention_period
        tracer = self._shared.telemetry.tracer
        began = self._shared.clock.now_ns()
        first = (self._shared.clock.now() - timedelta(seconds=kept)).astimezone(UTC).date()
        report = await self._partitions.drop_partitions_before(first)
        if report.dropped_days or report.rows_deleted:
            tracer.emit(
                T.SPAN_RETENTION,
                tracer.new_root(),
                began,
                self._shared.clock.now_ns(),
                attrs=(
                    (T.ATTR_PARTITIONS_DROPPED, len(report.dropped_days)),
                    (T.ATTR_ROWS_CHANGED, report.rows_deleted),
                ),
            )
