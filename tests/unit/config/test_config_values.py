"""The parsers of values: every form they take and what they refuse."""

from collections.abc import Callable

import pytest

from broadaxe.config import values
from broadaxe.config.kinds import choices, integer, number


@pytest.mark.parametrize("text", ["1", "t", "T", "true", "TRUE", "True"])
def test_parse_bool_go_form_of_true_is_true(text: str) -> None:
    assert values.parse_bool(text) is True


@pytest.mark.parametrize("text", ["0", "f", "F", "false", "FALSE", "False"])
def test_parse_bool_go_form_of_false_is_false(text: str) -> None:
    assert values.parse_bool(text) is False


@pytest.mark.parametrize("text", ["yes", "on", "tRUE", "2", "", " true"])
def test_parse_bool_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        values.parse_bool(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5s", 5),
        ("250ms", 0.25),
        ("1h30m", 5400),
        ("720h", 2_592_000),
        ("1.5h", 5400),
        (".5s", 0.5),
        ("0", 0),
        ("0s", 0),
        ("+3m", 180),
        ("100us", 0.0001),
        ("100µs", 0.0001),
        ("7ns", 7e-9),
        ("2h45m30.5s", 9930.5),
    ],
)
def test_parse_duration_go_form_is_seconds(text: str, seconds: float) -> None:
    assert values.parse_duration(text) == pytest.approx(seconds, rel=1e-12)


@pytest.mark.parametrize(
    "text", ["5", "5 s", "s", "1d", "5sec", "-5s", "", "1h-30m", "9999999999h", ".s", "٣s"]
)
def test_parse_duration_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        values.parse_duration(text)


@pytest.mark.parametrize("text", ["250ms", "5s", "1h30m", "720h", "1ns", "0s", "2h45m30s500ms"])
def test_format_duration_round_trips(text: str) -> None:
    assert values.format_duration(values.parse_duration(text)) == text


@pytest.mark.parametrize("text", ["", "1.0", "0x10", "1_000", " 1", "ten", "1e3"])
def test_integer_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a whole number"):
        integer().parse(text)


def test_integer_bounds_are_inclusive() -> None:
    kind = integer(1, 3)
    assert [kind.parse(text) for text in ("1", "+2", "3")] == [1, 2, 3]
    for text in ("0", "4", "-1"):
        with pytest.raises(ValueError, match="out of range"):
            kind.parse(text)


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "1_0", "x", ""])
def test_number_not_finite_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        number(0).parse(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("collector:4317", "collector:4317"),
        ("127.0.0.1:1", "127.0.0.1:1"),
        ("[::1]:4317", "[::1]:4317"),
        ("a.b-c.svc.cluster.local.:65535", "a.b-c.svc.cluster.local.:65535"),
    ],
)
def test_parse_host_port_good_address_is_kept(text: str, shown: str) -> None:
    assert str(values.parse_host_port(text)) == shown


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("http://collector:4317", "scheme"),
        ("grpc://c", "scheme"),
        ("collector", "port is missing"),
        ("collector:", "port is missing"),
        ("[::1]", "port is missing"),
        ("::1:4317", "brackets"),
        ("[::1:4317", "not closed"),
        ("[collector]:1", "not an IPv6"),
        ("collector:0", "1 to 65535"),
        ("collector:65536", "1 to 65535"),
        ("collector:x", "1 to 65535"),
        ("collector:+1", "1 to 65535"),
        (":4317", "not a name"),
        ("collector:4317/v1", "more than"),
        ("user@collector:1", "more than"),
        ("a b:1", "more than"),
        ("-a:1", "not a name"),
    ],
)
def test_parse_host_port_bad_address_is_refused_with_its_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        values.parse_host_port(text)


def test_parse_host_port_empty_host_is_allowed_where_asked() -> None:
    assert values.parse_host_port(":9090", empty_host=True) == ("", 9090)


@pytest.mark.parametrize(
    ("text", "address"),
    [("0.0.0.0", "0.0.0.0"), ("[::1]", "::1"), ("::", "::"), ("localhost", "localhost")],
)
def test_parse_bind_address_good_address_is_kept(text: str, address: str) -> None:
    assert values.parse_bind_address(text) == address


@pytest.mark.parametrize("text", ["127.0.0.1:80", "a b", "http://x", ""])
def test_parse_bind_address_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        values.parse_bind_address(text)


@pytest.mark.parametrize("text", ["localhost:8080", "ftp://x", "http://", "http://x:99999", "http://x:y"])
def test_parse_http_url_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        values.parse_http_url(text)


@pytest.mark.parametrize("mode", values.SSL_MODES)
def test_parse_postgres_url_known_sslmode_is_allowed(mode: str) -> None:
    text = f"postgresql://u:p@h:5432/d?sslmode={mode}"
    assert values.parse_postgres_url(text) == text


@pytest.mark.parametrize(
    "text",
    ["mysql://h/d", "h:5432", "postgres://h/d?sslmode=maybe", "postgres://h:port/d", "postgres://[h/d"],
)
def test_parse_postgres_url_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        values.parse_postgres_url(text)


@pytest.mark.parametrize(
    ("split", "text", "items"),
    [
        (values.split_spaces, " a  b\tc ", ("a", "b", "c")),
        (values.split_commas, " a , b c,,", ("a", "b c")),
        (values.split_spaces, "", ()),
        (values.split_commas, "", ()),
    ],
)
def test_split_list_is_its_items(
    split: Callable[[str], tuple[str, ...]], text: str, items: tuple[str, ...]
) -> None:
    assert split(text) == items


def test_choices_unknown_word_is_refused() -> None:
    kind = choices("all", "scheduler")
    assert kind.parse("scheduler all") == ("scheduler", "all")
    with pytest.raises(ValueError, match="unknown word"):
        kind.parse("all other")
