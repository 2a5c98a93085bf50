"""Durations, cron syntax, labels, placement, payloads, metadata and names: tables of cases."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

import pytest

from broadaxe.domain import metadata as md
from broadaxe.domain.cron_syntax import ALIASES, cron_problem, split_zone
from broadaxe.domain.durations import InvalidDuration, format_duration, parse_duration
from broadaxe.domain.errors import InvalidArgument
from broadaxe.domain.labels import decode_requests, encode_requests, label_met, label_problem, rank_worker
from broadaxe.domain.naming import (
    display_name,
    name_valid,
    normalise_action,
    numeric_task_id,
    run_state,
    step_id,
)
from broadaxe.domain.payloads import (
    json_problem,
    object_problem,
    output_problem,
    require_object,
    storable_error,
)
from broadaxe.domain.placement import Placement, choose_worker
from broadaxe.domain.task import TaskState
from broadaxe.domain.workflow import LabelRequest


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("+5s", 5),
        ("-5s", -5),
        ("1h30m", 5400),
        ("1h0m0.5s", 3600.5),
        ("250ms", 0.25),
        ("1.5s", 1.5),
        (".5s", 0.5),
        ("1.s", 1),
        ("10us", 0.00001),
        ("10µs", 0.00001),
        ("3ns", 3e-9),
        ("30s1m", 90),
    ],
)
def test_parse_duration_valid(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds, abs=1e-12)


@pytest.mark.parametrize(
    "text", ["", "-", "5", "s", ".s", "1d", "5 s", " 5s", "5s ", "1e3s", "--5s", "٣s", "300000000h", "5S"]
)
def test_parse_duration_invalid_names_text(text: str) -> None:
    with pytest.raises(InvalidDuration) as caught:
        parse_duration(text)
    assert f'"{text}"' in caught.value.message


def test_parse_duration_huge_text_is_cut_in_message() -> None:
    with pytest.raises(InvalidDuration) as caught:
        parse_duration("9" * 1_000_000 + "s")
    assert len(caught.value.message) < 200


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (60, "1m"),
        (5400, "1h30m"),
        (0.25, "250ms"),
        (1.5, "1.5s"),
        (61.001, "1m1.001s"),
        (-5, "-5s"),
        (1e-6, "1us"),
    ],
)
def test_format_duration_cases(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    "expression",
    [
        "* * * * *",
        "*/5 0-23/2 1,15 JAN-MAR mon-fri",
        "0 0 12 ? * 7",
        "CRON_TZ=Europe/Berlin 0 9 * * 1",
        "TZ=UTC @daily",
        "  5 4 * * sun  ",
        *ALIASES,
    ],
)
def test_cron_problem_valid_is_none(expression: str) -> None:
    assert cron_problem(expression) is None


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "* * * *",
        "* * * * * * *",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * * 13 *",
        "* * * * 8",
        "5-1 * * * *",
        "*/0 * * * *",
        "*/x * * * *",
        "1,,2 * * * *",
        "a * * * *",
        "@fortnightly",
        "CRON_TZ= * * * * *",
        "CRON_TZ=UTC",
        "٣ * * * *",
        "-1 * * * *",
        "* * * * *" + " " * 600,
    ],
)
def test_cron_problem_invalid_tells(expression: str) -> None:
    assert cron_problem(expression)


def test_split_zone_gives_zone_and_rest() -> None:
    assert split_zone("CRON_TZ=Europe/Berlin 0 9 * * 1") == ("Europe/Berlin", "0 9 * * 1")
    assert split_zone("@daily") == (None, "@daily")


@dataclass(frozen=True)
class Label:
    text: str | None = None
    number: int | None = None


@pytest.mark.parametrize(
    ("comparator", "wanted", "have", "met"),
    [
        (0, "a", Label("a"), True),
        (0, "a", Label("b"), False),
        (0, 3, Label(number=3), True),
        (0, 3, Label("3"), False),
        (1, "a", Label("b"), True),
        (1, 3, Label(number=3), False),
        (1, "a", None, False),
        (2, 3, Label(number=4), True),
        (2, 3, Label(number=3), False),
        (3, 3, Label(number=3), True),
        (4, 3, Label(number=2), True),
        (4, 3, Label(number=3), False),
        (5, 3, Label(number=3), True),
        (5, 3, Label("1"), False),
    ],
)
def test_label_met_cases(comparator: int, wanted: str | int, have: Label | None, met: bool) -> None:
    number = wanted if isinstance(wanted, int) else None
    text = wanted if isinstance(wanted, str) else None
    assert label_met(LabelRequest("k", text, number, comparator=comparator), have) is met


def test_rank_worker_sums_weights_and_excludes_on_required() -> None:
    wishes = (
        LabelRequest("gpu", "yes", required=True),
        LabelRequest("zone", "a", weight=7),
        LabelRequest("ram", number=64, comparator=3, weight=5),
    )
    assert rank_worker(wishes, {"gpu": Label("yes"), "zone": Label("b"), "ram": Label(number=99)}) == 105
    assert rank_worker(wishes, {"zone": Label("a")}) is None
    assert rank_worker((), {}) == 0


@pytest.mark.parametrize(
    "request_",
    [
        LabelRequest(""),
        LabelRequest("k"),
        LabelRequest("k", "a", 1),
        LabelRequest("k", "a", comparator=2),
        LabelRequest("k", "a", comparator=9),
    ],
)
def test_label_problem_wrong_wish_tells(request_: LabelRequest) -> None:
    assert label_problem(request_)


def test_label_requests_survive_encoding() -> None:
    wishes = (LabelRequest("k", "ü", required=True), LabelRequest("n", number=3, comparator=5, weight=1))
    assert decode_requests(encode_requests(wishes)) == wishes
    with pytest.raises(InvalidArgument):
        decode_requests(b'[{"nope":1}]')


@dataclass(frozen=True)
class Worker:
    worker_id: UUID
    free: dict[str, int] = field(default_factory=lambda: {"default": 1})
    labels: dict[str, Label] = field(default_factory=dict)


ONE, TWO, THREE = (UUID(int=n) for n in (1, 2, 3))
NEED = {"default": 1}


def test_choose_worker_serves_in_turn() -> None:
    workers = [Worker(ONE), Worker(TWO, {"default": 0}), Worker(THREE)]
    cursor, chosen = 0, []
    for _ in range(4):
        placement = choose_worker(workers, NEED, cursor)
        assert placement is not None
        chosen.append(placement.index)
        cursor = placement.cursor
    assert chosen == [0, 2, 0, 2]


def test_choose_worker_needs_every_slot_type_on_one_worker() -> None:
    need = {"default": 2, "gpu": 1}
    assert choose_worker([Worker(ONE, {"default": 9}), Worker(TWO, {"gpu": 9})], need, 0) is None
    assert choose_worker([Worker(ONE), Worker(TWO, {"default": 2, "gpu": 1})], need, 0) == Placement(1, 2)
    assert choose_worker([], need, 5) is None


def test_choose_worker_desired_is_preferred_or_demanded() -> None:
    free, full = Worker(ONE), Worker(TWO, {"default": 0})
    assert choose_worker([free, Worker(TWO)], NEED, 0, desired_worker=TWO) == Placement(1, 0)
    assert choose_worker([free, full], NEED, 0, desired_worker=TWO) == Placement(0, 1)
    assert choose_worker([free, full], NEED, 0, desired_worker=TWO, desired_only=True) is None


def test_choose_worker_serves_best_rank_in_turn() -> None:
    wishes = (LabelRequest("zone", "a"), LabelRequest("os", "linux", required=True))
    linux, both = {"os": Label("linux")}, {"os": Label("linux"), "zone": Label("a")}
    workers = [Worker(ONE, labels=linux), Worker(TWO, labels=both), Worker(THREE, labels=both)]
    assert choose_worker(workers, NEED, 0, requests=wishes) == Placement(1, 2)
    assert choose_worker(workers, NEED, 2, requests=wishes) == Placement(2, 3)
    assert choose_worker(workers, NEED, 3, requests=wishes) == Placement(1, 2)
    assert choose_worker(workers[:1], NEED, 0, requests=wishes) == Placement(0, 1)
    assert choose_worker([Worker(ONE)], NEED, 0, requests=wishes) is None


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"{}", None),
        (b' {"a":[1e999,-0.5,"\\ud800"]} ', None),
        (b'{"n":' + b"9" * 6_000 + b"}", None),
        (b'{"a":"\\\\u0000"}', None),
        (b'{"a":"\\u0000"}', "U+0000"),
        (b'{"a":"\\\\\\u0000"}', "U+0000"),
        (b"\x00", "U+0000"),
        (b"[]", "object"),
        (b"null", "object"),
        (b"", "invalid JSON"),
        (b"{} {}", "invalid JSON"),
        (b'{"a":NaN}', "invalid JSON"),
        (b'{"a":-Infinity}', "invalid JSON"),
        (b'{"a":"\n"}', "invalid JSON"),
        (b'\xef\xbb\xbf{"a":1}', "invalid JSON"),
        ("{}".encode("utf-16-le")[:2] + b"}", "U+0000"),
        (b'{"a":"\xff"}', "UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
    ],
)
def test_object_problem_cases(data: bytes, problem: str | None) -> None:
    found = object_problem(data)
    assert found is None if problem is None else problem in (found or "")


def test_json_checks_tell_values_from_objects() -> None:
    assert json_problem(b"3") is None
    assert output_problem(b"") is None
    assert output_problem(b"nope")
    with pytest.raises(InvalidArgument, match=r"^input: must be a JSON object$"):
        require_object("input", b"3")


def test_storable_error_keeps_bytes_but_for_nul() -> None:
    text = b'ValueError: \\u0000\n\n{"__hatchet_error_metadata__": {}}'
    assert storable_error(text) is text
    assert b"\x00" not in storable_error(b"a\x00b")


@pytest.mark.parametrize(
    ("metadata", "result"),
    [
        (None, b'{"k":"v"}'),
        (b"", b'{"k":"v"}'),
        (b"{}", b'{"k":"v"}'),
        (b"{ \n}", b'{ \n"k":"v"}'),
        (b' {"a" : 1.0}\n', b' {"a" : 1.0,"k":"v"}\n'),
        (b'{"a":"}"}', b'{"a":"}","k":"v"}'),
    ],
)
def test_add_keys_cases(metadata: bytes | None, result: bytes) -> None:
    assert md.add_keys(metadata, {"k": "v"}) == result


def test_add_keys_nothing_changes_nothing() -> None:
    assert md.add_keys(b' {"a":1} ', {}) == b' {"a":1} '
    assert md.add_keys(None, {}) == b"{}"


def test_inherit_leaves_out_engine_keys_and_keeps_bytes() -> None:
    parent = b'{"a": 1.50, "b":[1, {"x":"}"}], "hatchet__event_id":"e", "traceparent":"00-..", "c":null}'
    assert md.inherit(parent, b'{"b":2}') == b'{"b":2,"a":1.50,"c":null}'
    assert md.inherit(parent, None) == b'{"a":1.50,"b":[1, {"x":"}"}],"c":null}'
    assert md.inherit(None, None) == b"{}"
    assert md.inherit(b"{}", b'{"b":2}') == b'{"b":2}'


def test_read_traceparent_only_from_text() -> None:
    assert md.read_traceparent(b'{"traceparent":"00-1"}') == "00-1"
    assert md.read_traceparent(b'{"\\u0074raceparent":"00-2"}') == "00-2"
    assert md.read_traceparent(b'{"x":{"traceparent":"00-3"}}') is None
    assert md.read_traceparent(b'{"traceparent":5}') is None
    assert md.read_traceparent(None) is None


def test_matches_compares_texts_only() -> None:
    assert md.matches(b'{"k":"a:b"}', "k", "a:b")
    assert not md.matches(b'{"k":1}', "k", "1")


def test_require_metadata_refuses_other_than_object() -> None:
    md.require_metadata(None)
    md.require_metadata(b'{"a":1}')
    with pytest.raises(InvalidArgument, match="additional_metadata"):
        md.require_metadata(b"[]")


@pytest.mark.parametrize("name", ["a", "A-b_c.9"])
def test_name_valid_accepts(name: str) -> None:
    assert name_valid(name)


@pytest.mark.parametrize("name", ["", "a b", "a\n", "ü", "a:b", "a/b"])
def test_name_valid_refuses(name: str) -> None:
    assert not name_valid(name)


def test_normalise_action_lowers_as_workers_do() -> None:
    assert normalise_action("MyService:DoIt") == "myService:doit"
    assert normalise_action("a:B:C") == "a:b:C"
    for action in ("", "a", ":b", "a:", "a:b:c:d", "a::c"):
        with pytest.raises(InvalidArgument):
            normalise_action(action)


def test_derived_names_are_stable() -> None:
    assert display_name("child", datetime(2026, 5, 1, 0, 0, 0, 123_456, tzinfo=UTC)) == "child-1777593600123"
    assert step_id("w", "s") == UUID("43c47c31-72b4-56d1-8471-669ee5c6e079"), "stored: must never change"
    assert step_id("w", "s") != step_id("w", "t")
    assert numeric_task_id(UUID(int=2**128 - 1)) == 2**53 - 1


Q, D, R = TaskState.QUEUED, TaskState.DELAYED, TaskState.ASSIGNED
C, F, X = TaskState.COMPLETED, TaskState.FAILED, TaskState.CANCELLED


@pytest.mark.parametrize(
    ("states", "state"),
    [
        ([], Q),
        ([D], Q),
        ([Q, D], Q),
        ([C, C], C),
        ([X, X], X),
        ([C, F], F),
        ([R, F], F),
        ([C, Q], R),
        ([X, R], R),
        ([Q, R], R),
        ([C, X], X),
    ],
)
def test_run_state_cases(states: list[TaskState], state: TaskState) -> None:
    assert run_state(states) is state
