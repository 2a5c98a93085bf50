"""The official Go SDK against the server: `go/checks.go` runs a worker and its client."""

from pathlib import Path
from typing import Any

import pytest
from sdk_server import Served

from broadaxe.testkit.process import ChildProcess
from tests.judges import NotHere, find

pytestmark = pytest.mark.slow  # the first build of all

Answers = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def program() -> Path:
    """The checks, built once for each state of their source."""
    try:
        return find("go-sdk-checks", build=True)
    except NotHere as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="module")
async def answers(server: Served, program: Path) -> Answers:
    """What each check printed."""
    async with await ChildProcess.start(program, env=server.client_env, name="go") as process:
        assert await process.wait(60) == 0, process.output()
        lines = [fields for line in process.lines if (fields := line.fields()) is not None]
    return {fields["check"]: fields for fields in lines if "check" in fields}


def value(answers: Answers, check: str) -> Any:
    """What a check found; its error fails the test."""
    assert "error" not in answers[check], answers[check]["error"]
    return answers[check]["value"]


def test_run_returns_output_and_metadata(answers: Answers) -> None:
    result = value(answers, "run")
    assert (result["input"], result["retry"]) == ({"text": "naïve 日本 💥"}, 0)
    assert result["metadata"]["who"] == "me"


def test_task_that_fails_twice_succeeds(answers: Answers) -> None:
    assert value(answers, "retry")["retry"] == 2


def test_non_retryable_failure_comes_back(answers: Answers) -> None:
    assert "never again: naïve 日本" in value(answers, "failure")


def test_parent_gathers_children_and_keys_are_one_child(answers: Answers) -> None:
    assert value(answers, "children") == {"texts": ["one", "two"], "same": True}


def test_cancel_ends_the_context(answers: Answers) -> None:
    assert value(answers, "cancel") == {"same": True, "cancelled": True, "status": "CANCELLED"}


def test_replay_runs_again(answers: Answers) -> None:
    assert value(answers, "replay") == {"status": "COMPLETED", "retry": 1}


def test_stream_chunks_arrive_in_order(answers: Answers) -> None:
    assert value(answers, "stream") == "".join(f"{number};" for number in range(10))


def test_dag_passes_outputs_and_honours_conditions(answers: Answers) -> None:
    assert value(answers, "dag") == {"first": {"text": "one!"}, "last": {"text": "one!", "skipped": True}}


def test_unknown_workflow_is_not_found(answers: Answers) -> None:
    assert "NotFound" in value(answers, "unknown")
    assert "go-no-such-workflow" in value(answers, "unknown")


def test_durable_task_registers_and_its_trigger_is_unimplemented(answers: Answers) -> None:
    assert "Unimplemented" in value(answers, "durable")


def test_worker_stops_cleanly(answers: Answers) -> None:
    assert value(answers, "stopped")
