"""Reading a YAML file into flat text values, each with its line, without guessing at types.

YAML's own guesses would lose what was written (a password `0123` is a number to it), so the text of every
scalar is kept and the type of the setting decides. Only its switches (`yes`, `on`) are normalised, where a
switch is expected.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from broadaxe.config.errors import SettingsError

_TAG = "tag:yaml.org,2002:"
_YES = frozenset({"yes", "on", "true"})


@dataclass(frozen=True, slots=True)
class FileValue:
    """One leaf of a YAML file.

    `text` is a scalar as written and None for a list; `items` are the texts of a list; `switch` is set when
    YAML itself reads the scalar as true or false; `line` counts from 1.
    """

    text: str | None
    items: tuple[str, ...]
    switch: bool | None
    line: int


@dataclass(frozen=True, slots=True)
class FileValues:
    """The leaves of a YAML file by dotted key, and the keys of its inner mappings."""

    name: str
    leaves: dict[str, FileValue]
    branches: dict[str, int]


def read_yaml(path: Path) -> FileValues:
    """Read a YAML file; raises `SettingsError` when it cannot be read or is no mapping."""
    name = path.name
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise SettingsError.single(name, f"cannot be read: {reason}") from None
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        # the parser's own words may quote the file, and the file may hold secrets
        mark = error.problem_mark or error.context_mark
        place = f"{name}:{mark.line + 1}" if mark is not None else name
        raise SettingsError.single(place, "this is not valid YAML") from None
    except yaml.YAMLError:
        raise SettingsError.single(name, "this is not valid YAML") from None
    found = FileValues(name, {}, {})
    if root is None or _is_null(root):
        return found
    if not isinstance(root, yaml.MappingNode):
        raise SettingsError.single(name, "its top must be keys with values")
    _walk(root, "", found, ())
    return found


def _is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == _TAG + "null"


def _walk(node: yaml.MappingNode, prefix: str, found: FileValues, above: tuple[int, ...]) -> None:
    if id(node) in above:
        raise SettingsError.single(f"{found.name}:{_line(node)}", "an anchor contains itself")
    for key_node, value_node in _pairs(node):
        if not isinstance(key_node, yaml.ScalarNode):
            raise SettingsError.single(f"{found.name}:{_line(key_node)}", "a key must be a word")
        key = f"{prefix}{key_node.value}"
        if key in found.leaves or key in found.branches:
            raise SettingsError.single(f"{found.name}:{_line(key_node)}", f"the key {key} is there twice")
        if isinstance(value_node, yaml.MappingNode):
            found.branches[key] = _line(key_node)
            _walk(value_node, key + ".", found, (*above, id(node)))
        elif not _is_null(value_node):
            found.leaves[key] = _leaf(found.name, key, value_node)


def _pairs(node: yaml.MappingNode) -> Iterator[tuple[yaml.Node, yaml.Node]]:
    """The pairs of a mapping; those merged in by `<<` come last, where the mapping has no such key."""
    own = [pair for pair in node.value if pair[0].tag != _TAG + "merge"]
    yield from own
    names = {key.value for key, _ in own if isinstance(key, yaml.ScalarNode)}
    for key, value in node.value:
        if key.tag != _TAG + "merge":
            continue
        for source in value.value if isinstance(value, yaml.SequenceNode) else [value]:
            if not isinstance(source, yaml.MappingNode):
                continue
            for inner_key, inner_value in source.value:
                if isinstance(inner_key, yaml.ScalarNode) and inner_key.value not in names:
                    names.add(inner_key.value)
                    yield inner_key, inner_value


def _leaf(name: str, key: str, node: yaml.Node) -> FileValue:
    if isinstance(node, yaml.SequenceNode):
        items = tuple(item.value for item in node.value if isinstance(item, yaml.ScalarNode))
        if len(items) != len(node.value):
            raise SettingsError.single(f"{name}:{_line(node)}", f"the items of {key} must be words")
        return FileValue(None, items, None, _line(node))
    switch = node.value.lower() in _YES if node.tag == _TAG + "bool" else None
    return FileValue(node.value, (), switch, _line(node))


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
