"""PostgreSQL's programs together with the way they are run on one directory."""

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from broadaxe.store.embedded import binaries
from broadaxe.store.embedded.binaries import Version
from broadaxe.store.embedded.configuration import initdb_arguments
from broadaxe.store.embedded.directory import Directory
from broadaxe.store.embedded.errors import EmbeddedPostgresError
from broadaxe.store.embedded.identity import Identity, candidates
from broadaxe.store.embedded.launch import NOT_EXECUTABLE, UNREACHABLE


@dataclass(frozen=True, slots=True)
class Programs:
    """What `choose` settled on."""

    bindir: Path
    version: Version
    identity: Identity
    environment: dict[str, str]

    def start_server(
        self, directory: Directory, settings: dict[str, str], log: int
    ) -> subprocess.Popen[bytes]:
        """The postmaster, tied to the calling thread's life; `log` is a file descriptor."""
        flags = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return subprocess.Popen(
            self.identity.command([self.bindir / "postgres", "-D", directory.data, *flags]),
            env=self.environment,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )

    def make_database_files(self, directory: Directory, user: str) -> None:
        """initdb into a folder beside, renamed when whole: a cut one is simply done again.

        Does nothing when the files are there; EmbeddedPostgresError when it fails.
        """
        if directory.made_by() is not None:
            return
        directory.drop_unfinished()
        try:
            directory.fresh.mkdir(mode=0o700)
            os.chown(directory.fresh, *self.identity.owner)
            arguments = initdb_arguments(self.version.major, directory.fresh, user)
            result = self.identity.run([self.bindir / "initdb", *arguments], self.environment)
            if result.returncode != 0:
                raise EmbeddedPostgresError(
                    f"cannot make a database in {directory.root}: {reason(result.stdout)}"
                )
            if directory.data.exists():
                directory.data.rmdir()
            directory.fresh.rename(directory.data)
        except OSError as error:
            raise EmbeddedPostgresError(
                f"cannot make a database in {directory.root}: {error.strerror}"
            ) from error
        finally:
            directory.drop_unfinished()


def choose(directory: Directory, bindir: Path | None, identities: Sequence[Identity] | None) -> Programs:
    """The programs and the first way to run them that works on this directory.

    EmbeddedPostgresError when there are none, none works, or their version does not fit the database files.
    """
    found = binaries.find(bindir)
    tried = []
    for identity in candidates() if identities is None else identities:
        folder = binaries.readable_copy(found) if identity.copied else found
        environment = _environment(folder, directory)
        directory.give_to(identity.owner)
        result = identity.run([folder / "postgres", "--version"], environment, probe=directory.run)
        if result.returncode == 0:
            version = Version.parse(result.stdout)
            _check_version(version, folder, directory)
            return Programs(folder, version, identity, environment)
        if result.returncode not in (UNREACHABLE, NOT_EXECUTABLE):
            raise EmbeddedPostgresError(f"{folder}/postgres does not run: {reason(result.stdout)}")
        tried.append(f"{identity}: {result.stdout.strip()}")
    why = "; ".join(tried) or "this machine knows no user but root"
    raise EmbeddedPostgresError(f"PostgreSQL cannot run on {directory.root} ({why})")


def reason(output: str) -> str:
    """The part of a program's output that says why it failed, in one line."""
    if "No space left on device" in output:
        return "no space left on the disk"
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    told = [line for line in lines if any(mark in line for mark in ("FATAL:", "PANIC:", "error:"))]
    return "; ".join(told or lines[-3:])[-800:] or "it said nothing"


def _check_version(version: Version, bindir: Path, directory: Directory) -> None:
    if version.major < binaries.OLDEST_MAJOR:
        raise EmbeddedPostgresError(
            f"{bindir} holds PostgreSQL {version.text}; {binaries.OLDEST_MAJOR} or newer is needed"
        )
    made_by = directory.made_by()
    if made_by is not None and made_by != str(version.major):
        raise EmbeddedPostgresError(
            f"the data directory {directory.root} was made by PostgreSQL {made_by}, but the programs in "
            f"{bindir} are PostgreSQL {version.major}: use PostgreSQL {made_by} for it (or dump it there and "
            "restore it here), or choose another directory"
        )


def _environment(bindir: Path, directory: Directory) -> dict[str, str]:
    """Nothing of the user's but what programs need to load: a PG* variable would change their course."""
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH", "TMPDIR") if name in os.environ}
    return {"PATH": f"{bindir}:/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC", "HOME": str(directory.run), **kept}
