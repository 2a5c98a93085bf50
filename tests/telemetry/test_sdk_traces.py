"""The official SDK, unmodified, as caller and worker: their spans and the server's are one trace a run."""

import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from broadaxe.telemetry.receiver import ReceivedSpan
from broadaxe.testkit.conditions import until
from broadaxe.testkit.database import Databases
from broadaxe.testkit.process import ChildProcess
from broadaxe.testkit.trace_assert import Forest
from tests.telemetry.stage import PREFIX, Stage, staged, whole_rules

DEMO = Path(__file__).resolve().parents[2] / "examples" / "demo"
CHILDREN = 20
CALM = {"SERVER_STARTED_COMMIT_DELAY": "5s"}
"""The report of a start rides on that of the end, however slow this machine is."""


class SdkRuns:
    """What the demo's caller printed, and the stopped stage."""

    def __init__(self, stage: Stage, jobs: dict[str, dict[str, object]]) -> None:
        self.stage = stage
        self.jobs = jobs

    def spans(self, workflow: str) -> list[ReceivedSpan]:
        return self.stage.trace(str(self.jobs[workflow]["trace_id"]))


@pytest.fixture(scope="module")
async def sdk(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SdkRuns]:
    async with staged(databases, tmp_path_factory.mktemp("sdk"), **CALM) as stage:
        await stage.cluster.start("server")
        env = {
            **stage.cluster.client_env,
            "DEMO_COLLECTOR": stage.collector.target,
            "PYTHONUNBUFFERED": "1",
        }
        async with await ChildProcess.start(sys.executable, DEMO / "worker.py", env=env, cwd=DEMO) as worker:

            async def listens() -> bool:
                metrics = await stage.cluster.metrics()
                return any("active_workers" in key and value for key, value in metrics.items())

            await until(listens, "the worker's session", 30, period=0.1)
            client = await ChildProcess.start(sys.executable, DEMO / "client.py", env=env, cwd=DEMO)
            assert await client.wait(60) == 0, client.output()
            jobs = [json.loads(line) for line in client.output("out").splitlines() if line.startswith("{")]
            await worker.stop(20)
        await stage.stop_all()
        yield SdkRuns(stage, {str(job["workflow"]): job for job in jobs})


@pytest.mark.parametrize("workflow", ["greet", "flaky", "gather"])
def test_sdk_run_is_one_trace_of_caller_server_and_worker(sdk: SdkRuns, workflow: str) -> None:
    spans = sdk.spans(workflow)
    forest = Forest(spans)
    (root,) = [span for span in spans if not span.parent_id]
    assert root.name == f"caller: {workflow}"
    assert {span.service for span in spans} == {"demo-caller", "server", "demo-worker"}
    assert not [span.name for span in spans if span.parent_id and forest.parent(span) is None]
    attempts = [span for span in spans if span.name == PREFIX + "attempt"]
    runs = [span for span in spans if span.name == PREFIX + "run"]
    assert len(runs) == (CHILDREN + 1 if workflow == "gather" else 1)
    assert len(attempts) == {"greet": 1, "flaky": 3, "gather": CHILDREN + 1}[workflow]
    # The worker's own span of each attempt hangs below that attempt.
    steps = [span for span in spans if span.name == "hatchet.start_step_run"]
    assert sorted(span.parent_id for span in steps) == sorted(span.span_id for span in attempts)
    assert {span.service for span in steps} == {"demo-worker"}


def test_sdk_simple_run_stays_within_the_budget(sdk: SdkRuns) -> None:
    ours = [span for span in sdk.spans("greet") if span.service == "server"]
    # The SDK sometimes asks for a result on two streams, and gets it on both.
    delivered = [span for span in ours if span.name == PREFIX + "deliver-result"]
    assert len(ours) - len(delivered) + 1 <= 20, Forest(sdk.spans("greet")).draw(ours[0].trace_id)


def test_sdk_children_hang_below_what_the_worker_did(sdk: SdkRuns) -> None:
    forest = Forest(sdk.spans("gather"))
    child = next(
        span for span in forest.spans if span.name == PREFIX + "run"
        and span.attributes[PREFIX + "workflow.name"] == "square"
    )  # fmt: skip
    path = forest.path(child)
    assert path[:4] == ("caller: gather", "hatchet.run_workflow", PREFIX + "run", PREFIX + "attempt")
    assert "hatchet.start_step_run" in path


def test_sdk_everything_ours_is_whole(sdk: SdkRuns) -> None:
    Forest(sdk.stage.collector.spans).check(whole_rules())
