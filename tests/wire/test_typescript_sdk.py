"""The official TypeScript SDK against the server: `typescript/checks.js` runs a worker and its client."""

from pathlib import Path
from typing import Any

import pytest
from npm import TYPESCRIPT_SDK, node_modules
from sdk_server import Served

from broadaxe.testkit.process import ChildProcess

CHECKS = Path(__file__).parent / "typescript" / "checks.js"
Answers = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def modules() -> Path:
    """The SDK's `node_modules`."""
    return node_modules(TYPESCRIPT_SDK)


@pytest.fixture(scope="module")
async def answers(server: Served, modules: Path) -> Answers:
    """What each check printed."""
    env = {**server.client_env, "NODE_PATH": str(modules)}
    async with await ChildProcess.start("node", CHECKS, env=env, name="typescript") as process:
        assert await process.wait(90) == 0, process.output()
        lines = [fields for line in process.lines if (fields := line.fields()) is not None]
    return {fields["check"]: fields for fields in lines if "check" in fields}


def value(answers: Answers, check: str) -> Any:
    """What a check found; its error fails the test."""
    assert "error" not in answers[check], answers[check]["error"]
    return answers[check]["value"]


def test_run_returns_output_and_metadata(answers: Answers) -> None:
    result = value(answers, "run")
    assert result["input"] == {"word": "naïve 日本 💥"}
    assert result["metadata"]["who"] == "me"
    assert result["retry"] == 0


def test_run_many_keeps_order(answers: Answers) -> None:
    assert [one["input"]["number"] for one in value(answers, "many")] == [1, 2, 3]


def test_task_that_fails_twice_succeeds(answers: Answers) -> None:
    assert value(answers, "retry") == {"retry": 2}


def test_non_retryable_failure_comes_back(answers: Answers) -> None:
    assert "never again: naïve 日本" in value(answers, "failure")


def test_parent_gathers_children_and_keys_are_one_child(answers: Answers) -> None:
    result = value(answers, "children")
    assert result["one"]["metadata"]["own"] == "child"
    assert result["one"]["metadata"]["from"] == "parent"
    assert [one["input"]["number"] for one in result["many"]] == [1, 2]
    assert [one["index"] for one in (result["one"], *result["many"])] == [0, 1, 2]
    assert result["same"]
    assert (result["keyed"]["key"], result["keyed"]["input"]) == ("same", {"number": 3})


def test_cancel_aborts_the_task(answers: Answers) -> None:
    assert value(answers, "cancel") == {"same": True, "aborted": True, "status": "CANCELLED"}


def test_execution_time_out_fails_the_run(answers: Answers) -> None:
    assert "exceeded timeout of 1s" in value(answers, "timeout")


def test_replay_runs_again_with_the_same_input(answers: Answers) -> None:
    result = value(answers, "replay")
    assert (result["retry"], result["input"]) == (1, {"word": "again"})


def test_stream_chunks_arrive_in_order(answers: Answers) -> None:
    assert value(answers, "stream") == "".join(f"{number};" for number in range(10))


def test_unknown_workflow_is_not_found_at_once(answers: Answers) -> None:
    assert "NOT_FOUND" in value(answers, "unknown")
    assert "ts-no-such-workflow" in value(answers, "unknown")
    assert answers["unknown"]["ms"] < 20_000


def test_durable_task_registers_and_its_trigger_is_unimplemented(answers: Answers) -> None:
    assert "UNIMPLEMENTED" in value(answers, "durable")
    assert answers["durable"]["ms"] < 20_000


def test_reads_over_rest(answers: Answers) -> None:
    assert value(answers, "reads") == {"status": "COMPLETED", "attempt": 3, "workers": ["ACTIVE"]}


def test_worker_stops_cleanly(answers: Answers) -> None:
    assert value(answers, "stopped")


def test_cron_and_planned_run(answers: Answers) -> None:
    result = value(answers, "schedules")
    assert result["crons"] == [["ts-cron", "0 0 1 1 *", {"by": "cron"}]]
    assert result["left"] == 0
    assert result["output"]["input"] == {"by": "plan"}


def test_an_event_starts_what_asks_for_it(answers: Answers) -> None:
    result = value(answers, "event")
    assert (result["input"], result["same"]) == ({"word": "naïve"}, True)
    assert result["metadata"]["a"] == "b"
    assert result["metadata"]["hatchet__event_key"] == "ts:it:made"


def test_dag_passes_outputs_and_honours_conditions(answers: Answers) -> None:
    result = value(answers, "dag")
    first = {"word": "naïve", "size": 5}
    assert result["output"]["first"] == first
    assert result["output"]["skipped"] == {"skipped": True}
    assert result["output"]["napped"]["size"] == 5
    assert result["output"]["last"] == {"first": first, "skipped": {"skipped": True}, "size": 5, "own": True}
    assert result["status"] == "COMPLETED"
    assert result["tasks"] == ["first", "last", "napped", "skipped"]


def test_dag_that_fails_runs_its_on_failure_task(answers: Answers) -> None:
    result = value(answers, "onFailure")
    assert "it broke: naïve 日本" in result["failure"]
    assert result["errors"].keys() == {"breaks"}
    assert "it broke: naïve 日本" in result["errors"]["breaks"]
    assert result["status"] == "FAILED"
    assert result["states"]["behind"] == "CANCELLED"
