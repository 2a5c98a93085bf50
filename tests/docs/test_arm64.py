"""`make arm64` where its tools are missing: a reason, and nothing done."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.docs.pages import ROOT

SCRIPT = ROOT / "scripts" / "arm64.sh"


@pytest.mark.skipif(os.geteuid() != 0, reason="another reason comes first where the user is not root")
@pytest.mark.parametrize(("missing", "package"), [("debootstrap", "debootstrap"), ("bwrap", "bubblewrap")])
def test_without_a_tool_it_says_which_package_has_it(tmp_path: Path, missing: str, package: str) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("bash", "dirname", "id", "uname", "grep"):
        program = shutil.which(name)
        assert program is not None
        (programs / name).symlink_to(program)
    for name in {"debootstrap", "bwrap"} - {missing}:
        (programs / name).symlink_to("/bin/false")
    environment = {"PATH": str(programs), "HOME": str(tmp_path), "BROADAXE_ARM64": str(tmp_path / "arm64")}
    done = subprocess.run(
        ["/usr/bin/env", "bash", str(SCRIPT)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"skipped: there is no {missing}")
    assert package in done.stdout
    assert not (tmp_path / "arm64").exists()
