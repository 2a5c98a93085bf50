"""Programs that judge our files, built from the Go proxy into a cache outside the tree, once.

`python -m tests.judges` builds all of them. BROADAXE_JUDGES names another cache folder.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Judge:
    """One program: a package of the proxy at a version, or a module of ours that pins them itself."""

    name: str
    package: str
    version: str
    tags: str = ""
    stamp: str = ""
    """A variable of the program that the version is written into."""

    def command(self, go: str, into: str) -> list[str]:
        """Builds the program into a folder."""
        link = f"-s -w -X {self.stamp}={self.version}" if self.stamp else "-s -w"
        options = ["-trimpath", f"-ldflags={link}", f"-tags={self.tags}"]
        if (ROOT / self.package).is_dir():
            return [go, "build", "-C", str(ROOT / self.package), *options, "-o", f"{into}/{self.name}", "."]
        return [go, "install", *options, f"{self.package}@{self.version}"]

    @property
    def release(self) -> str:
        """What its folder in the cache is called by: the version, or what a module of ours says now."""
        if self.version:
            return self.version
        digest = hashlib.sha256()
        for path in sorted((ROOT / self.package).iterdir()):
            if path.suffix in (".go", ".mod", ".sum"):
                digest.update(path.read_bytes())
        return digest.hexdigest()[:16]

    @property
    def built_name(self) -> str:
        """What Go calls the program: the last part of the package's path."""
        return self.name if (ROOT / self.package).is_dir() else self.package.rpartition("/")[2]


ROOT = Path(__file__).resolve().parents[1]
JUDGES = {
    judge.name: judge
    for judge in (
        Judge("helm", "helm.sh/helm/v3/cmd/helm", "v3.22.0"),
        # Without service discovery, whose plugins are most of its dependencies.
        Judge("promtool", "github.com/prometheus/prometheus/cmd/promtool", "v0.316.0", "remove_all_sd"),
        Judge("collector", "tests/telemetry/collector", "v0.160.0"),
        Judge("h2spec", "github.com/summerwind/h2spec/cmd/h2spec", "v2.2.1+incompatible"),
        Judge("grpc-interop-client", "google.golang.org/grpc/interop/client", "v1.84.0"),
        Judge("grpc-go-server", "bench/grpc_go", "v1.84.0"),
        Judge("go-sdk-checks", "tests/wire/go", ""),
        Judge("celgo", "tests/expr/cel_go", "v0.32.0"),
        # With its etcd; by far the longest of these builds.
        Judge(
            "kube-apiserver",
            "tests/deploy/kube_apiserver",
            "v1.37.2",
            stamp="k8s.io/component-base/version.gitVersion",
        ),
    )
}


class NotHere(Exception):
    """The program cannot be had; the message is the reason to skip."""


def cache() -> Path:
    """Where the programs are kept."""
    named = os.environ.get("BROADAXE_JUDGES")
    return Path(named) if named else Path.home() / ".cache" / "broadaxe-judges"


def find(name: str, *, build: bool) -> Path:
    """The program's path; `NotHere` when it is not in the cache and is not, or cannot be, built."""
    judge = JUDGES[name]
    program = cache() / f"{judge.name}-{judge.release}" / judge.name
    if program.exists():
        return program
    if not build:
        raise NotHere(f"{name} is not in {cache()}: `make judges` builds it")
    go = shutil.which("go")
    if go is None:
        raise NotHere(f"the Go toolchain is not here, which {name} is built with")
    program.parent.parent.mkdir(parents=True, exist_ok=True)
    # Beside its place and then renamed: two runs may build at once, and half a build is none.
    with tempfile.TemporaryDirectory(dir=program.parent.parent) as folder:
        environment = {**os.environ, "GOBIN": folder, "GOFLAGS": "-p=1 -buildvcs=false", "CGO_ENABLED": "0"}
        built = subprocess.run(
            ["nice", "-n", "19", *judge.command(go, folder)],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if built.returncode != 0:
            raise NotHere(f"{name} could not be built: {built.stderr.strip()[-300:]}")
        program.parent.mkdir(exist_ok=True)
        (Path(folder) / judge.built_name).replace(program)
    return program


def main() -> int:
    """Build what is missing; 1 when something could not be built."""
    failed = 0
    for name in JUDGES:
        try:
            print(f"{name}: {find(name, build=True)}")
        except NotHere as reason:
            print(f"{name}: {reason}", file=sys.stderr)
            failed = 1
    return failed


if __name__ == "__main__":
    sys.exit(main())
