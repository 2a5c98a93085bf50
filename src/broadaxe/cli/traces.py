"""`broadaxe traces tail`: a small OTLP receiver that draws traces as they arrive."""

import asyncio
from typing import Annotated

import typer

from broadaxe.cli.output import console
from broadaxe.domain.errors import Unavailable

app = typer.Typer(no_args_is_help=True, help="Look at traces without a collector.")


@app.command("tail")
def tail(
    port: Annotated[int, typer.Option(min=0, max=65535, help="OTLP/gRPC port; 0 = any free one.")] = 4317,
    bind: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    quiet: Annotated[
        float, typer.Option(min=0.0, help="Draw a trace when it got nothing new for so many seconds.")
    ] = 2.0,
    count: Annotated[int, typer.Option(min=0, help="End after so many traces; 0 = never.")] = 0,
) -> None:
    """Listen for OTLP and draw each trace as a tree."""
    asyncio.run(_tail(bind, port, quiet, count))


async def _tail(bind: str, port: int, quiet: float, count: int) -> None:
    from broadaxe.clock import SystemClock
    from broadaxe.telemetry.gather import TraceGatherer
    from broadaxe.telemetry.receiver import Receiver
    from broadaxe.telemetry.render import render_trace

    gatherer = TraceGatherer(SystemClock())
    receiver = Receiver(bind, port, on_spans=gatherer.add)
    try:
        await receiver.start()
    except RuntimeError as error:
        raise Unavailable(f"cannot listen on {bind}:{port}: {error}") from None
    console.print(f"listening; set SERVER_OTEL_COLLECTOR_URL={receiver.target} and SERVER_OTEL_INSECURE=true")
    drawn = 0
    try:
        async for spans in gatherer.traces(quiet):
            console.print(render_trace(spans))
            drawn += 1
            if drawn == count:
                return
    finally:
        await receiver.stop()
