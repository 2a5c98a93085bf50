"""Programs as child processes of a test: watched, bounded in time, and gone when the test run is."""

import asyncio
import contextlib
import json
import os
import re
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from broadaxe.clock import SystemClock
from broadaxe.store.embedded.identity import Identity
from broadaxe.testkit.usage import Usage, tree_usage, usage

KEPT_LINES = 50_000
"""Newest lines of output kept of each child."""
_LINE_LIMIT = 8 << 20
_SOURCES = Path(__file__).resolve().parents[2]
_clock = SystemClock()


class ChildError(AssertionError):
    """A child did not do what was waited for; the message ends with its newest output."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of output; `stream` is `out` or `err`."""

    stream: str
    text: str
    at: float
    """Seconds of the monotonic clock when it arrived."""

    def fields(self) -> dict[str, Any] | None:
        """The line as a JSON object, None when it is something else."""
        if not self.text.startswith("{"):
            return None
        try:
            value = json.loads(self.text)
        except ValueError:
            return None
        return value if isinstance(value, dict) else None


class ChildProcess:
    """One running program. `async with await ChildProcess.start(...)` stops it at the end."""

    def __init__(self, process: asyncio.subprocess.Process, name: str) -> None:
        """Use `start`."""
        self._process = process
        self._news = asyncio.Condition()
        self._dropped = 0
        self._open = 2
        self.name = name
        self.lines: list[Line] = []
        """Output so far, oldest first."""
        streams = (("out", process.stdout), ("err", process.stderr))
        self._readers = [
            asyncio.create_task(self._read(label, stream), name=f"{name}-{label}")
            for label, stream in streams
            if stream is not None
        ]

    @staticmethod
    async def start(
        *command: str | Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        name: str | None = None,
        at_end: int = signal.SIGKILL,
    ) -> "ChildProcess":
        """Start a program with no input; `env` is added to ours. It gets `at_end` when this process ends."""
        whole = Identity("plain", os.geteuid(), os.getegid()).command(
            [_absolute(str(command[0])), *command[1:]], at_end=at_end
        )
        process = await asyncio.create_subprocess_exec(
            *whole,
            env={**os.environ, **(env or {})},
            cwd=cwd,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=_LINE_LIMIT,
            start_new_session=True,
        )
        return ChildProcess(process, name or Path(str(command[0])).name)

    @staticmethod
    async def broadaxe(
        *arguments: str | Path, env: Mapping[str, str] | None = None, name: str | None = None
    ) -> "ChildProcess":
        """Start `broadaxe ...` from the sources that this process runs."""
        here = str(_SOURCES)
        path = os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH", ""))))
        code = "import sys; from broadaxe.cli.main import main; sys.exit(main())"
        return await ChildProcess.start(
            sys.executable,
            "-c",
            code,
            *arguments,
            env={"PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **(env or {})},
            name=name or f"broadaxe {arguments[0] if arguments else ''}".strip(),
            at_end=signal.SIGTERM,
        )

    async def __aenter__(self) -> "ChildProcess":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def pid(self) -> int:
        """Its process id (the launcher turns into the program, so it stays the same)."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it was not seen to end yet."""
        return self._process.returncode is None

    @property
    def returncode(self) -> int | None:
        """Exit code, negative for a signal; None while it runs."""
        return self._process.returncode

    @property
    def mark(self) -> int:
        """A place in the output, to be given to a wait as `since`."""
        return self._dropped + len(self.lines)

    def output(self, stream: str | None = None) -> str:
        """All kept output, or one stream of it."""
        return "\n".join(line.text for line in self.lines if stream in (None, line.stream))

    async def wait_line(self, pattern: str, timeout: float = 30.0, since: int = 0) -> str:
        """The first line, from `since` on, in which this regular expression is found."""
        found = await self._wait(lambda line: re.search(pattern, line.text), f"/{pattern}/", timeout, since)
        return found.text

    async def wait_json(
        self,
        wanted: Callable[[dict[str, Any]], bool],
        timeout: float = 30.0,
        since: int = 0,
        what: str = "a JSON line",
    ) -> dict[str, Any]:
        """The first line, from `since` on, that is a JSON object for which `wanted` is true."""

        def matches(line: Line) -> bool:
            fields = line.fields()
            return fields is not None and wanted(fields)

        fields = (await self._wait(matches, what, timeout, since)).fields()
        return fields or {}

    def signal(self, number: int) -> None:
        """Send a signal; nothing happens when it has ended."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    def terminate(self) -> None:
        """SIGTERM."""
        self.signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self.signal(signal.SIGKILL)

    def kill_group(self) -> None:
        """SIGKILL to the program and everything it started, as when a machine dies."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    async def wait(self, timeout: float = 30.0) -> int:
        """Its exit code once it ended and its output is read; ChildError when it does not end in time."""
        try:
            async with asyncio.timeout(timeout):
                code = await self._process.wait()
        except TimeoutError:
            raise ChildError(f"{self.name} still runs after {timeout:g} s{self._tail()}") from None
        # A grandchild may hold the pipes open: it is not waited for beyond a moment.
        await asyncio.wait(self._readers, timeout=1.0)
        return code

    async def stop(self, timeout: float = 30.0) -> int:
        """SIGTERM, SIGKILL if that is not enough within `timeout` seconds; its exit code."""
        self.signal(signal.SIGCONT)
        self.terminate()
        try:
            code = await self.wait(timeout)
        except ChildError:
            self.kill()
            code = await self.wait(5.0)
        for reader in self._readers:
            reader.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)
        return code

    def usage(self) -> Usage:
        """CPU and memory of the program alone; ProcessLookupError when it ended."""
        return usage(self.pid)

    def tree_usage(self) -> Usage:
        """CPU and memory of the program and everything below it."""
        return tree_usage(self.pid)

    async def _wait(self, wanted: Callable[[Line], object], what: str, timeout: float, since: int) -> Line:
        seen = since
        try:
            async with asyncio.timeout(timeout), self._news:
                while True:
                    for line in self.lines[max(0, seen - self._dropped) :]:
                        if wanted(line):
                            return line
                    seen = self.mark
                    if self._open == 0:
                        raise ChildError(f"{self.name} ended without {what}{self._tail()}")
                    await self._news.wait()
        except TimeoutError:
            raise ChildError(f"{self.name}: no {what} in {timeout:g} s{self._tail()}") from None

    async def _read(self, label: str, stream: asyncio.StreamReader) -> None:
        try:
            while data := await stream.readline():
                text = data.decode(errors="replace").rstrip("\r\n")
                async with self._news:
                    self.lines.append(Line(label, text, _clock.monotonic()))
                    if len(self.lines) > KEPT_LINES:
                        del self.lines[: KEPT_LINES // 2]
                        self._dropped += KEPT_LINES // 2
                    self._news.notify_all()
        finally:
            async with self._news:
                self._open -= 1
                self._news.notify_all()

    def _tail(self, count: int = 30) -> str:
        code = "" if self.running else f" (exit code {self.returncode})"
        return f"{code}; its newest output:\n" + "\n".join(line.text for line in self.lines[-count:])


def _absolute(program: str) -> str:
    """The path of a program, since the launcher does not search."""
    if os.sep in program:
        return program
    for folder in os.environ.get("PATH", os.defpath).split(os.pathsep):
        if folder and os.access(path := os.path.join(folder, program), os.X_OK):
            return path
    raise FileNotFoundError(f"no program {program} on PATH")
