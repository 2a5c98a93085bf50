"""The demo's caller: runs each workflow once inside a span of its own and prints the results as JSON."""

import asyncio
import base64
import json
import os
import time
import urllib.request
from collections.abc import Awaitable, Callable
from typing import Any

from opentelemetry import trace
from opentelemetry.propagate import inject

from tracing import set_up
from workflows import Name, flaky, gather, greet


async def call(method: str, path: str, body: object = None) -> dict[str, Any]:
    """A call of the REST API; one that changes something is told which span it belongs to."""
    token = os.environ["HATCHET_CLIENT_TOKEN"]
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    if body is not None:
        inject(headers)
    request = urllib.request.Request(
        os.environ["HATCHET_CLIENT_SERVER_URL"] + path,
        method=method,
        headers=headers,
        data=None if body is None else json.dumps(body).encode(),
    )
    with await asyncio.to_thread(urllib.request.urlopen, request, timeout=10) as answer:
        found: dict[str, Any] = json.load(answer)
        return found


async def over_rest(workflow: str, given: object) -> object:
    """Start a run over REST, and wait for its end."""
    claims = os.environ["HATCHET_CLIENT_TOKEN"].split(".")[1]
    tenant = json.loads(base64.urlsafe_b64decode(claims + "=="))["sub"]
    body = {"workflowName": workflow, "input": given}
    started = await call("POST", f"/api/v1/stable/tenants/{tenant}/workflow-runs/trigger", body)
    run = started["run"]["metadata"]["id"]
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        found = (await call("GET", f"/api/v1/stable/workflow-runs/{run}"))["run"]
        if found["status"] in ("COMPLETED", "FAILED", "CANCELLED"):
            return found["output"]
        await asyncio.sleep(0.05)
    raise SystemExit(f"the run {run} did not end")


async def run_all() -> None:
    """Run the three workflows one after the other; one JSON line each."""
    tracer = trace.get_tracer("demo")
    jobs: dict[str, Callable[[], Awaitable[object]]] = {
        "greet": lambda: greet.aio_run(Name(value="Broadaxe")),
        "flaky": lambda: flaky.aio_run(),
        "gather": lambda: gather.aio_run(),
    }
    if os.environ.get("DEMO_OVER_REST"):
        jobs["greet over REST"] = lambda: over_rest("greet", {"value": "REST"})
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
