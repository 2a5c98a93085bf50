"""`used` is a promise: each such setting is read by code outside of the declarations."""

import ast
from collections.abc import Iterator
from pathlib import Path

from broadaxe.config.declare import Status
from broadaxe.config.settings import SECTIONS, every_setting

SOURCES = Path(__file__).parents[3] / "src" / "broadaxe"
NAMES = {part.attribute for part in SECTIONS}
BY_CLASS = {part.cls.__name__: part.attribute for part in SECTIONS}
Read = tuple[str, str]


def section_names(function: ast.AST) -> dict[str, str]:
    """Local names that stand for a section: `engine = settings.engine`, or a parameter of its class."""
    found: dict[str, str] = {}
    for node in ast.walk(function):
        if (
            isinstance(node, ast.Assign)
            and isinstance(node.value, ast.Attribute)
            and node.value.attr in NAMES
        ):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    found[target.id] = node.value.attr
        elif isinstance(node, ast.arg) and node.annotation is not None:
            section = BY_CLASS.get(ast.unparse(node.annotation))
            if section is not None:
                found[node.arg] = section
    return found


def reads_of(text: str) -> Iterator[Read]:
    """Section and name of each `....section.name` in the functions of a module."""
    for function in ast.walk(ast.parse(text)):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        local = section_names(function)
        for node in ast.walk(function):
            if not isinstance(node, ast.Attribute):
                continue
            if isinstance(node.value, ast.Attribute) and node.value.attr in NAMES:
                yield node.value.attr, node.attr
            elif isinstance(node.value, ast.Name) and node.value.id in local:
                yield local[node.value.id], node.attr


def all_reads() -> set[Read]:
    """Every read outside of config, and in config where a page of settings becomes one value."""
    derived = {SOURCES / "config" / "settings.py", SOURCES / "config" / "tls.py"}
    files = [
        path for path in SOURCES.rglob("*.py") if SOURCES / "config" not in path.parents or path in derived
    ]
    return {read for path in files for read in reads_of(path.read_text(encoding="utf-8"))}


def test_every_used_setting_is_read_and_nothing_else_is() -> None:
    reads = all_reads()
    declared = {(part.attribute, name): setting.status for part, name, setting in every_setting()}
    promised = {read for read, status in declared.items() if status is Status.USED}
    assert promised - reads == set()
    assert {read for read in reads if read in declared and read not in promised} == set()
