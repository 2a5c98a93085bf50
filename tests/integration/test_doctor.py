"""`broadaxe doctor` against databases, ports, certificates and collectors, good and broken."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest

from broadaxe.app.admin import create_keys
from broadaxe.app.doctor.examination import examine
from broadaxe.app.doctor.findings import Area, Finding, Level, exit_code
from broadaxe.cli.doctor import AREAS
from broadaxe.clock import SystemClock
from broadaxe.config.loader import load_settings
from broadaxe.testkit.certificates import Authority
from broadaxe.testkit.collector import Collector
from broadaxe.testkit.database import Databases
from broadaxe.testkit.ports import closed_port, free_port
from broadaxe.testkit.process import ChildProcess

NOWHERE = f"postgresql://u:hidden@127.0.0.1:{closed_port()}/none"


@contextmanager
def listening() -> Iterator[int]:
    """A program that has a port and answers nothing."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield int(taken.getsockname()[1])


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Variables of keysets."""
    lines = create_keys(tmp_path_factory.mktemp("doctor") / "keys")
    return dict(line.split("=", 1) for line in lines)


def settings(keys: dict[str, str], dsn: str, **more: str) -> dict[str, str]:
    """An environment in which a server would start, on ports that are free."""
    return {
        **keys,
        "DATABASE_URL": dsn,
        "SERVER_GRPC_INSECURE": "true",
        "SERVER_GRPC_PORT": str(free_port()),
        "SERVER_PORT": str(free_port()),
        "SERVER_HEALTHCHECK_PORT": str(free_port()),
        "SERVER_BIND_ADDRESS": "127.0.0.1",
        "SERVER_HEALTHCHECK_BIND_ADDRESS": "127.0.0.1",
        **more,
    }


async def found(environment: dict[str, str]) -> list[Finding]:
    """What the doctor says."""
    return await examine(load_settings(environment), 20.0)


def bad(findings: list[Finding]) -> dict[str, str]:
    """What is not well, by area and name."""
    return {f"{one.area}/{one.name}": one.text for one in findings if one.level is not Level.OK}


async def test_healthy_server_has_nothing_to_complain(keys: dict[str, str], database: str) -> None:
    async with Collector() as collector:
        environment = settings(
            keys,
            database,
            SERVER_OTEL_COLLECTOR_URL=collector.target,
            SERVER_OTEL_INSECURE="true",
            SERVER_OTEL_METRICS_ENABLED="true",
        )
        findings = await found(environment)
    assert bad(findings) == {}
    assert exit_code(findings) == 0
    assert {one.area for one in findings} == {
        "settings", "database", "clock", "ports", "certificates", "collector",
    }  # fmt: skip
    (span,) = collector.spans
    assert any(span.trace_id in one.text for one in findings)


async def test_database_that_is_down_is_told_without_its_password(keys: dict[str, str]) -> None:
    findings = await found(settings(keys, NOWHERE))
    assert set(bad(findings)) == {"database/connection"}
    assert "connection refused" in bad(findings)["database/connection"]
    assert "hidden" not in repr(findings)
    assert exit_code(findings) == 1


async def test_database_that_does_not_exist(keys: dict[str, str], database: str) -> None:
    name = database.partition("@/")[2].partition("?")[0]
    findings = await found(settings(keys, database.replace(f"@/{name}", "@/no_such_database")))
    assert "there is no such database" in bad(findings)["database/connection"]


async def test_database_without_tables_wants_migrate(keys: dict[str, str], empty_database: str) -> None:
    findings = await found(settings(keys, empty_database))
    assert set(bad(findings)) == {"database/schema"}
    assert "broadaxe migrate" in bad(findings)["database/schema"]


async def test_days_without_partitions(keys: dict[str, str], database: str) -> None:
    connection = await asyncpg.connect(database)
    days = [row[0] for row in await connection.fetch("SELECT partition_days()")]
    today = SystemClock().now().date()
    for day in days:
        if day > today:
            await connection.fetch("SELECT drop_partition_day($1, 10)", day)
    assert "1 days" in bad(await found(settings(keys, database)))["database/partitions"]
    await connection.fetch("SELECT drop_partition_day($1, 10)", today)
    await connection.close()
    findings = await found(settings(keys, database))
    assert "0 days" in bad(findings)["database/partitions"]
    assert exit_code(findings) == 1


async def test_user_who_may_not_change_the_tables(keys: dict[str, str], databases: Databases) -> None:
    dsn = await databases.migrated()
    connection = await asyncpg.connect(dsn)
    await connection.execute("CREATE ROLE doctor_guest LOGIN; REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    user = dsn.partition("//")[2].partition("@")[0]
    try:
        guest = dsn.replace(f"//{user}@", "//doctor_guest@")
        await connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO doctor_guest")
        findings = await found(settings(keys, guest))
        assert "may not create tables" in bad(findings)["database/privileges"]
        await connection.execute("GRANT CREATE ON SCHEMA public TO doctor_guest")
        findings = await found(settings(keys, guest))
        assert "belong to others" in bad(findings)["database/privileges"]
    finally:
        await connection.execute("DROP OWNED BY doctor_guest; DROP ROLE doctor_guest")
        await connection.close()
        await databases.drop(dsn)


async def test_server_that_takes_no_writes(keys: dict[str, str], databases: Databases) -> None:
    dsn = await databases.migrated()
    name = dsn.partition("@/")[2].partition("?")[0]
    connection = await asyncpg.connect(dsn)
    await connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    await connection.close()
    try:
        findings = await found(settings(keys, dsn))
    finally:
        await databases.drop(dsn)
    assert "takes no writes" in bad(findings)["database/server"]


async def test_port_of_another_program(keys: dict[str, str], database: str) -> None:
    with listening() as port:
        findings = await found(settings(keys, database, SERVER_PORT=str(port)))
    assert set(bad(findings)) == {"ports/rest"}
    assert "another program" in bad(findings)["ports/rest"]


async def test_two_settings_that_name_one_port(keys: dict[str, str], database: str) -> None:
    port = str(free_port())
    findings = await found(settings(keys, database, SERVER_PORT=port, SERVER_GRPC_PORT=port))
    assert "SERVER_GRPC_PORT and SERVER_PORT" in bad(findings)["ports/shared"]


async def test_address_of_another_machine(keys: dict[str, str], database: str) -> None:
    findings = await found(settings(keys, database, SERVER_BIND_ADDRESS="192.0.2.1"))
    assert "no address of this machine" in bad(findings)["ports/rest"]


@pytest.mark.parametrize(
    ("valid_for", "broadcast", "level", "says"),
    [
        (timedelta(days=90), "localhost:7070", Level.OK, "valid until"),
        (timedelta(days=3), "localhost:7070", Level.WARNING, "renew it soon"),
        (timedelta(days=-1), "localhost:7070", Level.PROBLEM, "expired on"),
        (timedelta(days=90), "engine.example.com:443", Level.WARNING, "engine.example.com"),
    ],
)
async def test_certificate_of_grpc(
    keys: dict[str, str], database: str, tmp_path: Path, valid_for: timedelta, broadcast: str,
    level: Level, says: str,
) -> None:  # fmt: skip
    files = Authority.make(valid_for=valid_for).write(tmp_path)
    environment = settings(
        keys,
        database,
        SERVER_GRPC_INSECURE="false",
        SERVER_TLS_CERT_FILE=str(files["server.crt"]),
        SERVER_TLS_KEY_FILE=str(files["server.key"]),
        SERVER_GRPC_BROADCAST_ADDRESS=broadcast,
    )
    told = [one for one in await found(environment) if one.area == "certificates"]
    assert any(one.level is level and says in one.text for one in told), told
    worst = {one.level for one in told} - {level, Level.OK}
    assert worst == set()


async def test_key_of_another_certificate(keys: dict[str, str], database: str, tmp_path: Path) -> None:
    files = Authority.make(valid_for=timedelta(days=90)).write(tmp_path)
    environment = settings(
        keys,
        database,
        SERVER_GRPC_INSECURE="false",
        SERVER_TLS_CERT_FILE=str(files["server.crt"]),
        SERVER_TLS_KEY_FILE=str(files["client.key"]),
        SERVER_GRPC_BROADCAST_ADDRESS="localhost:7070",
    )
    assert "is not the key" in bad(await found(environment))["certificates/SERVER_TLS_KEY"]


async def test_missing_collector_is_a_problem_told_once(keys: dict[str, str], database: str) -> None:
    environment = settings(
        keys,
        database,
        SERVER_OTEL_COLLECTOR_URL=f"127.0.0.1:{free_port()}",
        SERVER_OTEL_INSECURE="true",
    )
    findings = await found(environment)
    assert set(bad(findings)) == {"collector/span"}
    assert exit_code(findings) == 1


async def doctor(environment: dict[str, str], *flags: str) -> tuple[int, str]:
    """The command: its exit code and what it printed."""
    async with await ChildProcess.broadaxe("doctor", *flags, env=environment) as process:
        code = await process.wait(40)
        assert "Traceback" not in process.output()
        return code, process.output("out")


async def test_command_beside_a_server_that_runs(keys: dict[str, str], database: str) -> None:
    environment = settings(keys, database)
    async with await ChildProcess.broadaxe("server", env=environment) as server:
        await server.wait_line("^ready ", 30)
        code, text = await doctor(environment)
    assert code == 0, text
    assert text.count("in use by a Broadaxe that runs") == 3


async def test_command_prints_json_for_programs(keys: dict[str, str]) -> None:
    code, text = await doctor(settings(keys, NOWHERE), "--json")
    told = json.loads(text)
    assert (code, told["healthy"]) == (1, False)
    (wrong,) = [one for one in told["findings"] if one["level"] == "problem"]
    assert (wrong["area"], wrong["name"]) == ("database", "connection")


@pytest.mark.parametrize(
    ("variable", "value"),
    [("SERVER_OTEL_COLLECTOR_URL", "http://collector:4317"), ("SERVER_OTEL_TRACE_ID_RATIO", "2")],
)
async def test_command_ends_with_2_for_a_wrong_setting(
    keys: dict[str, str], variable: str, value: str
) -> None:
    code, text = await doctor({**settings(keys, NOWHERE), variable: value}, "--json")
    assert code == 2
    assert [one["name"] for one in json.loads(text)["findings"] if one["level"] == "setting"] == [variable]


async def test_command_looks_at_what_it_is_told_to(keys: dict[str, str]) -> None:
    code, text = await doctor(settings({}, NOWHERE), "--only", "ports", "--json")
    assert code == 0
    assert {one["area"] for one in json.loads(text)["findings"]} == {"ports"}
    assert set(AREAS) == {area.value for area in Area}


async def test_command_names_an_area_that_does_not_exist() -> None:
    async with await ChildProcess.broadaxe("doctor", "--only", "ears") as process:
        assert await process.wait(40) == 2
        assert "--only" in process.output("err")
        assert "ears" in process.output("err")


async def test_command_ends_with_2_for_keys_that_are_missing() -> None:
    code, text = await doctor({**settings({}, NOWHERE)})
    assert code == 2
    assert "SERVER_ENCRYPTION_MASTER_KEYSET" in text
    assert "connection refused" in text, "the rest is looked at all the same"
