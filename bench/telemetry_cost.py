"""What telemetry costs: CPU microseconds a span, on, off and unsampled, and a metric call. Prints a table.

`python bench/telemetry_cost.py` runs a receiver in a process of its own; only this process's CPU is counted.
"""

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial

import uvloop

from broadaxe.clock import SystemClock, SystemIds
from broadaxe.telemetry import names as T
from broadaxe.telemetry.context import TraceContext
from broadaxe.telemetry.receiver import Receiver
from broadaxe.telemetry.runtime import Telemetry, TelemetryOptions
from broadaxe.telemetry.sampler import Sampler
from broadaxe.telemetry.tracer import Tracer, current_span

PLACE = TraceContext(b"\x01" * 16, b"\x02" * 8, True)
ATTRIBUTES = (
    (T.ATTR_TENANT_ID, "00000000-0000-7000-8000-000000000001"),
    (T.ATTR_TASK_ID, "00000000-0000-7000-8000-000000000002"),
    (T.ATTR_ACTION_ID, "wf:step"),
    (T.ATTR_ATTEMPT, 0),
    (T.ATTR_QUEUE_NAME, "default"),
)


def cpu(work: Callable[[], object], count: int) -> float:
    """Least CPU of three rounds, in microseconds a call."""
    best = float("inf")
    for _ in range(3):
        began = time.process_time()
        for _ in range(count):
            work()
        best = min(best, time.process_time() - began)
    return best / count * 1e6


def call_sites(tracer: Tracer, place: TraceContext) -> dict[str, Callable[[], object]]:
    open_span = tracer.start(T.SPAN_ASSIGN, place)

    def whole() -> None:
        span = tracer.start(T.SPAN_ASSIGN, place)
        for attr, value in ATTRIBUTES:
            span.set(attr, value)
        span.end()

    def use() -> None:
        with tracer.use(open_span):
            current_span()

    return {
        "with use(span): current_span()": use,
        "start": lambda: tracer.start(T.SPAN_ASSIGN, place),
        "set": lambda: open_span.set(T.ATTR_ATTEMPT, 1),
        "emit, 5 attributes": lambda: tracer.emit(T.SPAN_ASSIGN, place, 1, 2, attrs=ATTRIBUTES),
        "start + 5 set + end": whole,
    }


def telemetry(target: str, ratio: float = 1.0, *, metrics: bool = False) -> Telemetry:
    options = TelemetryOptions(
        collector_url=target,
        insecure=True,
        ratio=ratio,
        prometheus_enabled=metrics,
        prometheus_address="127.0.0.1:0",
    )
    return Telemetry(options, SystemClock(), SystemIds())


async def paced(tracer: Tracer, rate: int, seconds: float) -> int:
    """Records spans at a steady rate; returns how many."""
    loop = asyncio.get_running_loop()
    first, per_tick = loop.time(), rate // 50
    for tick in range(int(seconds * 50)):
        for _ in range(per_tick):
            span = tracer.start(T.SPAN_ASSIGN, PLACE)
            for attr, value in ATTRIBUTES:
                span.set(attr, value)
            span.end()
        await asyncio.sleep(max(0.0, first + (tick + 1) / 50 - loop.time()))
    return int(seconds * 50) * per_tick


async def exported(target: str, rate: int, seconds: float) -> tuple[float, float]:
    """CPU that tracing adds for a span recorded, encoded, sent and answered; and the share that arrived.

    The same pace with tracing off is taken away, since waking up 50 times a second costs more than the spans.
    """
    off = telemetry("")
    began = time.process_time()
    await paced(off.tracer, rate, seconds)
    idle = time.process_time() - began
    one = telemetry(target)
    await one.start()
    one.tracer.emit(T.SPAN_ASSIGN, PLACE, 1, 2)
    await one.flush(5)
    began = time.process_time()
    count = await paced(one.tracer, rate, seconds)
    await one.flush(10)
    used = time.process_time() - began - idle
    stats = one.stats()
    await one.shutdown(2)
    return used / count * 1e6, stats.exported / stats.created


async def measure(target: str) -> None:
    print(f"{'CPU in us a call':<40}{'on':>9}{'unsampled':>11}{'off':>9}")
    dark = TraceContext(PLACE.trace_id, PLACE.span_id, False)
    recorder = Tracer(SystemClock(), SystemIds(), lambda span: None, Sampler(1.0))
    sites = call_sites(recorder, PLACE)
    columns = [sites, call_sites(recorder, dark), call_sites(telemetry("").tracer, PLACE)]
    for name in sites:
        print(f"{name:<40}" + "  ".join(f"{cpu(one[name], 30_000):>9.2f}" for one in columns))
    for rate in (4_000, 20_000):
        used, share = await exported(target, rate, 3.0)
        print(f"recorded + exported at {rate:>6}/s{'':<10}{used:>8.2f}   arrived {share:.1%}")
    measurements()


def measurements() -> None:
    """What counting and measuring cost, and what a collection costs that shows it all."""
    on, off = telemetry("", metrics=True), telemetry("")
    outcome = ((T.LABEL_OUTCOME, "completed"),)
    call = (
        (T.LABEL_RPC_SYSTEM, "grpc"),
        (T.LABEL_RPC_METHOD, "Dispatcher/SendStepActionEvent"),
        (T.LABEL_RPC_GRPC_STATUS_CODE, 0),
    )

    def show(name: str, work: Callable[[], object], count: int = 50_000) -> None:
        print(f"{name:<40}{cpu(work, count):>9.2f}")

    for state, metrics in (("on", on.metrics), ("off", off.metrics)):
        add, record = metrics.add, metrics.record
        show(f"metrics {state}: a measurement, add", partial(add, T.METRIC_TASKS_FINISHED, 1, outcome))
        show(f"metrics {state}: a measurement, record", partial(record, T.METRIC_QUEUE_WAIT, 0.1))
        show(f"the same with three labels, {state}", partial(record, T.METRIC_RPC_SERVER_DURATION, 0.1, call))
    for number in range(T.LABEL_RPC_METHOD.cardinality):
        on.metrics.record(T.METRIC_RPC_SERVER_DURATION, 0.1, ((T.LABEL_RPC_METHOD, f"a/{number}"),))
    show(f"the page of {on.metrics.series} series", on.scrape, 20)


async def receive() -> None:
    receiver = Receiver(keep=1000)
    print(await receiver.start(), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await receiver.stop()


def main() -> None:
    if sys.argv[1:] == ["receive"]:
        uvloop.run(receive())
        return
    with subprocess.Popen(
        [sys.executable, __file__, "receive"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        uvloop.run(measure(f"127.0.0.1:{int(process.stdout.readline())}"))
        process.communicate()


if __name__ == "__main__":
    main()
