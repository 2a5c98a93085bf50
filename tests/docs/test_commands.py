"""Every command of the documentation is run, or, where it cannot run here, held to what it names."""

import inspect
import os
import re
import shlex
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from broadaxe.app.admin import create_keys
from broadaxe.cli.main import app
from broadaxe.telemetry.conformance import span_violations
from broadaxe.testkit.collector import Collector
from broadaxe.testkit.conditions import until
from broadaxe.testkit.database import Databases
from broadaxe.testkit.ports import free_port
from tests.docs.pages import PAGES, ROOT, blocks, inline_commands
from tests.docs.session import Session, ports

pytestmark = pytest.mark.slow

WORKER = next(
    block.text for block in blocks(ROOT / "docs" / "quick-start.md") if block.file == "my_worker.py"
)
WITH_COMMANDS = [page for page in PAGES if any(block.language == "sh" for block in blocks(page))]
COLLECTOR = "collector.example.com:4317"


@pytest.fixture
async def session(tmp_path: Path) -> AsyncIterator[Session]:
    """A folder for one page."""
    one = Session(tmp_path, {})
    yield one
    await one.close()


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    """The operator's own collector."""
    async with Collector() as one:
        yield one


def settings(folder: Path, dsn: str) -> dict[str, str]:
    """What an operator of a server has set already."""
    lines = create_keys(folder / "operator-keys")
    return {
        **ports(),
        **dict(line.split("=", 1) for line in lines),
        "DATABASE_URL": dsn,
        "SERVER_GRPC_INSECURE": "true",
    }


OWN_PAGE = {"README.md", "backup.md", "from-hatchet.md", "high-availability.md", "quick-start.md"}
"""Pages with a test of their own below; the others only need the settings of a server."""
PLAIN = [page for page in WITH_COMMANDS if page.name not in OWN_PAGE or page.parent.name == "runbooks"]


@pytest.mark.parametrize("page", PLAIN, ids=lambda page: page.relative_to(ROOT).as_posix())
async def test_commands_of_the_page(
    page: Path, session: Session, database: str, collector: Collector
) -> None:
    session.environment = settings(session.folder, database)
    replaced = {COLLECTOR: collector.target, "--port 4317": f"--port {free_port()}"}
    await session.run(page, replaced)


async def test_newcomer_gets_a_trace_in_an_own_collector(session: Session, collector: Collector) -> None:
    said = await session.run(
        ROOT / "docs" / "quick-start.md", {COLLECTOR: collector.target, "--port 4317": "--port 0"}
    )
    assert "hello, Broadaxe" in said
    assert re.search(r" greet-\d+ +COMPLETED ", said)
    assert session.checked == ["pip install . 'hatchet-sdk[otel]'"]
    assert "took the test span" in said
    (run,) = await collector.wait_span("hatchet.run/run")
    await collector.wait_for(
        lambda: any(span.name == "hatchet.run/attempt" for span in collector.traces()[run.trace_id]),
        "the attempt of the run",
    )
    trace = collector.traces()[run.trace_id]
    assert {span.service for span in trace} == {"server"}
    assert span_violations(trace) == []


async def test_readme(session: Session, empty_database: str) -> None:
    (session.folder / "my_worker.py").write_text(WORKER)
    session.environment = ports()
    port = free_port()
    replaced = {
        "postgres://user:password@host/db": empty_database,
        "4317": str(port),
    }
    said = await session.run(ROOT / "README.md", replaced)
    assert "applied accounts" in said
    assert session.checked == ["make demo", "make test", "pip install ."]


async def test_backup_and_restore(session: Session, databases: Databases) -> None:
    dsn = await databases.migrated()
    host = dsn.partition("host=")[2]
    user = dsn.partition("//")[2].partition("@")[0]
    restored = f"postgresql://{user}@/broadaxe?host={host}"
    session.environment = {
        **settings(session.folder, dsn),
        "PGHOST": host.replace("%2F", "/"),
        "PGUSER": user,
    }
    try:
        said = await session.run(
            ROOT / "docs" / "backup.md", {"postgres://user:password@host/broadaxe": f"'{restored}'"}
        )
        assert "the database is up to date" in said
    finally:
        await session.close()
        await databases.drop(dsn)
        await databases.drop(restored)


async def test_moving_from_hatchet(session: Session, empty_database: str) -> None:
    session.environment = ports()
    said = await session.run(
        ROOT / "docs" / "from-hatchet.md",
        {"postgres://user:password@host/broadaxe": f"'{empty_database}'"},
    )
    assert "the settings are good" in said
    assert said.splitlines()[-1].count(".") == 2, "the last command prints a token"


async def test_second_engine_takes_over(session: Session, empty_database: str) -> None:
    session.environment = ports()
    replaced = {
        "postgres://user:password@host/db": f"'{empty_database}'",
        "7071": str(free_port()),
        "8734": str(free_port()),
    }
    await session.run(ROOT / "docs" / "high-availability.md", replaced)
    first, second = session.started
    os.kill(first["pid"], 9)
    log = Path(second["log"])
    await until(lambda: "ready grpc" in log.read_text(), "the second engine is ready", timeout=30)


def test_every_page_with_commands_has_its_test() -> None:
    names = {page.name for page in WITH_COMMANDS}
    assert names >= OWN_PAGE
    assert len(PLAIN) + len(OWN_PAGE) == len(WITH_COMMANDS)
    for page in PAGES:
        fences = {block.language for block in blocks(page)}
        assert fences <= {"", "sh", "yaml", "python", "mermaid"}, f"{page.name}: {fences}"
        for block in blocks(page):
            # What has no language is output, never something to type.
            typed = block.language == "" and re.search(r"^\$? ?(broadaxe|pip|make|export) ", block.text, re.M)
            assert not typed, block.place


def _known(words: list[str]) -> Any:
    """The command that these words name, and what is left of them."""
    command: Any = typer.main.get_command(app)
    rest = words[1:]
    while rest and rest[0] in getattr(command, "commands", {}):
        command = command.commands[rest.pop(0)]
    return command, rest


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_in_sentences_exist(page: Path) -> None:
    for text in inline_commands(page):
        if "COMMAND" in text or "..." in text:
            continue
        command, rest = _known(shlex.split(text))
        known = {option for parameter in command.params for option in parameter.opts} | {
            "--help",
            "--version",
        }
        assert not getattr(command, "commands", {}) or not rest or rest[0].startswith("-"), text
        assert {word for word in rest if word.startswith("--")} <= known, text


def test_stand_ins_say_why_they_do_not_run() -> None:
    from tests.docs.shim import CHECKED

    assert all(inspect.getdoc(stand_in) for stand_in in CHECKED.values())
