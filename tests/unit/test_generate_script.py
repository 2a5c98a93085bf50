"""`make docs`: what is stale is named, and written anew."""

import runpy
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "generate.py"


def test_check_stale_page_fails_until_it_is_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main = runpy.run_path(str(SCRIPT))["main"]
    docs, deploy = tmp_path / "docs", tmp_path / "deploy"
    (docs / "architecture").mkdir(parents=True)
    deploy.mkdir()
    (deploy / "generate.py").touch()
    # The modules' own generators write into their rooms.
    monkeypatch.setitem(main.__globals__, "DOCS", docs)
    monkeypatch.setitem(main.__globals__, "MODULES", ())
    monkeypatch.setattr(sys, "argv", ["generate.py", "--check"])
    assert main() == 1
    told = capsys.readouterr().err
    for page in ("openapi.json", "telemetry.md", "configuration.md", "task-states.md"):
        assert f"{page} is stale: run `make docs`" in told
    monkeypatch.setattr(sys, "argv", ["generate.py"])
    assert main() == 0
    monkeypatch.setattr(sys, "argv", ["generate.py", "--check"])
    assert main() == 0
