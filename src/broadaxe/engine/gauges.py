"""What the instruments ask for when they are read: depths, slots, sessions, workers."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable

from broadaxe.clock import Clock
from broadaxe.engine.context import Labels, Meter
from broadaxe.engine.scheduler.memory import Memory
from broadaxe.engine.schedules.book import Book
from broadaxe.telemetry import names as T

Observations = list[tuple[float, Labels]]


class Gauges:
    """Answers from memory as it is at that moment."""

    def __init__(
        self,
        meter: Meter,
        clock: Clock,
        memory: Memory,
        epochs: Callable[[], list[tuple[int, int]]],
        book: Book,
    ) -> None:
        self._clock = clock
        self._memory = memory
        self._epochs = epochs
        self._book = book
        meter.observe(T.METRIC_SCHEDULES_PLANNED, self._planned)
        meter.observe(T.METRIC_QUEUE_DEPTH, self._depth)
        meter.observe(T.METRIC_TENANT_QUEUE_DEPTH, self._tenant_depth)
        meter.observe(T.METRIC_QUEUE_OLDEST, self._oldest)
        meter.observe(T.METRIC_RUNS_ACTIVE, self._active)
        meter.observe(T.METRIC_WORKER_SLOTS, self._slots)
        meter.observe(T.METRIC_WORKERS_ACTIVE_SLOTS, self._used)
        meter.observe(T.METRIC_WORKERS_ACTIVE_SLOTS_BY_KEY, self._used_by_key)
        meter.observe(T.METRIC_WORKERS_AVAILABLE_SLOTS, self._free)
        meter.observe(T.METRIC_WORKERS_TOTAL_SLOTS, self._total)
        meter.observe(T.METRIC_WORKERS_ACTIVE_COUNT, self._workers)
        meter.observe(T.METRIC_WORKERS_ACTIVE_SDKS, self._sdks)
        meter.observe(T.METRIC_LEASE_EPOCH, self._lease)

    def _depth(self) -> Observations:
        by_action: Counter[str] = Counter()
        for queue in self._memory.queues.values():
            by_action[queue.action] += queue.size
        return [(count, ((T.LABEL_QUEUE, action),)) for action, count in by_action.items()]

    def _tenant_depth(self) -> Observations:
        by_tenant: Counter[str] = Counter()
        for queue in self._memory.queues.values():
            by_tenant[str(queue.tenant_id)] += queue.size
        return _by_tenant(by_tenant.items())

    def _oldest(self) -> Observations:
        queued = [live.status.queued_at for queue in self._memory.queues.values() for live in queue.waiting()]
        age = (self._clock.now() - min(queued)).total_seconds() if queued else 0.0
        return [(max(0.0, age), ())]

    def _planned(self) -> Observations:
        crons = self._book.crons
        return [
            (crons, ((T.LABEL_KIND, "cron"),)),
            (len(self._book) - crons, ((T.LABEL_KIND, "scheduled"),)),
        ]

    def _active(self) -> Observations:
        return [(len(self._memory.tasks), ())]

    def _slots(self) -> Observations:
        used = sum(sum(worker.used.values()) for worker in self._memory.workers.values())
        total = sum(
            sum(worker.row.slots.values()) for worker in self._memory.workers.values() if worker.sessions
        )
        return [
            (used, ((T.LABEL_STATE, "used"),)),
            (max(0, total - used), ((T.LABEL_STATE, "available"),)),
        ]

    def _used(self) -> Observations:
        by_tenant: Counter[str] = Counter()
        for worker in self._memory.workers.values():
            by_tenant[str(worker.row.tenant_id)] += sum(worker.used.values())
        return _by_tenant(by_tenant.items())

    def _used_by_key(self) -> Observations:
        by_key: Counter[tuple[str, str]] = Counter()
        for worker in self._memory.workers.values():
            for kind, units in worker.used.items():
                by_key[(str(worker.row.tenant_id), kind)] += units
        return [
            (units, ((T.LABEL_TENANT_ID, tenant), (T.LABEL_SLOT_KEY, kind)))
            for (tenant, kind), units in by_key.items()
        ]

    def _free(self) -> Observations:
        by_tenant: Counter[str] = Counter()
        for worker in self._memory.workers.values():
            if worker.sessions:
                by_tenant[str(worker.row.tenant_id)] += sum(max(0, n) for n in worker.free_units().values())
        return _by_tenant(by_tenant.items())

    def _total(self) -> Observations:
        by_tenant: Counter[str] = Counter()
        for worker in self._memory.workers.values():
            if worker.sessions:
                by_tenant[str(worker.row.tenant_id)] += sum(worker.row.slots.values())
        return _by_tenant(by_tenant.items())

    def _workers(self) -> Observations:
        by_tenant: Counter[str] = Counter()
        for worker in self._memory.workers.values():
            by_tenant[str(worker.row.tenant_id)] += 1 if worker.sessions else 0
        return _by_tenant(by_tenant.items())

    def _sdks(self) -> Observations:
        by_sdk: defaultdict[Labels, int] = defaultdict(int)
        for worker in self._memory.workers.values():
            if worker.sessions:
                runtime = worker.row.runtime
                labels: Labels = (
                    (T.LABEL_TENANT_ID, str(worker.row.tenant_id)),
                    (T.LABEL_SDK_LANGUAGE, runtime.get("language", "")),
                    (T.LABEL_SDK_VERSION, runtime.get("sdk_version", "")),
                    (T.LABEL_SDK_OS, runtime.get("os", "")),
                    (T.LABEL_SDK_LANGUAGE_VERSION, runtime.get("language_version", "")),
                )
                by_sdk[labels] += 1
        return [(count, labels) for labels, count in by_sdk.items()]

    def _lease(self) -> Observations:
        return [(epoch, ((T.LABEL_PARTITION, str(partition)),)) for partition, epoch in self._epochs()]


def _by_tenant(counts: Iterable[tuple[str, int]]) -> Observations:
    return [(count, ((T.LABEL_TENANT_ID, tenant),)) for tenant, count in counts]
