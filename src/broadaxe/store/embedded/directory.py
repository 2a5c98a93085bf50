"""The folder of an embedded PostgreSQL: lock, database files, socket, log."""

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import BinaryIO

from broadaxe.store.embedded.errors import EmbeddedPostgresError

SOCKET_PATH_LIMIT = 107 if sys.platform == "linux" else 103
"""Bytes of a unix socket's path: Linux's, or what the BSDs and macOS allow."""
LOG_LIMIT = 8 << 20
"""Bytes of the server's log before it is put aside; one older log is kept."""

_SOCKET_NAME = ".s.PGSQL.5432"
_PLAIN_PATH = re.compile(r"[A-Za-z0-9/_.+~-]+")


class Directory:
    """`lock`, `data` (PostgreSQL's own), `run` (the socket) and `log` under one root."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.data = self.root / "data"
        self.fresh = self.root / "data.new"
        self.run = self.root / "run"
        self.log = self.root / "log" / "postgres.log"
        self._lock: int | None = None

    def prepare(self) -> None:
        """Make the folders; EmbeddedPostgresError when that is not possible."""
        try:
            self.root.mkdir(
                mode=0o711, parents=True, exist_ok=True
            )  # passable: PostgreSQL may run as another user
            for folder in (self.run, self.log.parent):
                folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise EmbeddedPostgresError(
                f"cannot make the data directory {self.root}: {error.strerror}"
            ) from error

    def acquire(self) -> None:
        """Keep other servers out until `release`; EmbeddedPostgresError when one is in already."""
        path = self.root / "lock"
        try:
            lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise EmbeddedPostgresError(f"cannot open {path}: {error.strerror}") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(lock, 32).decode(errors="replace").strip() or "unknown"
            os.close(lock)
            raise EmbeddedPostgresError(
                f"the data directory {self.root} is in use by another server (process {holder}); "
                "stop that one or choose another directory"
            ) from None
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        self._lock = lock

    def release(self) -> None:
        """Let another server in."""
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)

    def made_by(self) -> str | None:
        """The major version that made the database files, None when there are none."""
        try:
            return (self.data / "PG_VERSION").read_text().strip()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise EmbeddedPostgresError(f"cannot read {self.data}: {error.strerror}") from error

    def give_to(self, owner: tuple[int, int]) -> None:
        """Make everything PostgreSQL writes belong to this user and group."""
        for top in (self.data, self.run, self.log.parent):
            if not top.exists() or (top.stat().st_uid, top.stat().st_gid) == owner:
                continue
            if os.geteuid() != 0:
                if top.stat().st_uid == owner[0]:
                    continue
                raise EmbeddedPostgresError(
                    f"{top} belongs to user {top.stat().st_uid}, not to user {os.geteuid()}: "
                    "start as that user or choose another directory"
                )
            for folder, _, files in os.walk(top, topdown=False):
                for name in files:
                    os.chown(os.path.join(folder, name), *owner, follow_symlinks=False)
                os.chown(folder, *owner)  # last, so that a cut chown is done again

    def residents(self) -> list[int]:
        """Live processes that work in the database's folder: PostgreSQL's postmaster and its children."""
        if not Path("/proc/self/cwd").exists():
            return self.resident_by_pid_file()
        here, found = str(self.data.resolve()), []
        for entry in os.scandir("/proc"):
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    name = Path(f"/proc/{entry.name}/comm").read_text().strip()
                    if name == "postgres" and os.readlink(f"/proc/{entry.name}/cwd") == here:
                        found.append(int(entry.name))
        return found

    def resident_by_pid_file(self) -> list[int]:
        """The same where there is no /proc: the pid file's process, when that is a PostgreSQL."""
        try:
            pid = int((self.data / "postmaster.pid").read_text().splitlines()[0])
        except (OSError, ValueError, IndexError):
            return []
        told = subprocess.run(
            ["ps", "-o", "comm=", "-p", str(pid)], capture_output=True, text=True, check=False
        )
        return [pid] if "postgres" in told.stdout else []

    def forget_dead_server(self) -> None:
        """Remove the pid file of a server that ended without doing it itself.

        Only to be called with the lock held and no resident: its pid may meanwhile be anyone's, and
        PostgreSQL would refuse to start because of it.
        """
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def socket_dir(self, owner: tuple[int, int]) -> Path:
        """Where the socket goes: `run`, or a short private folder when that path is too long or unusual."""
        path = str(self.run)
        if len(os.fsencode(f"{path}/{_SOCKET_NAME}")) <= SOCKET_PATH_LIMIT and _PLAIN_PATH.fullmatch(path):
            return self.run
        name = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
        base = tempfile.gettempdir()
        short = Path(base if len(base) < 60 and _PLAIN_PATH.fullmatch(base) else "/tmp", f"broadaxe-{name}")
        with contextlib.suppress(FileExistsError):
            short.mkdir(mode=0o700)
        status = short.lstat()
        if short.is_symlink() or status.st_uid not in (os.geteuid(), owner[0]):
            raise EmbeddedPostgresError(f"{short}, wanted for the socket, belongs to user {status.st_uid}")
        if os.geteuid() == 0:
            os.chown(short, *owner)
        short.chmod(0o700)
        return short

    def drop_socket_dir(self, socket_dir: Path) -> None:
        """Remove the short folder, if one was used."""
        if socket_dir != self.run:
            shutil.rmtree(socket_dir, ignore_errors=True)

    def drop_unfinished(self) -> None:
        """Remove what a cut initdb left."""
        shutil.rmtree(self.fresh, ignore_errors=True)

    def open_log(self) -> BinaryIO:
        """The log, for appending."""
        return open(os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600), "ab", 0)

    def bound_log(self) -> None:
        """Put a log aside that has grown beyond its limit.

        The server keeps the file open for appending, so it is copied and emptied instead of renamed.
        """
        try:
            if self.log.stat().st_size > LOG_LIMIT:
                shutil.copyfile(self.log, self.log.with_suffix(".log.1"))
                os.truncate(self.log, 0)
        except FileNotFoundError:
            return

    def log_tail(self, since: int = 0) -> str:
        """The newest lines of the log that say what went wrong, else its last ones."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(since, self.log.stat().st_size - 16384))
                lines = file.read().decode(errors="replace").splitlines()
        except FileNotFoundError:
            return ""
        grave = [line for line in lines if re.search(r"(FATAL|PANIC|ERROR|HINT|DETAIL|error):", line)]
        return "\n".join((grave or lines)[-6:])
