"""What processes cost, read from /proc (Linux)."""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Usage:
    """A reading; CPU counts from the start of the process."""

    cpu_seconds: float
    rss_bytes: int
    processes: int = 1

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.cpu_seconds + other.cpu_seconds,
            self.rss_bytes + other.rss_bytes,
            self.processes + other.processes,
        )


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the state on; ProcessLookupError when there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        raise ProcessLookupError(f"no process {pid}") from None
    return text.rpartition(")")[2].split()


def alive(pid: int) -> bool:
    """Whether a process runs; one that ended and was not collected yet does not."""
    try:
        return _stat(pid)[0] not in "ZX"
    except ProcessLookupError:
        return False


def usage(pid: int) -> Usage:
    """One process, and the CPU of its children that ended; ProcessLookupError when it is gone."""
    fields = _stat(pid)
    own, ended = int(fields[11]) + int(fields[12]), int(fields[13]) + int(fields[14])
    # The process's total is in hundredths of a second; that of its living threads is exact.
    return Usage(max(own / _TICKS, _threads(pid)) + ended / _TICKS, int(fields[21]) * _PAGE)


def _threads(pid: int) -> float:
    """Seconds of CPU of the threads that live; 0 where the kernel does not count them."""
    spent = 0
    with contextlib.suppress(OSError):
        for thread in os.scandir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError):
                spent += int(Path(thread.path, "schedstat").read_text().split()[0])
    return spent / 1e9


def tree(pid: int) -> list[int]:
    """A process and everything below it, itself first."""
    children: dict[int, list[int]] = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(ProcessLookupError):
                children.setdefault(int(_stat(int(entry.name))[1]), []).append(int(entry.name))
    found = [pid]
    for parent in found:  # grows while it is walked
        found += children.get(parent, ())
    return found


def tree_usage(pid: int, without: int | None = None) -> Usage:
    """A process and everything below it, less the tree of `without`."""
    left_out = set(tree(without)) if without is not None else set[int]()
    total = Usage(0.0, 0, 0)
    for member in tree(pid):
        if member not in left_out:
            with contextlib.suppress(ProcessLookupError):
                total += usage(member)
    return total


def find_below(pid: int, name: str) -> list[int]:
    """Processes below `pid` whose program has this name (`postgres`, say), nearest first."""
    found = []
    for member in tree(pid)[1:]:
        with contextlib.suppress(OSError):
            if Path(f"/proc/{member}/comm").read_text().strip() == name:
                found.append(member)
    return found
