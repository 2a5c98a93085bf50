"""Images built and run for real: podman in a storage of its own, in the cache of the judges.

Where no registry can be reached, a stand-in takes the place of the image that the Dockerfile begins with: the
same Debian and the same Python, made by debootstrap; only where Python lies in it differs.
"""

import os
import platform
import re
import resource
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from broadaxe.testkit.process import ChildProcess
from tests.deploy.chart import ROOT
from tests.deploy.dockerfile import DOCKERFILE, stages
from tests.judges import NotHere, cache

BASE = "docker.io/library/" + next(iter(stages().values())).base
"""The image that the Dockerfile begins with, by its whole name."""
ONE_TREE = "if mountpoint -q /sys/fs/cgroup/unified; then umount /sys/fs/cgroup/unified; fi"
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
_DEBIAN = {"3.13": "trixie"}
"""The release of Debian that has this Python."""
_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
# As docs/docker.md and the compose files run them.
_HARDENED = ("--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", "--security-opt=no-new-privileges")


@dataclass(frozen=True, slots=True)
class Podman:
    """One storage of images and containers, for one kind of processor."""

    folder: Path
    arch: str

    @staticmethod
    def here(arch: str) -> "Podman":
        """Everything that is needed; `NotHere` says what is missing."""
        missing = [
            name for name in ("podman", "crun", "debootstrap", "unshare") if shutil.which(name) is None
        ]
        if missing or os.geteuid() != 0:
            raise NotHere(f"needs {', '.join(missing) or 'root'}: containers are built and run")
        if platform.machine() != MACHINES[arch] and not _emulated(arch):
            raise NotHere(f"no emulation of {arch} is registered with the kernel (qemu-user-static does it)")
        return Podman(cache() / f"images-{arch}", arch)

    @property
    def patience(self) -> float:
        """What a bound of seconds is multiplied with: emulation takes its time."""
        return 1.0 if platform.machine() == MACHINES[self.arch] else 10.0

    def command(self, *arguments: str) -> list[str]:
        """Podman's command line.

        In a mount namespace of its own without the second tree of control groups that some machines have
        beside the first: crun refuses both at once, even when it is to use none.
        """
        return ["unshare", "--mount", "sh", "-c", f'{ONE_TREE}; exec "$@"', "sh", *self.words, *arguments]

    @property
    def words(self) -> list[str]:
        """What podman's command line begins with, in such a namespace."""
        return [
            "podman",
            "--log-level=error",
            "--cgroup-manager=cgroupfs",
            f"--root={self.folder}/storage",
            f"--runroot={self.folder}/run",
            "--storage-driver=overlay",
        ]

    def call(self, *arguments: str, timeout: float = 60.0) -> str:
        """Run to the end; its output. AssertionError with what it said when it fails."""
        code, text = self.attempt(*arguments, timeout=timeout)
        assert code == 0, f"podman {arguments[0]} failed: {text[-3000:]}"
        return text

    def attempt(self, *arguments: str, timeout: float = 60.0) -> tuple[int, str]:
        """Exit code and output; when it fails, what it said as well."""
        done = subprocess.run(
            self.command(*arguments),
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout * self.patience,
        )
        return done.returncode, done.stdout if done.returncode == 0 else done.stdout + done.stderr

    def build(self, target: str) -> str:
        """One image of the Dockerfile; its name. The targets share the layers that they have in common."""
        self._have_base()
        name = f"broadaxe-{target}:check"
        ignored = f"--ignorefile={DOCKERFILE}.dockerignore"
        self.make(name, ROOT, ignored, f"--file={DOCKERFILE}", f"--target={target}")
        return name

    def make(self, name: str, folder: Path, *options: str) -> None:
        """An image of a folder's Dockerfile, from what is in the storage."""
        self.call(
            "build", "--pull=never", "--layers", "--format=docker", "--isolation=chroot",
            f"--platform=linux/{self.arch}", f"--ulimit=nofile={_open_files()}", *options,
            f"--tag={name}", str(folder),
            timeout=900,
        )  # fmt: skip

    async def run(
        self, name: str, image: str, *arguments: str, network: str = "none", options: tuple[str, ...] = ()
    ) -> "Container":
        """Start a container as our pages do; it is removed when it is left.

        `arguments` go behind the image's name; `options` are podman's. Without a `network` there is only its
        own loopback.
        """
        self.attempt("rm", "--force", "--time=0", name)
        words = ("run", f"--name={name}", *self._isolated(network), *options, image, *arguments)
        process = await ChildProcess.start(*self.command(*words), name=name)
        return Container(self, name, process)

    def once(
        self, image: str, *arguments: str, network: str = "none", options: tuple[str, ...] = ()
    ) -> tuple[int, str]:
        """Run a container to its end: exit code and output."""
        words = ("run", "--rm", *self._isolated(network), *options, image, *arguments)
        return self.attempt(*words, timeout=120)

    def _isolated(self, network: str) -> list[str]:
        return [f"--network={network}", *_HARDENED, *self.granted]

    @property
    def granted(self) -> list[str]:
        """For every container: what this machine and this storage have."""
        return [
            "--pull=never", f"--platform=linux/{self.arch}",
            "--cgroups=disabled", f"--ulimit=nofile={_open_files()}", "--ulimit=nproc=4096:4096",
        ]  # fmt: skip

    def _have_base(self) -> None:
        """The image to begin with: what is in the storage, the real one on request, else a stand-in."""
        if self.attempt("image", "exists", BASE)[0] == 0:
            return
        if os.environ.get("BROADAXE_IMAGES") == "pull":
            self.call("pull", f"--platform=linux/{self.arch}", BASE, timeout=600)
            return
        tree = self.folder / "debian"
        shutil.rmtree(tree, ignore_errors=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        python = re.search(r":(\d+\.\d+)-", BASE)
        assert python is not None
        packages = "python3,python3-venv,python-is-python3,ca-certificates"
        release = _DEBIAN[python[1]]
        options = [f"--arch={self.arch}", "--variant=minbase", f"--include={packages}"]
        command = ["debootstrap", *options, release, tree]
        made = subprocess.run(command, capture_output=True, text=True, check=False, timeout=3600)
        if made.returncode != 0:
            raise NotHere(f"debootstrap made no Debian {release}: {made.stdout.strip()[-300:]}")
        if _CERTIFICATES.exists():  # so that pip reaches in there what it reaches out here
            shutil.copy(_CERTIFICATES, tree / _CERTIFICATES.relative_to("/"))
        packed = self.folder / "debian.tar"
        subprocess.run(["tar", "--create", f"--file={packed}", f"--directory={tree}", "."], check=True)
        self.call("import", "--quiet", f"--arch={self.arch}", str(packed), BASE, timeout=300)
        packed.unlink()
        shutil.rmtree(tree)


@dataclass(slots=True)
class Container:
    """A container that runs; `async with` removes it at the end."""

    podman: Podman
    name: str
    process: ChildProcess

    async def __aenter__(self) -> "Container":
        return self

    async def __aexit__(self, *_: object) -> None:
        self.podman.attempt("rm", "--force", "--time=0", self.name)
        await self.process.stop()

    async def said(self, pattern: str, timeout: float = 60.0) -> str:
        """The first line of its output with this in it."""
        return await self.process.wait_line(pattern, timeout * self.podman.patience)

    def execute(self, *command: str) -> tuple[int, str]:
        """A command inside: exit code and output."""
        return self.podman.attempt("exec", self.name, *command)

    def healthy(self) -> bool:
        """What the image's own health check says now."""
        return self.podman.attempt("healthcheck", "run", self.name)[0] == 0

    @property
    def inside(self) -> list[str]:
        """What a command line begins with that is to reach its ports: the network is the container's."""
        pid = self.podman.call("inspect", "--format={{.State.Pid}}", self.name).strip()
        return ["nsenter", f"--net=/proc/{pid}/ns/net"]

    async def end(self) -> int:
        """SIGTERM, as `docker stop` sends it; the exit code."""
        self.podman.call("kill", "--signal=TERM", self.name)
        return await self.process.wait(45 * self.podman.patience)


def _open_files() -> str:
    """As many as this process may open: podman's own wish may be more than the machine grants."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return f"{most}:{most}"


def _emulated(arch: str) -> bool:
    entry = Path("/proc/sys/fs/binfmt_misc") / f"qemu-{MACHINES[arch]}"
    return entry.exists() and entry.read_text().startswith("enabled")
