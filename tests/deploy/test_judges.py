"""Where a judge cannot be had, a test is told why."""

from pathlib import Path

import pytest

from tests.judges import JUDGES, NotHere, find


@pytest.mark.parametrize("name", JUDGES)
@pytest.mark.parametrize(
    ("build", "reason"), [(True, "the Go toolchain is not here"), (False, "`make judges` builds it")]
)
def test_judge_that_is_not_here_gives_the_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, build: bool, reason: str
) -> None:
    monkeypatch.setenv("BROADAXE_JUDGES", str(tmp_path))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(NotHere, match=reason):
        find(name, build=build)
