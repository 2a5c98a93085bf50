"""One page's commands, run in order by a shell in a folder of their own."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from broadaxe.store.embedded.binaries import find as postgres_programs
from broadaxe.testkit.conditions import until
from broadaxe.testkit.ports import free_port
from tests.docs.pages import ROOT, Block, blocks
from tests.docs.shim import CHECKED, REAL, running

SHIM = Path(__file__).with_name("shim.py")
LIMIT = 240.0
"""Seconds for a whole page."""


def ports() -> dict[str, str]:
    """Free ports in the place of the usual ones, which this machine may need otherwise."""
    names = ("SERVER_GRPC_PORT", "SERVER_PORT", "SERVER_HEALTHCHECK_PORT")
    return {name: str(free_port()) for name in names}


@dataclass
class Session:
    """A page's folder, and what its commands started."""

    folder: Path
    environment: Mapping[str, str]

    @property
    def state(self) -> Path:
        """What the stand-ins wrote down."""
        return self.folder / ".state"

    @property
    def started(self) -> list[dict[str, Any]]:
        """What was left running, oldest first."""
        file = self.state / "pids"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    @property
    def checked(self) -> list[str]:
        """Commands that were not run but checked."""
        file = self.state / "calls"
        return file.read_text().splitlines() if file.exists() else []

    async def run(self, page: Path, replaced: Mapping[str, str]) -> str:
        """Run the page's commands; what they printed. AssertionError with it when one fails."""
        self._lay_out(blocks(page))
        script = ["set -euo pipefail"]
        for block in blocks(page):
            if block.language == "sh":
                script += [f"echo '== {block.place}'", block.text]
        text = "\n".join(script)
        for there, here in replaced.items():
            text = text.replace(there, here)
        process = await asyncio.create_subprocess_exec(
            "/usr/bin/env",
            "bash",
            "-c",
            text,
            cwd=self.folder,
            env=self._environment(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(LIMIT):
                told, _ = await process.communicate()
        except TimeoutError:
            os.killpg(process.pid, signal.SIGKILL)
            raise AssertionError(f"{page.name} took longer than {LIMIT:g} s") from None
        assert process.returncode == 0, f"exit code {process.returncode}:\n{told.decode()[-6000:]}"
        return told.decode()

    def _lay_out(self, found: Sequence[Block] | Any) -> None:
        """Files that the page shows, stand-ins, and the checkout's own folders."""
        self.state.mkdir(exist_ok=True)
        for block in found:
            if block.file is not None:
                (self.folder / block.file).write_text(block.text)
                if block.language == "yaml":
                    yaml.safe_load(block.text)
        programs = self.state / "bin"
        programs.mkdir(exist_ok=True)
        for name in (*REAL, *CHECKED):
            program = programs / name
            program.write_text(f'#!/bin/sh\nexec {sys.executable} {SHIM} {name} "$@"\n')
            program.chmod(0o755)

    def _environment(self) -> dict[str, str]:
        path = [self.state / "bin", postgres_programs(), "/usr/bin", "/bin"]
        return {
            "HOME": str(self.folder),
            "PATH": os.pathsep.join(map(str, path)),
            "PYTHONPATH": os.pathsep.join(map(str, (ROOT / "src", ROOT))),
            "PYTHONUNBUFFERED": "1",
            "DOCS_STATE": str(self.state),
            "DOCS_MAKE": shutil.which("make") or "make",
            "BROADAXE_JUDGES": os.environ.get(
                "BROADAXE_JUDGES", str(Path.home() / ".cache" / "broadaxe-judges")
            ),
            "LC_ALL": "C.UTF-8",
            **self.environment,
        }

    async def close(self) -> None:
        """End what was started, by SIGTERM, and at last by SIGKILL."""
        pids = [one["pid"] for one in reversed(self.started)]
        for number in (signal.SIGTERM, signal.SIGKILL):
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            with contextlib.suppress(AssertionError):
                await until(lambda: not any(running(pid) for pid in pids), "what ran ended", timeout=30)
                return
