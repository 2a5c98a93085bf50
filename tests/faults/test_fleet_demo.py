"""The demo's workflows with the official SDK on engines whose parts are processes of their own."""

import json
import sys
from pathlib import Path

from broadaxe.testkit.collector import Collector
from broadaxe.testkit.process import ChildProcess
from broadaxe.testkit.trace_assert import Forest, Rules
from tests.faults import fleet
from tests.faults.conftest import NewCluster

DEMO = Path(__file__).resolve().parents[2] / "examples" / "demo"
SERVICES = ("scheduler", "controllers", "grpc-api", "grpc-api")


async def test_demo_with_worker_and_caller_at_different_engines_and_a_scheduler_apart(
    new_cluster: NewCluster,
) -> None:
    async with Collector() as collector:
        cluster = await new_cluster(
            SERVER_OTEL_COLLECTOR_URL=collector.target,
            SERVER_OTEL_INSECURE="true",
            SERVER_TENANT_PARTITIONS="2",
        )
        members = [await fleet.start(cluster, SERVER_SERVICES=services) for services in SERVICES]
        *_, first, second = members
        env = cluster.client_env | {
            "DEMO_COLLECTOR": collector.target,
            "GRPC_ENABLE_FORK_SUPPORT": "0",
            "PYTHONUNBUFFERED": "1",
        }
        at_first = env | {"HATCHET_CLIENT_HOST_PORT": first.address}
        at_second = env | {"HATCHET_CLIENT_HOST_PORT": second.address}
        worker = await ChildProcess.start(sys.executable, DEMO / "worker.py", env=at_first, cwd=DEMO)
        async with worker:
            await cluster.until_value(
                "SELECT count(*) FROM worker WHERE listening_since IS NOT NULL", 1, 40.0
            )
            caller = await ChildProcess.start(sys.executable, DEMO / "client.py", env=at_second, cwd=DEMO)
            async with caller:
                assert await caller.wait(60.0) == 0, caller.output()
                lines = [json.loads(line) for line in caller.output("out").splitlines()]
            assert {line["workflow"]: line["result"] for line in lines} == {
                "greet": {"greeting": "hello, Broadaxe"},
                "flaky": {"succeeded_on_attempt": 2},
                "gather": {"children": 20, "sum_of_squares": 2470},
            }
            await cluster.until_settled(20)
        states = "SELECT state, count(*) FROM task GROUP BY state"
        assert [tuple(row) for row in await cluster.fetch(states)] == [(10, 23)]
        for member in members:
            assert await member.process.stop() == 0
        forest = Forest(collector.spans)
        ours = Rules(services=frozenset({"server"}), one_root=False, repeated=True)
        orphans = [text for text in forest.problems(ours) if "orphan" in text]
        assert not orphans, "\n".join(orphans[:20])
        runs = {span.trace_id for span in collector.spans if span.name == "hatchet.run/bus-message"}
        assert {line["trace_id"] for line in lines} <= runs, "messages belong to the run's trace"
