"""A tenant's numbers as Prometheus text, under the names that the engine's instruments have."""

from collections import Counter

from broadaxe.domain.ids import TenantId
from broadaxe.telemetry import names as T
from broadaxe.telemetry.prometheus import write_gauges
from broadaxe.views.model import FleetView
from broadaxe.views.statistics import Backed


def encode_metrics(tenant_id: TenantId, waiting: Backed, fleet: FleetView) -> bytes:
    """The gauges of one tenant."""
    tenant = {T.LABEL_TENANT_ID: str(tenant_id)}
    total = sum(slot.limit for slot in fleet.slots.values())
    free = sum(slot.available for slot in fleet.slots.values())
    sdks = Counter(
        (
            runtime.get("language", ""),
            runtime.get("sdk_version", ""),
            runtime.get("os", ""),
            runtime.get("language_version", ""),
        )
        for runtime in fleet.runtimes
    )
    keys = (T.LABEL_SDK_LANGUAGE, T.LABEL_SDK_VERSION, T.LABEL_SDK_OS, T.LABEL_SDK_LANGUAGE_VERSION)
    text = write_gauges(
        {
            T.METRIC_TENANT_QUEUE_DEPTH: [(waiting.queued, tenant)],
            T.METRIC_WORKERS_ACTIVE_COUNT: [(len(fleet.runtimes), tenant)],
            T.METRIC_WORKERS_TOTAL_SLOTS: [(total, tenant)],
            T.METRIC_WORKERS_AVAILABLE_SLOTS: [(free, tenant)],
            T.METRIC_WORKERS_ACTIVE_SLOTS: [(total - free, tenant)],
            T.METRIC_WORKERS_ACTIVE_SLOTS_BY_KEY: [
                (slot.limit - slot.available, {**tenant, T.LABEL_SLOT_KEY: kind})
                for kind, slot in sorted(fleet.slots.items())
            ],
            T.METRIC_WORKERS_ACTIVE_SDKS: [
                (count, {**tenant, **dict(zip(keys, sdk, strict=True))})
                for sdk, count in sdks.most_common(T.METRIC_WORKERS_ACTIVE_SDKS.series)
            ],
        }
    )
    return text.encode()
