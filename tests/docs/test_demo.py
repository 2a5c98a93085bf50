"""The demo, as `make demo` runs it, with engine and API server in one process and as two."""

import re
import sys
from pathlib import Path

import pytest

from broadaxe.testkit.process import ChildProcess
from tests.docs.pages import ROOT

pytestmark = pytest.mark.slow


async def demo(folder: Path, *flags: str) -> dict[str, str]:
    """What the demo drew, by workflow."""
    program = ROOT / "examples" / "demo" / "run.py"
    env = {"BROADAXE_DEMO_DIR": str(folder), "COLUMNS": "160"}
    async with await ChildProcess.start(sys.executable, program, "--once", *flags, env=env) as process:
        assert await process.wait(120) == 0, process.output()
        text = process.output("out")
    parts = re.split(r"^(greet over REST|greet|flaky|gather) -> ", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def services(drawing: str) -> set[str]:
    """Whose spans one trace holds."""
    (_, _, trace) = drawing.partition("trace ")
    return set(re.findall(r"(?:hatchet|demo)-\w+$|broadaxe$", trace, flags=re.MULTILINE))


async def test_demo_in_one_process(tmp_path: Path) -> None:
    drawn = await demo(tmp_path)
    assert set(drawn) == {"greet", "flaky", "gather"}
    for drawing in drawn.values():
        assert services(drawing) == {"demo-caller", "demo-worker", "broadaxe"}


async def test_demo_as_two_processes_is_one_trace_with_a_name_for_each(tmp_path: Path) -> None:
    drawn = await demo(tmp_path, "--apart")
    assert set(drawn) == {"greet", "flaky", "gather", "greet over REST"}
    for name in ("greet", "flaky", "gather"):
        assert services(drawn[name]) == {"demo-caller", "demo-worker", "hatchet-engine"}
    over_rest = drawn["greet over REST"]
    assert '{"greeting": "hello, REST"}' in over_rest
    assert over_rest.count("trace ") == 1
    assert services(over_rest) == {"demo-caller", "demo-worker", "hatchet-engine", "hatchet-api"}
