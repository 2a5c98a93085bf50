"""The files of SQL: headers, use, and where SQL may be."""

import re
from pathlib import Path

import pytest

import broadaxe.store
from broadaxe.store.migrate import Migration, MigrationError, load_migrations, pending_migrations
from broadaxe.store.statements import load_statements, statement

ROOM = Path(broadaxe.store.__file__).parent


def test_load_statements_each_is_named_and_used() -> None:
    statements = load_statements()
    code = "\n".join(path.read_text() for path in ROOM.parent.rglob("*.py"))
    # `Transaction` picks the form of a statement that holds the leases too by this ending.
    unused = [name for name in statements if f'"{name.removesuffix("_fenced")}"' not in code]
    assert unused == []
    assert len(statements) > 40


def test_load_statements_operation_is_in_the_text() -> None:
    for found in load_statements().values():
        words = found.text.upper()
        assert found.operation in words or found.operation in ("CREATE", "DROP", "NOTIFY"), found.name
        assert found.span.name == f"hatchet.run/{found.operation} {found.target}"
        assert "{" not in found.text


def test_statement_unknown_name_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        statement("no_such_statement")


def test_python_files_hold_no_sql() -> None:
    keyword = re.compile(r"\"\s*(SELECT|INSERT INTO|UPDATE|DELETE FROM|CREATE TABLE|ALTER|DROP)\s", re.ASCII)
    found = [path.name for path in ROOM.rglob("*.py") if keyword.search(path.read_text())]
    assert found == []


def test_pending_migrations_new_database_gets_all() -> None:
    known = load_migrations()
    assert pending_migrations(known, []) == known
    applied = [(m.version, m.name, m.checksum) for m in known]
    assert pending_migrations(known, applied) == []
    assert pending_migrations(known, applied[:1]) == known[1:]


def test_pending_migrations_unknown_or_changed_is_refused_with_its_name() -> None:
    known = [Migration(1, "first", "", "aaa")]
    with pytest.raises(MigrationError, match="0002_second, which this version does not know"):
        pending_migrations(known, [(1, "first", "aaa"), (2, "second", "bbb")])
    with pytest.raises(MigrationError, match="0001_first was applied with another content"):
        pending_migrations(known, [(1, "first", "zzz")])
