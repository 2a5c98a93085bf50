"""The helper process for evaluations that may take long: started when needed, kept, killed when late."""

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, Process

from broadaxe.expr.compiled import ExpressionLimits
from broadaxe.expr.failures import ExpressionFailed
from broadaxe.expr.frames import HEAD, pack
from broadaxe.expr.variables import Variables

_WALL = 5.0
"""Seconds of real time beside the limit: the process bounds its CPU time, this is for one that is stuck."""


class ApartProcess:
    """Evaluates one expression at a time in another process."""

    def __init__(self, limits: ExpressionLimits) -> None:
        self._limits = limits
        self._process: Process | None = None
        self._turn = asyncio.Lock()
        self._waiting = 0

    async def evaluate(self, text: str, variables: Variables) -> object:
        """The value. ExpressionFailed; also when it takes too long or too many wait."""
        if self._waiting >= self._limits.waiting:
            raise ExpressionFailed("too many large expressions are being evaluated; try again later")
        self._waiting += 1
        try:
            async with self._turn:
                return await self._ask(pack(text, variables))
        finally:
            self._waiting -= 1

    async def _ask(self, question: bytes) -> object:
        process = await self._running()
        assert process.stdin is not None
        assert process.stdout is not None
        finished = False
        try:
            async with asyncio.timeout(self._limits.seconds + _WALL):
                process.stdin.write(question)
                await process.stdin.drain()
                (size,) = HEAD.unpack(await process.stdout.readexactly(HEAD.size))
                answer = json.loads(await process.stdout.readexactly(size))
            finished = True
        except (TimeoutError, asyncio.IncompleteReadError, ConnectionError) as error:
            limit = f"{self._limits.seconds * 1000:.0f} ms"
            raise ExpressionFailed(f"took longer than {limit}, or too much memory") from error
        finally:
            # Half an answer, also of a caller that went away, would be taken for the next one's.
            if not finished:
                await self._end(process)
        if "error" in answer:
            raise ExpressionFailed(answer["error"])
        return answer["value"]

    async def _running(self) -> Process:
        if self._process is None or self._process.returncode is not None:
            limits = self._limits
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "broadaxe.expr.child",
                str(limits.expression_bytes),
                str(limits.cached),
                str(limits.seconds),
                stdin=PIPE,
                stdout=PIPE,
            )
        return self._process

    async def _end(self, process: Process) -> None:
        if self._process is process:
            self._process = None
        if process.returncode is None:
            try:
                process.kill()
            except ProcessLookupError:
                return
            await asyncio.shield(process.wait())

    async def close(self) -> None:
        """End the process."""
        if self._process is not None:
            await self._end(self._process)
