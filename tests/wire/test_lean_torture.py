"""The lean transport under bad networks and bad clients: no exception, bounded memory, the right refusal."""

import asyncio
import gc
import random
import socket
import struct
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from hpack import Decoder, Encoder
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lean_peer import Judge, Side, request_head, settle
from toy_server import listen, register, serving

from broadaxe.grpc_api.lean import stream as stream_module
from broadaxe.grpc_api.lean.frames import PREFACE, ErrorCode, frame
from broadaxe.grpc_api.lean.inbound import gzipped, prefixed
from broadaxe.grpc_api.lean.settings import LeanSettings
from broadaxe.grpc_api.lean.usage import Usage
from broadaxe.grpc_api.wire import dispatcher_pb2, events_pb2

START = PREFACE + frame(4, 0, 0)
PUSH, LISTEN, REGISTER = "/EventsService/Push", "/Dispatcher/ListenV2", "/Dispatcher/Register"
SUBSCRIBE = "/Dispatcher/SubscribeToWorkflowRuns"


def _head(encoder: Encoder, path: str, *extra: tuple[str, str]) -> bytes:
    return encoder.encode(request_head(path, extra))


def _push(size: int = 2) -> Any:
    return events_pb2.PushEventRequest(payload="x" * size)


def _script() -> bytes:
    """A client's side of a conversation with every kind of frame in it."""
    encoder = Encoder()
    body = prefixed(_push(300).SerializeToString())
    block = _head(encoder, PUSH)
    ids = b"".join(
        prefixed(dispatcher_pb2.SubscribeToWorkflowRunsRequest(workflow_run_id=name).SerializeToString())
        for name in ("one", "two", "three")
    )
    padded = bytes((7,)) + body + bytes(7)
    return b"".join(
        (
            PREFACE,
            frame(4, 0, 0, struct.pack(">HI", 4, 200)),
            frame(1, 4, 1, block),
            frame(0, 1, 1, body),
            frame(1, 0, 3, b""),
            frame(9, 0, 3, (second := _head(encoder, PUSH, ("grpc-timeout", "9S")))[:3]),
            frame(9, 4, 3, second[3:]),
            frame(0, 0, 3, body[:4]),
            frame(0, 0x9, 3, bytes((3,)) + body[4:] + bytes(3)),
            frame(1, 4, 5, _head(encoder, SUBSCRIBE)),
            frame(0, 0, 5, ids[:11]),
            frame(6, 0, 0, b"pingping"),
            frame(0, 1, 5, ids[11:]),
            frame(1, 4, 7, _head(encoder, LISTEN)),
            frame(0, 0x9, 7, bytes((2,)) + prefixed(listen("30").SerializeToString()) + bytes(2)),
            frame(8, 0, 7, (5000).to_bytes(4, "big")),
            frame(1, 0x2C, 9, bytes((1,)) + bytes(4) + b"\x10" + _head(encoder, REGISTER) + b"\x00"),
            frame(0, 1, 9, prefixed(register("missing").SerializeToString())),
            frame(1, 4, 11, _head(encoder, PUSH)),
            frame(0, 0x9, 11, padded),
            frame(0xBE, 0xFF, 11, b"unknown"),
            frame(4, 0, 0, struct.pack(">HI", 4, 65535)),
        )
    )


class _Answers:
    """What a client learns from a server's bytes, without their timing."""

    def __init__(self, data: bytes) -> None:
        decoder = Decoder()
        self.fields: dict[int, list[Any]] = {}
        self.data: dict[int, bytes] = {}
        self.others: list[tuple[int, int, bytes]] = []
        at = 0
        while at < len(data):
            size = int.from_bytes(data[at : at + 3], "big")
            kind, flags = data[at + 3], data[at + 4]
            stream = int.from_bytes(data[at + 5 : at + 9], "big")
            payload = data[at + 9 : at + 9 + size]
            at += 9 + size
            if kind == 0:
                self.data[stream] = self.data.get(stream, b"") + payload
            elif kind == 1:
                self.fields.setdefault(stream, []).append((decoder.decode(payload), flags))
            elif kind != 8:
                self.others.append((kind, flags, payload))


async def _answers(chunks: list[bytes]) -> _Answers:
    side = Side()
    await side.feed(*chunks)
    for _ in range(20):
        await settle()
    answers = _Answers(side.take())
    await side.hang_up()
    return answers


async def test_cut_at_every_byte_gives_the_same_answers() -> None:
    script = _script()
    whole = await _answers([script])
    assert set(whole.fields) == {1, 3, 5, 7, 9, 11}
    assert len(whole.data[7]) > 30 * 5
    single = await _answers([script[at : at + 1] for at in range(len(script))])
    assert vars(single) == vars(whole)
    for at in range(len(PREFACE) - 3, len(script), 7):
        assert vars(await _answers([script[:at], script[at:]])) == vars(whole)


async def test_cut_at_random_gives_the_same_answers() -> None:
    script, chance = _script(), random.Random(7)
    whole = await _answers([script])
    for _ in range(60):
        cuts = sorted(chance.sample(range(1, len(script)), chance.randint(1, 12)))
        chunks = [script[a:b] for a, b in zip([0, *cuts], [*cuts, len(script)], strict=True)]
        assert vars(await _answers(chunks)) == vars(whole)


FRAMES = st.lists(
    st.tuples(
        st.integers(0, 11),
        st.sampled_from([0, 1, 4, 5, 8, 9, 0x20, 0x2D, 0xFF]),
        st.sampled_from([0, 1, 1, 2, 3, 3, 5, 2**31 - 1]),
        st.one_of(
            st.binary(max_size=30),
            st.sampled_from(
                [bytes(8), bytes(4), b"\x7f\xff\xff\xff", b"\x83\x86\x84", struct.pack(">HI", 4, 0)]
            ),
            st.just(Encoder().encode(request_head(PUSH, ()))),
            st.just(Encoder().encode(request_head(SUBSCRIBE, ()))),
            st.just(prefixed(_push().SerializeToString())),
        ),
    ),
    max_size=12,
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(FRAMES, st.binary(max_size=20))
async def test_any_frames_never_raise_and_leave_nothing_behind(
    frames: list[tuple[int, int, int, bytes]], rest: bytes
) -> None:
    side = Side()
    data = START + b"".join(frame(*one) for one in frames) + rest
    loop = asyncio.get_running_loop()
    failed: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: failed.append(context))
    try:
        await side.feed(data)
        assert len(side.take()) < 20_000
        await side.hang_up()
    finally:
        loop.set_exception_handler(None)
    assert failed == []


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
async def test_any_bytes_never_raise(data: bytes) -> None:
    side = Side()
    await side.feed(data)
    await side.hang_up()


def _resets() -> Callable[[int], bytes]:
    encoder = Encoder()
    first = _head(encoder, REGISTER)
    again = _head(encoder, REGISTER)

    def one(number: int) -> bytes:
        stream = 2 * number + 1
        body = frame(0, 1, stream, prefixed(register("wait").SerializeToString()))
        return (
            frame(1, 4, stream, again if number else first)
            + body
            + frame(3, 0, stream, (8).to_bytes(4, "big"))
        )

    return one


FLOODS: dict[str, Callable[[], Callable[[int], bytes]]] = {
    "ping": lambda: lambda _: frame(6, 0, 0, bytes(8)),
    "ping answers": lambda: lambda _: frame(6, 1, 0, bytes(8)),
    "settings": lambda: lambda _: frame(4, 0, 0, struct.pack(">HI", 4, 65535)),
    "settings answers": lambda: lambda _: frame(4, 1, 0),
    "priority": lambda: lambda number: frame(2, 0, number * 2 + 1, bytes(4) + b"\x01"),
    "unknown frames": lambda: lambda _: frame(99, 0, 0, b"x"),
    "empty data": lambda: (
        lambda number: frame(0, 0, 1) if number else frame(1, 4, 1, _head(Encoder(), SUBSCRIBE))
    ),
    "continuation": lambda: lambda number: frame(9, 0, 1) if number else frame(1, 0, 1, b""),
    "large continuation": lambda: lambda number: frame(9 if number else 1, 0, 1, bytes(16_000)),
    "bad streams": lambda: lambda number: frame(1, 5, number * 2 + 1, b"\x82"),
    "rapid reset": _resets,
}


@pytest.mark.parametrize("kind", FLOODS)
async def test_flood_is_ended_soon_with_little_memory(kind: str) -> None:
    side = Side(LeanSettings(min_ping_interval=0.0, max_concurrent_streams=500))
    flood = FLOODS[kind]()
    await side.feed(START)
    sent = 0
    while not side.pipe.closed and sent < 20_000:
        # Many at once: what is allowed grows with time, and a busy machine takes long for each turn.
        await side.feed(b"".join(flood(number) for number in range(sent, sent + 500)))
        sent += 500
        assert len(side.calls.running) <= 1000
    assert sent < 5000
    written = side.take()
    assert len(written) < 100_000
    goaway = written.rfind(b"\x07\x00\x00\x00\x00\x00")
    assert int.from_bytes(written[goaway + 10 : goaway + 14], "big") in (
        ErrorCode.ENHANCE_YOUR_CALM,
        ErrorCode.PROTOCOL_ERROR,
    )
    assert side.usage.ended.total() == 1
    await side.hang_up()


async def test_header_bomb_by_index_is_refused_and_the_connection_lives() -> None:
    side = Side()
    encoder = Encoder()
    first = _head(encoder, PUSH, ("x-large", "y" * 3000))
    await side.feed(START, frame(1, 5, 1, first))
    bomb = _head(encoder, PUSH) + b"\xbe" * 15_000
    await side.feed(frame(1, 5, 3, bomb), frame(1, 4, 5, _head(encoder, PUSH)))
    await side.feed(frame(0, 1, 5, prefixed(_push().SerializeToString())))
    answers = _Answers(side.take())
    assert ("grpc-status", "8") in answers.fields[3][0][0]
    assert ("grpc-status", "0") in answers.fields[5][1][0]
    await side.hang_up()


async def test_header_list_in_many_frames_beyond_the_limit_ends_the_connection() -> None:
    side = Side()
    await side.feed(
        START, frame(1, 0, 1, bytes(16_000)), frame(9, 0, 1, bytes(16_000)), frame(9, 0, 1, bytes(1000))
    )
    assert side.pipe.closed
    await side.hang_up()


async def test_zero_window_replies_wait_within_the_limit_and_the_rest_is_refused() -> None:
    side = Side(LeanSettings(max_buffered=1_000_000))
    judge = Judge(side)
    judge.h2.update_settings({4: 0})
    await judge.go()
    streams = []
    for _ in range(25):
        # A small request in one frame, and large ones that wait in the server themselves.
        streams.append(judge.call(PUSH, _push(60_000 if len(streams) < 20 else 16_000)))
        await judge.go()
        assert side.usage.buffered <= 1_000_000
    assert [judge.status(stream) for stream in streams[:20]] == [None] * 16 + ["8"] * 4
    assert set(judge.resets) == set(streams[22:])
    assert set(judge.resets.values()) == {ErrorCode.ENHANCE_YOUR_CALM}
    judge.h2.update_settings({4: 1_000_000})
    await judge.go()
    for stream in (*streams[:16], *streams[20:22]):
        assert judge.status(stream) == "0"
        assert len(judge.messages(stream)[0]) >= 16_000
    assert side.usage.buffered == 0
    await side.hang_up()


async def test_slow_reader_of_one_stream_does_not_stall_another() -> None:
    side = Side()
    judge = Judge(side)
    judge.acknowledge = False
    await judge.go()
    slow = judge.call(LISTEN, listen("20000"))
    await judge.go()
    assert judge.status(slow) is None
    assert side.usage.buffered < 1000
    judge.h2.increment_flow_control_window(100_000)
    fast = judge.call(PUSH, _push(500))
    await judge.go()
    assert judge.status(fast) == "0"
    assert len(side.calls.running) == 1
    await side.hang_up()


async def test_window_shut_in_the_middle_of_a_message_goes_on_when_it_opens() -> None:
    side = Side()
    judge = Judge(side)
    judge.h2.update_settings({4: 10})
    await judge.go()
    stream = judge.call(PUSH, _push(1000))
    await judge.go()
    for _ in range(200):
        await judge.go()
    assert judge.status(stream) == "0"
    assert len(judge.messages(stream)[0]) > 1000
    await side.hang_up()


async def test_transport_full_keeps_messages_back_and_reads_no_more() -> None:
    side = Side()
    judge = Judge(side)
    await judge.go()
    side.connection.pause_writing()
    assert side.pipe.reading_paused
    stream = judge.call(LISTEN, listen("5"))
    await judge.go()
    assert judge.data.get(stream) is None
    side.connection.resume_writing()
    await judge.go()
    assert len(judge.messages(stream)) == 5
    assert judge.status(stream) == "0"
    assert not side.pipe.reading_paused
    await side.hang_up()


async def test_client_that_sends_beyond_its_window_gets_a_flow_control_error() -> None:
    side = Side(LeanSettings(stream_window=65_535))
    encoder = Encoder()
    # The handler cannot send its answers, so it reads nothing.
    await side.feed(
        START, frame(4, 0, 0, struct.pack(">HI", 4, 0)), frame(1, 4, 1, _head(encoder, SUBSCRIBE))
    )
    item = dispatcher_pb2.SubscribeToWorkflowRunsRequest(workflow_run_id="x" * 990)
    queued = prefixed(item.SerializeToString()) * 100
    await side.feed(*(frame(0, 0, 1, queued[at : at + 16_384]) for at in range(0, len(queued), 16_384)))
    assert frame(3, 0, 1, (3).to_bytes(4, "big")) in side.take()
    assert not side.pipe.closed
    await side.hang_up()


async def test_client_stream_that_is_not_read_is_stopped_by_its_window() -> None:
    side = Side(LeanSettings(stream_window=65_535))
    judge = Judge(side)
    judge.acknowledge = False
    judge.h2.update_settings({4: 0})
    await judge.go()
    stream = judge.open(SUBSCRIBE)
    item = prefixed(
        dispatcher_pb2.SubscribeToWorkflowRunsRequest(workflow_run_id="x" * 990).SerializeToString()
    )
    sent = 0
    while judge.h2.local_flow_control_window(stream) >= len(item) and sent < 1000:
        judge.send(stream, item, end=False)
        sent += 1
        await judge.go()
        # One answer that cannot go, and the requests behind it.
        assert (sent - 1) * 990 <= side.usage.buffered <= sent * 1010
    assert 60 <= sent < 70
    assert side.usage.buffered < 80_000
    judge.h2.update_settings({4: 1_000_000})
    await judge.go()
    assert judge.h2.local_flow_control_window(stream) > 30_000
    judge.h2.end_stream(stream)
    await judge.go()
    assert len(judge.messages(stream)) == sent
    assert judge.status(stream) == "0"
    await side.hang_up()


async def test_requests_that_never_end_are_held_within_the_limit() -> None:
    side = Side(LeanSettings(max_buffered=1_000_000))
    judge = Judge(side)
    await judge.go()
    part = prefixed(bytes(3_000_000))[:200_000]
    streams = []
    for _ in range(8):
        stream = judge.open(PUSH)
        streams.append(stream)
        judge.send(stream, part, end=False)
        await judge.go()
        assert side.usage.buffered <= 1_000_000
    assert [judge.status(stream) for stream in streams] == [None] * 5 + ["8"] * 3
    await side.hang_up()


async def test_pings_that_measure_the_connection_are_all_answered() -> None:
    side = Side()
    judge = Judge(side)
    await judge.go()
    for number in range(1500):
        judge.call(PUSH, _push())
        judge.h2.ping(number.to_bytes(8, "big"))
        await judge.go()
    assert judge.goodbye == []
    await side.hang_up()


async def test_gzip_bomb_is_refused() -> None:
    side = Side()
    judge = Judge(side)
    await judge.go()
    stream = judge.open(PUSH, ("grpc-encoding", "gzip"))
    judge.send(stream, gzipped(bytes(50_000_000)))
    await judge.go()
    assert judge.status(stream) == "8"
    await side.hang_up()


async def test_gzip_reply_goes_to_a_client_that_sent_gzip() -> None:
    side = Side()
    judge = Judge(side)
    await judge.go()
    stream = judge.open(PUSH, ("grpc-encoding", "gzip"), ("grpc-accept-encoding", "gzip, identity"))
    judge.send(stream, gzipped(_push(50_000).SerializeToString()))
    await judge.go()
    assert judge.headers[stream]["grpc-encoding"] == "gzip"
    assert judge.status(stream) == "0"
    assert len(judge.data[stream]) < 1000
    await side.hang_up()


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"", "12"), (prefixed(b"") * 2, "12"), (prefixed(b"abc")[:-1], "13"), (b"\x01\x00\x00\x00\x00", "13")],
)
async def test_request_of_the_wrong_shape_is_refused(body: bytes, status: str) -> None:
    side = Side()
    encoder = Encoder()
    await side.feed(START, frame(1, 4, 1, _head(encoder, PUSH)), frame(0, 1, 1, body))
    assert ("grpc-status", status) in _Answers(side.take()).fields[1][-1][0]
    await side.hang_up()


_PUSHED, _MISSING = _push().SerializeToString(), register("missing").SerializeToString()
WHOLE_CALLS = {
    "plain": (PUSH, (), prefixed(_PUSHED)),
    "with a time-out": (PUSH, (("grpc-timeout", "9S"),), prefixed(_PUSHED)),
    "too late": (PUSH, (("grpc-timeout", "0n"),), prefixed(_PUSHED)),
    "with the right length": (PUSH, (("content-length", str(len(_PUSHED) + 5)),), prefixed(_PUSHED)),
    "with another length": (PUSH, (("content-length", "7"),), prefixed(_PUSHED)),
    "refused by the handler": (REGISTER, (), prefixed(_MISSING)),
    "of no method": ("/no/Such", (), prefixed(_PUSHED)),
    "of a method that streams out": (LISTEN, (), prefixed(listen("3").SerializeToString())),
    "of a method that streams in": (SUBSCRIBE, (), prefixed(b"")),
    "in gzip": (PUSH, (("grpc-encoding", "gzip"), ("grpc-accept-encoding", "gzip")), gzipped(_PUSHED)),
    "not in gzip after all": (
        PUSH,
        (("grpc-encoding", "gzip"), ("grpc-accept-encoding", "gzip")),
        prefixed(_push(5000).SerializeToString()),
    ),
    "in what we cannot read": (PUSH, (("grpc-encoding", "br"),), prefixed(_PUSHED)),
    "compressed without a word": (PUSH, (), b"\x01" + prefixed(_PUSHED)[1:]),
    "with nothing in it": (PUSH, (), b""),
    "with too little in it": (PUSH, (), prefixed(_PUSHED)[:-1]),
    "with two messages": (PUSH, (), prefixed(_PUSHED) * 2),
    "with no message of ours": (PUSH, (), prefixed(b"\xff" * 9)),
    "with a field out of place": (PUSH, (("connection", "close"),), prefixed(_PUSHED)),
}


@pytest.mark.parametrize("kind", WHOLE_CALLS)
async def test_call_that_comes_whole_gets_what_it_gets_frame_by_frame(kind: str) -> None:
    path, extra, body = WHOLE_CALLS[kind]
    encoder = Encoder()
    frames = [
        part
        for stream in (1, 3)
        for part in (frame(1, 4, stream, _head(encoder, path, *extra)), frame(0, 1, stream, body))
    ]
    whole = await _answers([START, *(frames[at] + frames[at + 1] for at in (0, 2))])
    assert vars(whole) == vars(await _answers([START, *frames]))
    assert set(whole.fields) == {1, 3} or any(kind == 3 for kind, _, _ in whole.others)


async def test_call_that_comes_whole_counts_against_the_limits() -> None:
    side = Side(LeanSettings(max_concurrent_streams=1, max_message_size=100))
    encoder = Encoder()

    def call(stream: int, path: str, message: Any) -> bytes:
        body = prefixed(message.SerializeToString())
        return frame(1, 4, stream, _head(encoder, path)) + frame(0, 1, stream, body)

    await side.feed(START, call(1, REGISTER, register("wait")))
    assert side.usage.streams == 1
    side.take()
    await side.feed(call(3, PUSH, _push()))
    answers = _Answers(side.take())
    assert (answers.fields, answers.others) == ({}, [(3, 0, ErrorCode.REFUSED_STREAM.to_bytes(4, "big"))])
    await side.feed(frame(3, 0, 1, (8).to_bytes(4, "big")))
    assert side.usage.streams == 0
    await side.feed(call(5, PUSH, _push(200)))
    assert ("grpc-status", "8") in _Answers(side.take()).fields[5][-1][0]
    await side.feed(call(7, PUSH, _push()))
    assert ("grpc-status", "0") in _Answers(side.take()).fields[7][-1][0]
    await side.hang_up()


@pytest.mark.parametrize("apart", [False, True])
async def test_call_that_crosses_the_goodbye_is_let_pass_and_the_others_are_answered(apart: bool) -> None:
    side = Side()
    encoder = Encoder()

    def call(stream: int, path: str, message: Any) -> list[bytes]:
        body = prefixed(message.SerializeToString())
        return [frame(1, 4, stream, _head(encoder, path)), frame(0, 1, stream, body)]

    await side.feed(START, *call(1, REGISTER, register("wait")))
    side.connection.leave()
    await side.feed(frame(6, 1, 0, b"goodbye!"))  # the answer to the ping of the goodbye
    farewell = _Answers(side.take()).others
    assert [payload[:8] for kind, _, payload in farewell if kind == 7][-1] == bytes((0, 0, 0, 1, 0, 0, 0, 0))
    crossing = [part for stream in range(3, 3003, 2) for part in call(stream, PUSH, _push())]
    crossing += [frame(8, 0, 5, (100).to_bytes(4, "big")), frame(3, 0, 7, (8).to_bytes(4, "big"))]
    await side.feed(*(crossing if apart else [b"".join(crossing)]))
    answers = _Answers(side.take())
    assert (answers.fields, answers.others, side.pipe.closed) == ({}, [], False)
    side.servicer.release.set()
    await settle()
    answers = _Answers(side.take())
    assert ("grpc-status", "0") in answers.fields[1][-1][0]
    assert side.pipe.closed
    await side.hang_up()


async def test_refusal_waits_for_the_first_sign_of_the_request_but_not_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    side = Side()
    encoder = Encoder()
    await side.feed(
        START, frame(1, 4, 1, _head(encoder, "/no/Such")), frame(1, 4, 3, _head(encoder, "/no/Such"))
    )
    assert _Answers(side.take()).fields == {}
    await side.feed(frame(0, 1, 1, prefixed(b"")), frame(3, 0, 3, (8).to_bytes(4, "big")))
    answers = _Answers(side.take())
    assert set(answers.fields) == {1}
    assert ("grpc-status", "12") in answers.fields[1][0][0]
    assert side.usage.streams == 0
    monkeypatch.setattr(stream_module, "_PATIENCE", 0.0)
    await side.feed(frame(1, 4, 5, _head(encoder, "/no/Such")))
    assert set(_Answers(side.take()).fields) == {5}
    await side.hang_up()


async def test_stream_limit_refuses_the_one_beyond_it() -> None:
    side = Side(LeanSettings(max_concurrent_streams=2))
    encoder = Encoder()
    await side.feed(START, *(frame(1, 4, stream, _head(encoder, PUSH)) for stream in (1, 3, 5)))
    assert frame(3, 0, 5, (7).to_bytes(4, "big")) in side.take()
    await side.hang_up()


async def test_connection_beyond_the_limit_is_sent_away_and_the_others_live() -> None:
    usage = Usage()
    first, second = Side(LeanSettings(max_connections=2), usage), Side(LeanSettings(max_connections=2), usage)
    third = Side(LeanSettings(max_connections=2), usage)
    await settle()
    assert (first.pipe.closed, second.pipe.closed, third.pipe.closed) == (False, False, True)
    (goodbye,) = (payload for kind, _, payload in _Answers(third.take()).others if kind == 7)
    assert goodbye == bytes(7) + bytes((ErrorCode.ENHANCE_YOUR_CALM,)) + b"too many connections"
    assert (usage.connections, usage.ended) == (2, {"limit": 1})
    judge = Judge(second)
    await judge.go()
    stream = judge.call(PUSH, _push())
    await judge.go()
    assert judge.status(stream) == "0"
    first.pipe.close()
    await settle()
    assert not Side(LeanSettings(max_connections=2), usage).pipe.closed


async def test_requests_that_never_end_are_held_within_the_limit_of_the_server() -> None:
    usage = Usage(500_000)
    judges = [Judge(Side(None, usage)) for _ in range(4)]
    for judge in judges:
        await judge.go()
        judge.send(judge.open(PUSH), prefixed(bytes(3_000_000))[:200_000], end=False)
        await judge.go()
        assert usage.buffered <= 500_000
    assert [judge.status(1) for judge in judges] == [None, None, "8", "8"]
    for judge in judges:
        judge.side.pipe.close()
    await settle()
    assert (usage.buffered, usage.connections) == (0, 0)


async def test_keepalive_closes_a_connection_that_does_not_answer() -> None:
    side = Side(LeanSettings(keepalive_after=0.05, keepalive_timeout=0.05))
    closed = asyncio.get_running_loop().create_future()
    side.pipe.on_close = lambda _: (side.connection.connection_lost(None), closed.set_result(None))
    await side.feed(START)
    await asyncio.wait_for(closed, 30)
    assert frame(6, 0, 0, b"keepaliv") in side.take()
    await side.hang_up()


async def test_keepalive_closes_a_connection_that_never_begins() -> None:
    side = Side(LeanSettings(keepalive_timeout=0.05))
    closed = asyncio.get_running_loop().create_future()
    side.pipe.on_close = lambda _: (side.connection.connection_lost(None), closed.set_result(None))
    await asyncio.wait_for(closed, 30)


async def test_stop_resets_the_stream_whose_client_still_sends_before_it_closes() -> None:
    side = Side()
    await side.feed(START, frame(1, 4, 1, _head(Encoder(), SUBSCRIBE)))
    side.shared.stopping = True
    side.connection.leave()
    await side.feed(frame(6, 1, 0, b"goodbye!"))  # the client has heard: only the stream is waited for
    assert not side.pipe.closed
    await side.pipeline.drain(0.01)
    await settle()
    written = side.take()
    assert ("grpc-status", "0") in _Answers(written).fields[1][-1][0]
    assert written.endswith(frame(3, 0, 1, bytes(4)))
    assert side.pipe.closed
    await side.hang_up()


async def test_stop_lets_those_in_who_knocked_before_it_and_says_goodbye() -> None:
    async with serving(LeanSettings(port=0)) as toy:
        with socket.create_connection(("127.0.0.1", toy.server.port), timeout=30) as knocking:
            # The kernel has let it in; the server's loop had no turn since.
            knocking.sendall(START)
            stop = asyncio.create_task(toy.server.stop(10))
            heard = await asyncio.to_thread(knocking.makefile("rb").read)
        await stop
    assert frame(7, 0, 0, bytes(4) + bytes(4) + b"the server is stopping") in heard


async def test_leave_goes_on_without_a_client_that_says_nothing() -> None:
    async with serving(LeanSettings(port=0)) as toy:
        with socket.create_connection(("127.0.0.1", toy.server.port), timeout=30) as mute:
            mute.sendall(START)
            await asyncio.wait_for(toy.server.leave(600), 30)
            await asyncio.wait_for(toy.server.stop(600), 30)
            heard = mute.makefile("rb").read()
    assert frame(7, 0, 0, bytes(4) + bytes(4) + b"the server is stopping") in heard


async def test_metadata_of_the_handler_goes_out_even_when_no_message_does() -> None:
    side = Side()
    side.servicer.says = (("x-note", "one"),)
    judge = Judge(side)
    await judge.go()
    for worker, status in (("0", "0"), ("unknown", "5")):
        stream = judge.call(LISTEN, listen(worker))
        await judge.go()
        assert judge.heads[stream] == [
            {":status": "200", "content-type": "application/grpc", "x-note": "one"},
            {"grpc-status": status, "x-note": "one"}
            | ({"grpc-message": "not found"} if status == "5" else {}),
        ]
    await side.hang_up()


async def test_cancel_in_the_middle_of_a_reply_frees_what_waits() -> None:
    side = Side()
    judge = Judge(side)
    judge.h2.update_settings({4: 0})
    await judge.go()
    stream = judge.call(PUSH, _push(50_000))
    await judge.go()
    assert side.usage.buffered > 50_000
    judge.h2.reset_stream(stream, 8)
    await judge.go()
    assert (side.usage.buffered, side.usage.streams) == (0, 0)
    await side.hang_up()


async def test_connection_that_is_gone_is_freed_with_its_streams() -> None:
    side = Side()
    judge = Judge(side)
    await judge.go()
    for _ in range(5):
        judge.call(PUSH, _push(), ("grpc-timeout", "100S"))
        judge.call(REGISTER, register("wait"), ("grpc-timeout", "100S"))
        judge.open(SUBSCRIBE)
    await judge.go()
    gone = weakref.ref(side.connection)
    assert len(side.connection.streams) == 10
    gc.collect()
    gc.disable()
    try:
        await side.hang_up()
        del side.connection, side.pipe.on_close
        # By its last reference, not by the collector.
        assert gone() is None
    finally:
        gc.enable()


def _garbage() -> list[str]:
    """What of ours only the collector of cycles can free; threads of libraries leave theirs at any time."""
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        gc.collect()
        types = (type(one) for one in gc.garbage)
        return sorted(kind.__name__ for kind in types if kind.__module__.startswith("broadaxe."))
    finally:
        gc.set_debug(0)
        gc.garbage.clear()


def test_calls_of_every_end_leave_no_cycles_behind() -> None:
    """Cycles wait for the collector, which comes the later the more a process holds: memory would grow.

    On a loop of its own, so that no timer that other tests left behind lets go of something meanwhile.
    """
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(_leave_no_cycles())
    finally:
        loop.close()


async def _leave_no_cycles() -> None:
    side = Side()
    judge = Judge(side)
    await judge.go()

    async def every_end() -> None:
        judge.call(PUSH, _push())
        judge.call(LISTEN, listen("5"))
        judge.call(REGISTER, register("missing"))
        judge.call(LISTEN, listen("unknown"))
        judge.call(REGISTER, register("wait"), ("grpc-timeout", "0m"))
        for path, request in ((REGISTER, register("wait")), (LISTEN, listen("quiet"))):
            for hasty in (True, False):
                stream = judge.call(path, request)
                if not hasty:
                    await judge.go()
                judge.h2.reset_stream(stream, 8)
        stream = judge.open(SUBSCRIBE)
        await judge.go()
        judge.h2.reset_stream(stream, 8)
        await judge.go()
        assert not side.calls.running

    await every_end()
    gc.collect()
    gc.disable()
    try:
        for _ in range(10):
            await every_end()
        assert _garbage() == []
    finally:
        gc.enable()
    await side.hang_up()
