"""As which user PostgreSQL runs: it refuses to run as root, and initdb wants a user that has a name."""

import os
import pwd
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from broadaxe.store.embedded import launch

Mode = Literal["plain", "userns", "drop", "drop-dac"]

LINUX = sys.platform == "linux"
"""Whether the kernel has user namespaces, capabilities, and signals to the children of a dead process."""


@dataclass(frozen=True, slots=True)
class Identity:
    """One way to run a command; see `launch` for the modes."""

    mode: Mode
    uid: int
    """What the command believes to be."""
    gid: int
    copied: bool = False
    """Run from a copy of the binaries that everyone may read."""

    @property
    def owner(self) -> tuple[int, int]:
        """User and group that the files must belong to, as the machine sees them."""
        return (self.uid, self.gid) if self.mode.startswith("drop") else (os.geteuid(), os.getegid())

    def command(
        self, program: Sequence[str | Path], *, probe: Path | None = None, at_end: int = signal.SIGINT
    ) -> list[str]:
        """The command line that runs `program` this way.

        When the thread that starts it ends, however it ends, the program gets the signal `at_end`
        (SIGINT is PostgreSQL's fast shutdown). `probe` is a directory it has to be able to write to.
        """
        return [
            sys.executable,
            "-I",
            "-S",
            launch.__file__,
            str(os.getpid()),
            "kernel" if LINUX else "watch",
            str(int(at_end)),
            self.mode,
            str(self.uid),
            str(self.gid),
            str(probe or "-"),
            *map(str, program),
        ]

    def run(
        self, program: Sequence[str | Path], environment: dict[str, str], *, probe: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run to its end, output and errors in `stdout`; never raises for its exit code."""
        return subprocess.run(
            self.command(program, probe=probe),
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
            timeout=300,
            check=False,
        )

    def __str__(self) -> str:
        words = {
            "plain": "as the present user",
            "userns": "in a user namespace",
            "drop": f"as user {self.uid}",
            "drop-dac": f"as user {self.uid} with access to closed directories",
        }[self.mode]
        return words + (" from copied binaries" if self.copied else "")


def _named(*names: str) -> tuple[int, int] | None:
    for name in names:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return entry.pw_uid, entry.pw_gid
    others = [entry for entry in pwd.getpwall() if entry.pw_uid != 0]
    return (others[0].pw_uid, others[0].pw_gid) if others else None


def _has_name(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def candidates() -> list[Identity]:
    """The ways to try on this machine, best first; empty when root is the only user it knows.

    As root a user namespace comes first: files stay root's and nothing has to be readable by others.
    Container runtimes often refuse it; then the user is changed for good, with as few rights as will do.
    """
    uid, gid = os.geteuid(), os.getegid()
    inner = _named("nobody", "postgres")
    userns = [Identity("userns", *inner)] if inner and LINUX else []
    if uid != 0:
        plain = Identity("plain", uid, gid)
        return [plain] if _has_name(uid) else [*userns, plain]
    account = _named("postgres", "nobody")
    if account is None:
        return userns
    modes: tuple[Mode, ...] = ("drop", "drop-dac") if LINUX else ("drop",)
    dropped = [Identity(mode, *account, copied=copied) for copied in (False, True) for mode in modes]
    return [*userns, *dropped]
