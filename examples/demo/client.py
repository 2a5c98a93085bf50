"""The demo's caller: runs each workflow once inside a span of its own and prints the results as JSON."""

import asyncio
import json

from opentelemetry import trace

from tracing import set_up
from workflows import Name, flaky, gather, greet


async def run_all() -> None:
    """Run the three workflows one after the other; one JSON line each."""
    tracer = trace.get_tracer("demo")
    jobs = {
        "greet": lambda: greet.aio_run(Name(value="Broadaxe")),
        "flaky": lambda: flaky.aio_run(),
        "gather": lambda: gather.aio_run(),
    }
    for name, job in jobs.items():
        with tracer.start_as_current_span(f"caller: {name}") as span:
            result = await job()
        trace_id = format(span.get_span_context().trace_id, "032x")
        print(json.dumps({"workflow": name, "result": result, "trace_id": trace_id}), flush=True)


def main() -> None:
    """Run, then let the exporter flush."""
    provider = set_up("demo-caller")
    trace.set_tracer_provider(provider)
    asyncio.run(run_all())
    provider.shutdown()


if __name__ == "__main__":
    main()
