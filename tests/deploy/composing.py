"""A compose file brought up for real, by podman-compose, in a network of its own.

Nothing of it reaches the machine: bridges, published ports and the rules that lead to them are those of a
network namespace that ends with it.
"""

import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path

from broadaxe.testkit.conditions import until
from broadaxe.testkit.process import ChildProcess
from tests.deploy.chart import ROOT
from tests.deploy.containers import ONE_TREE, Podman
from tests.judges import NotHere

# podman-compose starts containers in the order of their dependencies by itself. Podman 4.3 (Debian 12) starts
# none whose dependency depends on another that runs.
_WRAPPER = """#!/bin/bash
words=()
for word; do [[ $word == --requires=* ]] || words+=("$word"); done
exec {podman} "${{words[@]}}"
"""


@dataclass(slots=True)
class Compose:
    """A project of podman-compose; `async with` takes it down with its volumes at the end."""

    podman: Podman
    file: Path
    holder: ChildProcess
    pid: int
    wrapper: Path

    @staticmethod
    async def of(podman: Podman, file: Path, folder: Path) -> "Compose":
        """Nothing runs yet. `folder` is for its own use; `NotHere` says what is missing."""
        missing = [one for one in ("podman-compose", "nsenter", "ip") if shutil.which(one) is None]
        if missing:
            raise NotHere(
                f"needs {', '.join(missing)} (pip install podman-compose, outside of the product's own)"
            )
        wrapper = folder / "podman"
        wrapper.write_text(_WRAPPER.format(podman=shlex.join(podman.words)))
        wrapper.chmod(0o755)
        script = f"{ONE_TREE}; ip link set lo up; echo pid $$; exec sleep infinity"
        holder = await ChildProcess.start(
            "unshare", "--mount", "--net", "sh", "-c", script, name="namespaces"
        )
        pid = int((await holder.wait_line("^pid ")).removeprefix("pid "))
        return Compose(podman, file, holder, pid, wrapper)

    async def __aenter__(self) -> "Compose":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.attempt("down", "--volumes", "--timeout", "0")
        await self.holder.stop()

    @property
    def inside(self) -> list[str]:
        """What a command line begins with that is to reach the published ports."""
        return [
            "nsenter",
            f"--mount=/proc/{self.pid}/ns/mnt",
            f"--net=/proc/{self.pid}/ns/net",
            f"--wd={ROOT}",
        ]

    async def attempt(self, *arguments: str) -> tuple[int, str]:
        """One command of podman-compose: exit code and output."""
        return await self._run(
            "podman-compose", f"--podman-path={self.wrapper}",
            f"--podman-run-args={shlex.join(self.podman.granted)}", f"--file={self.file}", *arguments,
        )  # fmt: skip

    async def call(self, *arguments: str) -> str:
        """The same; its output. AssertionError with what it said when it fails."""
        code, text = await self.attempt(*arguments)
        assert code == 0, text
        return text

    async def up(self, *services: str) -> None:
        """Start services and what they depend on."""
        await self.call("up", "--detach", "--no-build", *services)

    async def finds_names(self) -> bool:
        """Whether containers reach each other by name here: podman has several ways to it, all optional."""
        name = "broadaxe-check-names"
        await self._podman("network", "create", name)
        _, text = await self._podman("network", "inspect", "--format={{.DNSEnabled}}", name)
        await self._podman("network", "rm", name)
        return text.strip() == "true"

    async def until_healthy(self, container: str) -> None:
        """Asks as systemd's timers do where there is systemd; podman believes the last answer."""

        async def healthy() -> bool:
            return (await self._podman("healthcheck", "run", container))[0] == 0

        await until(healthy, f"{container} is healthy", 60 * self.podman.patience)

    async def state(self, container: str) -> str:
        """`running`, or `exited` with its code."""
        _, text = await self._podman("inspect", "--format={{.State.Status}} {{.State.ExitCode}}", container)
        return text.strip()

    async def _podman(self, *arguments: str) -> tuple[int, str]:
        return await self._run(str(self.wrapper), *arguments)

    async def _run(self, *command: str) -> tuple[int, str]:
        async with await ChildProcess.start(*self.inside, *command, name=command[0]) as child:
            code = await child.wait(120 * self.podman.patience)
            return code, child.output("out") if code == 0 else child.output()
