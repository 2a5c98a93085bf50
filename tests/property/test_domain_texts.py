"""Durations, payload checks and metadata edits over any text."""

import json
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from broadaxe.domain.durations import InvalidDuration, format_duration, parse_duration
from broadaxe.domain.metadata import add_keys, inherit, matches, read_text
from broadaxe.domain.payloads import has_nul, json_problem, object_problem
from broadaxe.domain.step_graph import find_cycle

PLAIN = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=12)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | PLAIN
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(PLAIN, inner, max_size=4),
    max_leaves=8,
)
KEYS = st.sampled_from(["traceparent", "hatchet__event_id", "a", "b", 'quo"te', "ü", "back\\slash"]) | PLAIN
OBJECTS = st.dictionaries(KEYS, VALUES, max_size=5)


@st.composite
def texts_of(draw: st.DrawFn, values: st.SearchStrategy[Any]) -> bytes:
    """A JSON text of a value, in one of many spellings."""
    text = json.dumps(
        draw(values),
        ensure_ascii=draw(st.booleans()),
        indent=draw(st.sampled_from([None, 0, 2])),
        separators=draw(st.sampled_from([(",", ":"), (" , ", " : ")])),
    )
    space = st.text(" \t\r\n", max_size=3)
    return (draw(space) + text + draw(space)).encode()


# Seconds are floats: up to 2**22 of them (48 days) they hold every nanosecond.
@given(st.integers(-(2**22) * 10**9, 2**22 * 10**9))
def test_duration_format_then_parse_is_same(nanoseconds: int) -> None:
    seconds = nanoseconds / 1e9
    text = format_duration(seconds)
    assert round(parse_duration(text) * 1e9) == nanoseconds
    assert format_duration(parse_duration(text)) == text


@given(st.text(max_size=12) | st.text("0123456789.+-hmsnuµ", max_size=12))
def test_duration_parse_any_text_answers_or_names_it(text: str) -> None:
    try:
        outcome: float | str = parse_duration(text)
    except InvalidDuration as error:
        outcome = error.message
    assert text in outcome if isinstance(outcome, str) else abs(outcome) < 2**63 / 1e9 + 1


def reference(data: bytes) -> tuple[bool, bool]:
    """Whether json.loads takes the bytes as strict JSON, and whether any text in it holds U+0000."""

    def refuse(name: str) -> None:
        raise ValueError(name)

    try:
        value = json.loads(data.decode(), parse_constant=refuse)
    except ValueError:
        return False, False
    return True, "\\u0000" in json.dumps(value).replace("\\\\", "")


@given(
    texts_of(VALUES)
    | st.binary(max_size=12)
    | st.text('{}[]",:\\u0 1truenlNaI-.', max_size=14).map(str.encode)
    | st.text(r'\u0"', max_size=12).map(lambda inner: f'["{inner}"]'.encode())
)
def test_json_problem_agrees_with_json_loads(data: bytes) -> None:
    valid, nul = reference(data)
    assert (json_problem(data) is None) == (valid and not nul)
    if valid:
        assert has_nul(data) == nul
        is_object = data.lstrip(b" \t\r\n").startswith(b"{")
        assert (object_problem(data) is None) == (is_object and not nul)


@given(texts_of(OBJECTS), st.dictionaries(PLAIN.filter(bool), PLAIN, max_size=3))
def test_add_keys_keeps_the_callers_bytes(metadata: bytes, extra: dict[str, str]) -> None:
    result = add_keys(metadata, extra)
    assert json.loads(result) == json.loads(metadata) | extra
    brace = metadata.rindex(b"}")
    assert result.startswith(metadata[:brace])
    assert result.endswith(metadata[brace:])


@given(texts_of(OBJECTS), st.none() | texts_of(OBJECTS))
def test_inherit_childs_keys_win_and_bytes_stay(parent: bytes, child: bytes | None) -> None:
    result = inherit(parent, child)
    inherited = {
        key: value
        for key, value in json.loads(parent).items()
        if key != "traceparent" and not key.startswith("hatchet__")
    }
    own = json.loads(child) if child else {}
    assert json.loads(result) == inherited | own
    if child is not None:
        assert result.startswith(child[: child.rindex(b"}")])


@given(texts_of(OBJECTS), KEYS, PLAIN)
def test_read_text_agrees_with_json_loads(metadata: bytes, key: str, value: str) -> None:
    expected = json.loads(metadata).get(key)
    assert read_text(metadata, key) == (expected if isinstance(expected, str) else None)
    assert matches(metadata, key, value) == (isinstance(expected, str) and expected == value)
    if isinstance(expected, str):
        assert matches(metadata, key, expected)


@given(st.dictionaries(st.sampled_from("abcdef"), st.lists(st.sampled_from("abcdefg"), max_size=3)))
def test_find_cycle_is_one_or_an_order_exists(parents: dict[str, list[str]]) -> None:
    cycle = find_cycle(parents)
    if cycle is not None:
        assert cycle[0] == cycle[-1]
        assert all(before in parents[after] for before, after in pairwise(cycle))
        return
    left = {name: set(names) & parents.keys() for name, names in parents.items()}
    while left:
        ready = {name for name, names in left.items() if not names & left.keys()}
        assert ready, "no cycle reported, yet nothing can go first"
        left = {name: names for name, names in left.items() if name not in ready}
