"""The child processes, proxy and databases that other tests rely on."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import asyncpg
import pytest

from broadaxe.store.embedded import EmbeddedPostgres
from broadaxe.testkit.conditions import until
from broadaxe.testkit.database import Databases
from broadaxe.testkit.process import ChildError, ChildProcess
from broadaxe.testkit.proxy import Fault, FaultProxy, Way
from broadaxe.testkit.usage import alive, find_below, tree_usage

TALKER = """
import json, signal, sys
signal.signal(signal.SIGTERM, lambda *_: (print("bye", flush=True), sys.exit(3)))
print("hello", flush=True)
print(json.dumps({"event": "ready", "port": 7}), flush=True)
print("a problem", file=sys.stderr, flush=True)
signal.pause()
"""
PARENT = """
import asyncio, sys
from broadaxe.testkit.process import ChildProcess

async def main():
    child = await ChildProcess.start("sleep", "300")
    print(child.pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_child_process_output_is_waited_for_and_exit_code_told() -> None:
    async with await ChildProcess.start(sys.executable, "-c", TALKER) as child:
        assert await child.wait_line("^hel+o$") == "hello"
        found = await child.wait_json(lambda fields: fields.get("event") == "ready")
        assert found["port"] == 7
        await child.wait_line("a problem")
        assert child.output("err") == "a problem"
        assert child.usage().rss_bytes > 1 << 20
        mark = child.mark
        child.terminate()
        assert await child.wait_line("bye", since=mark) == "bye"
        assert await child.wait() == 3


async def test_child_process_that_ends_early_fails_the_wait_with_its_output() -> None:
    async with await ChildProcess.start(sys.executable, "-c", "print('why'); raise SystemExit(4)") as child:
        with pytest.raises(ChildError, match=r"(?s)ended without /never/.*why"):
            await child.wait_line("never")
        assert await child.wait() == 4


async def test_child_process_that_stays_silent_fails_the_wait_in_time() -> None:
    async with await ChildProcess.start("sleep", "60") as child:
        with pytest.raises(ChildError, match=r"no /never/ in 0\.1 s"):
            await child.wait_line("never", timeout=0.1)
        with pytest.raises(ChildError, match=r"still runs after 0\.1 s"):
            await child.wait(0.1)
        child.kill()
        assert await child.wait() == -signal.SIGKILL


async def test_child_process_that_ignores_sigterm_is_killed() -> None:
    code = "import signal; signal.signal(15, signal.SIG_IGN); print('up', flush=True); signal.pause()"
    async with await ChildProcess.start(sys.executable, "-c", code) as child:
        await child.wait_line("up")
        assert await child.stop(0.1) == -signal.SIGKILL


async def test_child_process_ends_when_its_parent_is_killed() -> None:
    path = os.pathsep.join(map(str, sys.path))
    parent = await ChildProcess.start(sys.executable, "-c", PARENT, env={"PYTHONPATH": path})
    grandchild = int(await parent.wait_line(r"^\d+$"))
    await until(lambda: find_below(parent.pid, "sleep") == [grandchild], "the grandchild is a sleep")
    assert tree_usage(parent.pid).processes == 2
    parent.kill()
    await parent.wait()
    await until(lambda: not alive(grandchild), "the grandchild is gone")


async def test_databases_of_two_tests_share_nothing(databases: Databases) -> None:
    first, second = await databases.migrated(), await databases.migrated()
    connections = [await asyncpg.connect(dsn) for dsn in (first, second)]
    await connections[0].execute("CREATE TABLE only_here (n int)")
    seen = [await connection.fetchval("SELECT to_regclass('only_here')::text") for connection in connections]
    assert seen == ["only_here", None]
    await databases.drop(first)
    await databases.drop(second)
    for connection in connections:
        connection.terminate()


class Through:
    """A client that speaks to PostgreSQL through a proxy, and one that does not."""

    def __init__(self, proxy: FaultProxy, database: str) -> None:
        self.proxy = proxy
        self.database = database

    async def connect(self) -> asyncpg.Connection:
        name = self.database.partition("@/")[2].partition("?")[0]
        return await asyncpg.connect(
            f"postgresql://broadaxe@127.0.0.1:{self.proxy.port}/{name}", ssl=False, timeout=30
        )

    async def rows(self) -> int:
        connection = await asyncpg.connect(self.database)
        try:
            return await connection.fetchval("SELECT count(*) FROM kept")
        finally:
            await connection.close()


@pytest.fixture
async def through(database_server: EmbeddedPostgres, empty_database: str):
    connection = await asyncpg.connect(empty_database)
    await connection.execute("CREATE TABLE kept (n int)")
    await connection.close()
    socket = Path(database_server.dsn.rpartition("=")[2]) / ".s.PGSQL.5432"
    async with FaultProxy(socket) as proxy:
        yield Through(proxy, empty_database)


@pytest.mark.parametrize(("fault", "rows"), [(Fault.CUT_BEFORE, 0), (Fault.LOSE_ANSWER, 1)])
async def test_proxy_commit_cut_before_or_after_it_is_obeyed(
    through: Through, fault: Fault, rows: int
) -> None:
    rule = through.proxy.on_pattern(b"COMMIT", fault)
    connection = await through.connect()
    with pytest.raises((OSError, asyncpg.PostgresError, asyncpg.InterfaceError)):
        async with connection.transaction():
            await connection.execute("INSERT INTO kept VALUES (1)")
    await rule.wait()
    await through.proxy.wait_connected(lambda count: count == 0)
    assert await through.rows() == rows
    again = await through.connect()
    async with again.transaction():  # a rule applies once
        await again.execute("INSERT INTO kept VALUES (2)")
    await again.close()
    assert await through.rows() == rows + 1


async def test_proxy_skip_lets_the_first_matches_through(through: Through) -> None:
    rule = through.proxy.on_pattern(b"COMMIT", Fault.CUT_AFTER, skip=2)
    connection = await through.connect()
    for number in range(2):
        async with connection.transaction():
            await connection.execute("INSERT INTO kept VALUES ($1)", number)
    assert not rule.fired.is_set()
    with pytest.raises((OSError, asyncpg.PostgresError, asyncpg.InterfaceError)):
        async with connection.transaction():
            await connection.execute("INSERT INTO kept VALUES (3)")
    await rule.wait()


async def test_proxy_stalled_holds_answers_until_resumed(through: Through) -> None:
    connection = await through.connect()
    through.proxy.stall(Way.TO_CLIENT)
    asked = asyncio.create_task(connection.fetchval("SELECT 1"))
    done, _ = await asyncio.wait([asked], timeout=0.1)
    assert not done
    through.proxy.resume()
    assert await asked == 1
    await connection.close()


async def test_proxy_cut_and_stopped_refuses_and_comes_back(through: Through) -> None:
    connection = await through.connect()
    port = through.proxy.port
    assert through.proxy.cut() == 1
    with pytest.raises((OSError, asyncpg.PostgresError, asyncpg.InterfaceError)):
        await connection.fetchval("SELECT 1")
    await through.proxy.stop()
    with pytest.raises(OSError, match="onnect"):
        await through.connect()
    await through.proxy.start()
    assert through.proxy.port == port
    connection = await through.connect()
    assert await connection.fetchval("SELECT 1") == 1
    await connection.close()


async def test_proxy_after_bytes_cuts_an_answer_in_the_middle(through: Through) -> None:
    connection = await through.connect()
    rule = through.proxy.after_bytes(20_000, Fault.CUT_BEFORE, Way.TO_CLIENT)
    with pytest.raises((OSError, asyncpg.PostgresError, asyncpg.InterfaceError)):
        await connection.fetchval("SELECT repeat('x', 1000000)")
    await rule.wait()


async def test_proxy_pattern_across_two_reads_is_found(tmp_path: Path) -> None:
    got: list[bytes] = []

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            got.append(data)
            writer.write(data)

    server = await asyncio.start_unix_server(echo, str(tmp_path / "s"))
    async with FaultProxy(tmp_path / "s", tmp_path / "p") as proxy:
        rule = proxy.on_pattern(b"abcdef", Fault.CUT_BEFORE)
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "p"))
        writer.write(b"..abc")
        assert await reader.readexactly(5) == b"..abc"
        writer.write(b"def..")
        await rule.wait()
        with pytest.raises((OSError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
    server.close()
    assert b"".join(got) == b"..abc"
