"""Databases for tests: an embedded server a test run, a fresh copy of a migrated database a test."""

import itertools
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import asyncpg

from broadaxe.store.embedded import EmbeddedPostgres

FAST: Mapping[str, str] = {"fsync": "off", "full_page_writes": "off", "max_wal_size": "4GB"}
"""Settings that keep commits in order but do not wait for the disk; not for tests that kill or measure."""

Migrate = Callable[[str], Awaitable[object]]
"""Brings the database behind a URL to the newest version."""

_TEMPLATE = "bx_template"


class Databases:
    """Hands out databases of one server; each is dropped by the test that asked for it."""

    def __init__(self, server: EmbeddedPostgres, migrate: Migrate | None = None) -> None:
        self._server = server
        self._migrate = migrate
        self._numbers = itertools.count(1)
        self._ready = False

    async def empty(self) -> str:
        """The URL of a new database with nothing in it."""
        return await self._create("template1")

    async def migrated(self) -> str:
        """The URL of a new database at the newest version; the template is made at the first call."""
        if self._migrate is None:
            raise RuntimeError("no function that migrates was given")
        if not self._ready:
            await self._run(f"CREATE DATABASE {_TEMPLATE}")
            await self._migrate(self._server.dsn_of(_TEMPLATE))
            self._ready = True
        return await self._create(_TEMPLATE)

    async def drop(self, dsn: str) -> None:
        """Drop a database of ours, whoever is still connected to it."""
        name = dsn.partition("@/")[2].partition("?")[0]
        await self._run(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    async def _create(self, template: str) -> str:
        name = f"test_{next(self._numbers)}"
        await self._run(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self._server.dsn_of(name)

    async def _run(self, statement: str) -> None:
        connection = await asyncpg.connect(self._server.dsn)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


def fast_server(folder: Path) -> EmbeddedPostgres:
    """A server for tests that neither kill it nor measure it."""
    return EmbeddedPostgres(folder, overrides=FAST)
