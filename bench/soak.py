"""Many connections for a long time: does the lean transport's memory stay where it is?

`python -m bench.soak` starts a server in a process of its own and loads it lightly: calls that are answered
at once, calls that wait, streams, calls that are cancelled, requests in many frames, and connections that go
and come back. It prints the server's memory now and then, and at the end whether it grew: a line is fitted
through the last two thirds of the run. Exit code 1 when it rises by more than is allowed.
"""

import argparse
import asyncio
import json
import random
import sys
import time
from collections.abc import Sequence

import uvloop

from bench.http2_load import Client
from bench.transport import ANSWERED, COMMITTED, FIELDS, IDENTIFIER, STREAM, running
from broadaxe.grpc_api.wire import dispatcher_pb2 as dispatcher

SAMPLE_PERIOD = 5.0
_EVENT = dispatcher.StepActionEvent(worker_id=IDENTIFIER, event_payload="x" * 300).SerializeToString()
_LARGE = dispatcher.StepActionEvent(worker_id=IDENTIFIER, event_payload="x" * 100_000).SerializeToString()
_BEAT = dispatcher.HeartbeatRequest(worker_id=IDENTIFIER).SerializeToString()
_LISTEN = dispatcher.WorkerListenRequest(worker_id="20").SerializeToString()


class Soak:
    """The clients."""

    def __init__(self, port: int, options: argparse.Namespace) -> None:
        self._port = port
        self._period = options.connections / options.rate
        self._end = time.monotonic() + options.minutes * 60
        self._chance = random.Random(options.seed)
        self.calls = 0
        self.reconnects = 0

    async def client(self, number: int) -> None:
        """One connection after the other; on each a few hundred calls, one in each period."""
        await asyncio.sleep(self._period * self._chance.random())
        while time.monotonic() < self._end:
            connection = await Client.connect(self._port, None)
            for _ in range(self._chance.randint(200, 600)):
                if time.monotonic() >= self._end:
                    break
                await asyncio.gather(self._call(connection), asyncio.sleep(self._period))
            connection.close()
            self.reconnects += 1

    async def _call(self, connection: Client) -> None:
        kind = self._chance.random()
        self.calls += 1
        if kind < 0.5:
            await connection.call(ANSWERED, FIELDS, _EVENT)
        elif kind < 0.75:
            await connection.call(COMMITTED, FIELDS, _BEAT)
        elif kind < 0.85:
            await connection.call(STREAM, FIELDS, _LISTEN)
        elif kind < 0.9:
            await connection.call(ANSWERED, (*FIELDS, ("x-run", str(self.calls))), _LARGE)
        else:
            connection.call(COMMITTED, FIELDS, _BEAT)
            connection.cancel_last()


def slope(samples: Sequence[tuple[float, float]]) -> float:
    """Of the line that fits best, in units of the second value a unit of the first."""
    count = len(samples)
    mean_x = sum(x for x, _ in samples) / count
    mean_y = sum(y for _, y in samples) / count
    spread = sum((x - mean_x) ** 2 for x, _ in samples)
    return sum((x - mean_x) * (y - mean_y) for x, y in samples) / spread if spread else 0.0


async def run(options: argparse.Namespace) -> dict[str, object]:
    """Load, watch, tell."""
    async with running("lean", None) as (child, port):
        soak = Soak(port, options)
        began = time.monotonic()
        clients = [asyncio.create_task(soak.client(number)) for number in range(options.connections)]
        samples: list[tuple[float, float]] = []
        gathered = asyncio.gather(*clients)
        while not gathered.done():
            await asyncio.wait([gathered], timeout=SAMPLE_PERIOD)
            minutes = (time.monotonic() - began) / 60
            samples.append((minutes, child.usage().rss_bytes / 1e6))
            if len(samples) % options.print_every == 0:
                print(
                    f"{minutes:6.2f} min {samples[-1][1]:8.2f} MB {soak.calls} calls",
                    file=sys.stderr,
                    flush=True,
                )
        await gathered
        cpu = child.usage().cpu_seconds
    late = samples[len(samples) // 3 :]
    growth = slope(late) * (late[-1][0] - late[0][0])
    return {
        "minutes": round(samples[-1][0], 1),
        "connections": options.connections,
        "calls": soak.calls,
        "reconnects": soak.reconnects,
        "server_cpu_us_per_call": round(cpu / max(1, soak.calls) * 1e6, 1),
        "memory_mb": {
            "first": round(samples[0][1], 2),
            "after_a_third": round(late[0][1], 2),
            "last": round(samples[-1][1], 2),
            "most": round(max(value for _, value in samples), 2),
        },
        "growth_mb_in_the_last_two_thirds": round(growth, 3),
        "curve_mb": [round(value, 1) for _, value in samples[:: max(1, len(samples) // 60)]],
        "flat": growth <= options.allowed,
    }


def main() -> None:
    """Print the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--connections", type=int, default=200)
    parser.add_argument("--rate", type=float, default=400.0, help="calls a second, of all connections")
    parser.add_argument("--allowed", type=float, default=1.0, help="MB of growth in the last two thirds")
    parser.add_argument("--print-every", type=int, default=6, help=f"samples, of {SAMPLE_PERIOD:g} s each")
    parser.add_argument("--seed", type=int, default=1)
    result = uvloop.run(run(parser.parse_args()))
    print(json.dumps(result), flush=True)
    raise SystemExit(0 if result["flat"] else 1)


if __name__ == "__main__":
    main()
