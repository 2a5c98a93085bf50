"""Heads of requests, messages in DATA, statuses in trailers."""

import gzip
import tracemalloc
import zlib

import pytest
from hpack import Decoder as Reference
from hpack import Encoder
from hypothesis import given, settings
from hypothesis import strategies as st

from broadaxe.grpc_api.call import Code, RpcError
from broadaxe.grpc_api.lean import replies
from broadaxe.grpc_api.lean.frames import END_STREAM, frame, header_frames
from broadaxe.grpc_api.lean.head import (
    DEFLATE,
    GZIP,
    Head,
    HeadReader,
    Heads,
    Malformed,
    check_trailers,
    read_head,
)
from broadaxe.grpc_api.lean.hpack import Decoder
from broadaxe.grpc_api.lean.inbound import Messages, gzipped, inflated, prefixed
from broadaxe.grpc_api.lean.memo import Memo

BASE = [
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/S/M"),
    ("content-type", "application/grpc"),
    ("te", "trailers"),
]


def test_head_keeps_metadata_and_leaves_out_what_is_the_transports() -> None:
    head = read_head([*BASE, ("x-note", "one"), ("x-note", "two"), ("x-raw-bin", "AP8"), ("user-agent", "t")])
    assert head.path == "/S/M"
    assert head.metadata == {"x-note": "one", "x-raw-bin": b"\x00\xff", "user-agent": "t"}


@pytest.mark.parametrize(
    "fields",
    [
        BASE[1:],
        [BASE[0], *BASE[2:]],
        [*BASE[:2], *BASE[3:]],
        [*BASE[:2], (":path", ""), *BASE[3:]],
        [*BASE, (":authority", "late")],
        [BASE[0], *BASE],
        [*BASE[:3], (":status", "200"), *BASE[3:]],
        [*BASE, ("Upper", "x")],
        [*BASE, ("a b", "x")],
        [*BASE, ("", "x")],
        [*BASE, ("connection", "keep-alive")],
        [*BASE, ("transfer-encoding", "chunked")],
        [*BASE[:-1], ("te", "gzip")],
        [*BASE, ("x", "a\x00b")],
        [*BASE, ("x", "a\nb")],
        [*BASE, ("content-length", "-1")],
        [*BASE, ("content-length", "1"), ("content-length", "2")],
    ],
)
def test_head_that_breaks_http2_is_malformed(fields: list[tuple[str, str]]) -> None:
    with pytest.raises(Malformed):
        read_head(fields)


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ((":method", "GET"), 405),
        (("content-type", "application/json"), 415),
        (("content-type", "application/grpcx"), 415),
        (("content-type", "application/grpc+proto"), 0),
        (("content-type", "application/grpc;charset=x"), 0),
    ],
)
def test_head_that_is_not_grpc_has_a_status_of_http(change: tuple[str, str], status: int) -> None:
    assert read_head([change if field[0] == change[0] else field for field in BASE]).http_status == status


def test_head_unknown_encoding_and_bad_base64_are_refused() -> None:
    assert read_head([*BASE, ("grpc-encoding", "snappy")]).refusal == (
        Code.UNIMPLEMENTED,
        "grpc-encoding snappy is not supported",
    )
    refusal = read_head([*BASE, ("x-bin", "!!")]).refusal
    assert refusal is not None
    assert refusal[0] is Code.INTERNAL


def test_trailers_with_a_pseudo_header_are_malformed() -> None:
    check_trailers([("x", "y")])
    with pytest.raises(Malformed):
        check_trailers([(":path", "/")])


def _read(reader: HeadReader, encoder: Encoder, *extra: tuple[str, str]) -> tuple[Head, float | None]:
    return reader.read(encoder.encode([*BASE, *extra]))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1H", 3600.0), ("2M", 120.0), ("3S", 3.0), ("40m", 0.04), ("50u", 5e-5), ("99999999n", 0.099999999)],
)
def test_timeout_is_read_in_every_unit(text: str, seconds: float) -> None:
    head, timeout = _read(HeadReader(Decoder(), 16384), Encoder(), ("grpc-timeout", text))
    assert timeout == pytest.approx(seconds)
    assert "grpc-timeout" not in head.metadata


@pytest.mark.parametrize("text", ["", "1", "S", "123456789S", "1s", "-1S", "1.5S", "١S"])
def test_timeout_that_cannot_be_read_is_refused(text: str) -> None:
    head, _ = HeadReader(Decoder(), 16384).read(Encoder().encode([*BASE, ("grpc-timeout", text.encode())]))
    assert head.refusal == (Code.INTERNAL, "malformed grpc-timeout")


def test_reader_same_request_again_gives_the_same_head_and_never_a_stale_one() -> None:
    reader, encoder = HeadReader(Decoder(), 16384), Encoder()
    first, _ = _read(reader, encoder, ("x", "1"))
    again, _ = _read(reader, encoder, ("x", "1"))
    third, _ = _read(reader, encoder, ("x", "1"))
    assert first is again is third
    other, timeout = _read(reader, encoder, ("x", "2"), ("grpc-timeout", "7S"))
    assert (other.metadata["x"], timeout) == ("2", 7.0)
    back, timeout = _read(reader, encoder, ("x", "1"), ("grpc-timeout", "8S"))
    assert back is first
    assert timeout == 8.0


def test_reader_block_that_was_kept_means_what_the_table_says_after_another_changed_it() -> None:
    def indexing(name: bytes, value: bytes) -> bytes:
        return b"\x40" + bytes((len(name),)) + name + bytes((len(value),)) + value

    reader = HeadReader(Decoder(), 16384)
    start, kind = b"\x83\x86", indexing(b"content-type", b"application/grpc")
    reader.read(start + indexing(b":path", b"/one") + kind)
    # The newest entry but one, and the newest.
    by_index = start + b"\xbf\xbe"
    assert [reader.read(by_index)[0].path for _ in range(2)] == ["/one", "/one"]
    assert reader.read(start + indexing(b":path", b"/two") + kind)[0].path == "/two"
    assert reader.read(by_index)[0].path == "/two"


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["/one", "/two", "/three"]), st.integers(-1, 3)), max_size=30))
def test_reader_any_sequence_of_heads_is_what_the_reference_reads(calls: list[tuple[str, int]]) -> None:
    reader, reference, encoder = HeadReader(Decoder(), 16384), Reference(), Encoder()
    for path, size in calls:
        if size >= 0:
            encoder.header_table_size = size * 100
        block = encoder.encode([(name, path if name == ":path" else value) for name, value in BASE])
        expected = {str(name): str(value) for name, value in reference.decode(block)}
        head, _ = reader.read(block)
        assert (head.path, head.metadata) == (path, read_head([*expected.items()]).metadata)


def test_reader_list_beyond_the_limit_is_refused_and_the_next_is_read() -> None:
    reader, encoder = HeadReader(Decoder(), 1000), Encoder()
    head, _ = _read(reader, encoder, ("x", "y" * 1000))
    assert head.refusal is not None
    assert head.refusal[0] is Code.RESOURCE_EXHAUSTED
    assert _read(reader, encoder)[0].refusal is None


@settings(deadline=None)
@given(st.lists(st.binary(max_size=50), max_size=6), st.lists(st.integers(1, 9), max_size=40))
def test_messages_come_out_whole_however_they_are_cut(sent: list[bytes], cuts: list[int]) -> None:
    data = b"".join(prefixed(message) for message in sent)
    messages, found = Messages(100), []
    for cut in cuts:
        part, data = data[:cut], data[cut:]
        found += messages.feed(part)
    found += messages.feed(data)
    assert found == [(False, message) for message in sent]
    assert len(messages) == 0


def test_messages_too_large_is_refused_at_its_prefix() -> None:
    with pytest.raises(RpcError) as refused:
        Messages(100).feed(b"\x00" + (101).to_bytes(4, "big"))
    assert refused.value.code is Code.RESOURCE_EXHAUSTED


def test_messages_unknown_flag_is_refused() -> None:
    with pytest.raises(RpcError):
        Messages(100).feed(b"\x02\x00\x00\x00\x00")


@settings(deadline=None)
@given(st.binary(max_size=2000))
def test_inflated_gives_back_what_was_compressed(message: bytes) -> None:
    assert inflated(gzip.compress(message), GZIP, 2000) == message
    assert inflated(zlib.compress(message), DEFLATE, 2000) == message
    framed = gzipped(message)
    assert framed[0] == 1
    assert gzip.decompress(framed[5:]) == message


@pytest.mark.parametrize("data", [b"", b"nonsense", gzip.compress(b"x" * 100, mtime=0)[:-9]])
def test_inflated_of_damaged_data_is_refused(data: bytes) -> None:
    with pytest.raises(RpcError) as refused:
        inflated(data, GZIP, 1000)
    assert refused.value.code is Code.INTERNAL


def test_inflated_bomb_is_refused_without_its_memory() -> None:
    bomb = gzip.compress(bytes(200 * 1024 * 1024), 9)
    tracemalloc.start()
    with pytest.raises(RpcError) as refused:
        inflated(bomb, GZIP, 100_000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert refused.value.code is Code.RESOURCE_EXHAUSTED
    assert peak < 1_000_000


@pytest.mark.parametrize(
    ("text", "coded"),
    [("plain text", b"plain text"), ("50%", b"50%25"), ("é\n", b"%C3%A9%0A"), ("\t☺", b"%09%E2%98%BA")],
)
def test_status_message_is_percent_encoded(text: str, coded: bytes) -> None:
    assert replies.percent_encoded(text) == coded


def _trailers(block: bytes) -> dict[str, str]:
    return dict(Reference().decode(block))


def test_status_block_has_what_the_client_takes() -> None:
    full = _trailers(replies.status_block(Code.NOT_FOUND, "gone", b"\x00\x01", None, alone=True))
    assert full == {
        ":status": "200",
        "content-type": "application/grpc",
        "grpc-status": "5",
        "grpc-message": "gone",
        "grpc-status-details-bin": "AAE",
    }
    small = _trailers(replies.status_block(Code.NOT_FOUND, "gone", b"x" * 1000, 500, alone=True))
    assert "grpc-status-details-bin" not in small
    assert small["grpc-message"] == "gone"
    tiny = _trailers(replies.status_block(Code.NOT_FOUND, "gone", b"x" * 1000, 100, alone=False))
    assert tiny == {"grpc-status": "5"}


def test_constant_blocks_decode_to_what_they_stand_for() -> None:
    assert _trailers(replies.RESPONSE_BLOCK) == {":status": "200", "content-type": "application/grpc"}
    assert _trailers(replies.GZIP_RESPONSE_BLOCK)["grpc-encoding"] == "gzip"
    assert _trailers(replies.OK_BLOCK) == {"grpc-status": "0"}
    assert _trailers(replies.http_block(415)) == {":status": "415"}


def test_memo_keeps_what_is_used_and_never_more_than_its_limit() -> None:
    memo: Memo[int, str] = Memo(10)
    for number in range(100):
        memo.put(number, str(number))
        assert memo.get(0) == "0"
        assert len(memo) <= 10
    assert memo.get(99) == "99"
    assert memo.get(50) is None


def test_readers_that_share_their_heads_give_the_same_one() -> None:
    heads: Heads = Memo(10)
    first, second = (HeadReader(Decoder(), 16384, heads) for _ in range(2))
    assert _read(first, Encoder(), ("x", "1"))[0] is _read(second, Encoder(), ("x", "1"))[0]
    assert _read(second, Encoder(), ("x", "2"))[0].metadata["x"] == "2"


def test_status_block_with_metadata_of_the_handler() -> None:
    own = (("x-note", "one"), ("x-raw-bin", b"\x00\x01"))
    full = _trailers(replies.status_block(Code.OK, "", None, None, alone=False, metadata=own))
    assert full == {"grpc-status": "0", "x-note": "one", "x-raw-bin": "AAE"}
    tiny = _trailers(
        replies.status_block(Code.NOT_FOUND, "gone", None, 300, alone=False, metadata=(("x", "y" * 200),))
    )
    assert tiny == {"grpc-status": "5", "grpc-message": "gone"}


def test_header_block_is_cut_into_frames() -> None:
    frames = header_frames(END_STREAM, 5, b"x" * 25, 10)
    assert frames == b"".join(
        (frame(1, 1, 5, b"x" * 10), frame(9, 0, 5, b"x" * 10), frame(9, 4, 5, b"x" * 5))
    )
    assert header_frames(END_STREAM, 5, b"x" * 10, 10) == frame(1, 5, 5, b"x" * 10)
