"""The helper process: reads questions, evaluates, answers, until its input ends.

An evaluation that uses more CPU time than allowed is ended by the kernel, and the process with it: nothing
in Python runs while the library does. Memory is bounded the same way.
"""

import resource
import signal
import sys
from typing import BinaryIO

from broadaxe.expr.compiled import Cel, ExpressionLimits
from broadaxe.expr.failures import ExpressionFailed
from broadaxe.expr.frames import HEAD, frame, unpack

_MEMORY = 1 << 30
"""Bytes of address space."""


def _answer(cel: Cel, text: str, variables: dict[str, bytes | str], seconds: float) -> bytes:
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        value = cel.evaluate(text, variables)
    except ExpressionFailed as error:
        return frame({"error": error.message})
    except MemoryError:
        return frame({"error": "took too much memory"})
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    try:
        return frame({"value": value})
    except (TypeError, ValueError):
        return frame({"error": f"yields a {type(value).__name__}, which is not supported here"})


def serve(source: BinaryIO, sink: BinaryIO, cel: Cel, seconds: float) -> None:
    """Answer until the input ends."""
    while head := source.read(HEAD.size):
        text, variables = unpack(source.read(HEAD.unpack(head)[0]))
        # Reading a large input is not the expression's time.
        sink.write(_answer(cel, text, variables, seconds + sum(map(len, variables.values())) / 2e7))
        sink.flush()


def main() -> None:
    """`python -m broadaxe.expr.child EXPRESSION_BYTES CACHED SECONDS`."""
    size, cached, seconds = sys.argv[1:]
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Whoever stops the engine from a terminal signals the whole group; its end closes the input anyway.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    cel = Cel(ExpressionLimits(expression_bytes=int(size), cached=int(cached)))
    serve(sys.stdin.buffer, sys.stdout.buffer, cel, float(seconds))


if __name__ == "__main__":
    main()
