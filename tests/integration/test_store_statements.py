"""Every statement of the room against the schema."""

import asyncpg
import pytest

from broadaxe.store.statements import load_statements


@pytest.mark.parametrize("name", sorted(load_statements()))
async def test_statement_prepares_on_the_migrated_schema(shared_dsn: str, name: str) -> None:
    connection = await asyncpg.connect(shared_dsn)
    await connection.prepare(load_statements()[name].text)
    await connection.close()
