"""The official Go SDK against the server: `go/checks.go` runs a worker and its client."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from sdk_server import Served

from broadaxe.testkit.process import ChildProcess

pytestmark = pytest.mark.slow  # the first build of all

SOURCE = Path(__file__).parent / "go"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "broadaxe-tests"
Answers = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def program() -> Path:
    """The checks, built once for each state of their source."""
    go = shutil.which("go")
    if go is None:
        pytest.skip("the Go toolchain is not here, which the Go SDK needs")
    digest = hashlib.sha256()
    for name in ("checks.go", "go.mod", "go.sum"):
        digest.update((SOURCE / name).read_bytes())
    binary = CACHE / f"go-checks-{digest.hexdigest()[:16]}"
    if not binary.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        fresh = binary.with_suffix(f".{os.getpid()}")
        command = [go, "build", "-buildvcs=false", "-ldflags=-s -w", "-o", fresh, "."]
        built = subprocess.run(command, cwd=SOURCE, capture_output=True, text=True, check=False, timeout=900)
        if built.returncode != 0:
            pytest.skip(f"the Go SDK could not be built: {built.stderr[-300:]}")
        fresh.rename(binary)
    return binary


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


def test_unknown_workflow_is_not_found(answers: Answers) -> None:
    assert "NotFound" in value(answers, "unknown")
    assert "go-no-such-workflow" in value(answers, "unknown")


def test_durable_task_registers_and_its_trigger_is_unimplemented(answers: Answers) -> None:
    assert "Unimplemented" in value(answers, "durable")


def test_worker_stops_cleanly(answers: Answers) -> None:
    assert value(answers, "stopped")
