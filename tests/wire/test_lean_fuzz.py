"""The lean transport's decoders fuzzed, and legal conversations with the package `h2` in any order."""

import asyncio
import importlib.util
import os
import sys
from pathlib import Path

import hyperframe.frame
import pytest
from hpack import Encoder
from hypothesis import example, given, settings
from hypothesis import strategies as st
from lean_peer import Judge, Side, request_head
from toy_server import listen

from broadaxe.grpc_api.lean import frames as F
from broadaxe.grpc_api.lean.frames import ErrorCode
from broadaxe.grpc_api.lean.inbound import prefixed
from broadaxe.grpc_api.wire import dispatcher_pb2, events_pb2

PUSH, LISTEN = "/EventsService/Push", "/Dispatcher/ListenV2"
SUBSCRIBE = "/Dispatcher/SubscribeToWorkflowRuns"
ROOT = Path(__file__).parents[2]

RUNS = {"hpack": 60_000, "huffman": 60_000, "bytes": 3_000, "frames": 3_000}
"""Inputs a target; a few seconds each."""


def _seeds(folder: Path) -> None:
    encoder = Encoder()
    for number, path in enumerate((PUSH, LISTEN, SUBSCRIBE)):
        block = encoder.encode(request_head(path, (("grpc-timeout", f"{number}S"),)))
        body = prefixed(b"\x0a\x01k")
        (folder / f"block-{number}").write_bytes(block)
        (folder / f"call-{number}").write_bytes(F.frame(1, 4, 1, block) + F.frame(0, 1, 1, body))
    others = F.settings_frame({4: 100}), F.frame(6, 0, 0, bytes(8)), F.window_frame(0, 1)
    (folder / "others").write_bytes(b"".join(others) + F.reset_frame(1, ErrorCode.CANCEL))


@pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None, reason="atheris has no wheel for this platform or Python"
)
@pytest.mark.parametrize("target", RUNS)
async def test_fuzzing_finds_nothing(target: str, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    _seeds(corpus)
    options = ("-seed=7", f"-runs={RUNS[target]}", "-max_len=600", "-timeout=20", "-rss_limit_mb=2048")
    fuzzer = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).with_name("lean_fuzz.py")),
        target,
        *options,
        f"-artifact_prefix={tmp_path}/",
        str(corpus),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    async with asyncio.timeout(180):
        told, _ = await fuzzer.communicate()
    assert fuzzer.returncode == 0, told.decode(errors="replace")[-3000:]
    assert f"Done {RUNS[target]} runs".encode() in told, told.decode(errors="replace")[-3000:]


@given(st.integers(0, 9), st.integers(0, 255), st.integers(0, 2**31 - 1), st.binary(max_size=300))
def test_frame_is_what_hyperframe_reads(kind: int, flags: int, stream: int, payload: bytes) -> None:
    built = F.frame(kind, flags, stream, payload)
    high, low, found_kind, found_flags, number = F.read_head(built, 0)
    assert (high << 8 | low, found_kind, found_flags, number) == (len(payload), kind, flags, stream)
    assert built[9:] == payload


def _read(data: bytes) -> hyperframe.frame.Frame:
    frame, size = hyperframe.frame.Frame.parse_frame_header(memoryview(data[:9]))
    frame.parse_body(memoryview(data[9 : 9 + size]))
    assert len(data) == 9 + size
    return frame


def test_frames_of_the_server_mean_the_same_to_hyperframe() -> None:
    said = _read(F.settings_frame({3: 7, 4: 100_000}))
    assert isinstance(said, hyperframe.frame.SettingsFrame)
    assert said.settings == {3: 7, 4: 100_000}
    reset = _read(F.reset_frame(5, ErrorCode.REFUSED_STREAM))
    assert isinstance(reset, hyperframe.frame.RstStreamFrame)
    assert (reset.stream_id, reset.error_code) == (5, 7)
    goaway = _read(F.goaway_frame(9, ErrorCode.ENHANCE_YOUR_CALM, "why"))
    assert isinstance(goaway, hyperframe.frame.GoAwayFrame)
    assert (goaway.last_stream_id, goaway.error_code, goaway.additional_data) == (9, 11, b"why")
    window = _read(F.window_frame(3, 12_345))
    assert isinstance(window, hyperframe.frame.WindowUpdateFrame)
    assert (window.stream_id, window.window_increment) == (3, 12_345)


SETTINGS = {"window": 4, "frame": 5}
ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("push"), st.integers(0, 40_000)),
        st.tuples(st.just("listen"), st.integers(0, 40)),
        st.tuples(st.just("talk"), st.integers(0, 6)),
        st.tuples(st.just("cancel"), st.integers(0, 3)),
        st.tuples(st.just("window"), st.integers(0, 70_000)),
        st.tuples(st.just("priority"), st.integers(1, 255)),
        st.tuples(st.just("table"), st.sampled_from([0, 100, 4096])),
        st.tuples(st.just("frame"), st.integers(16_384, 40_000)),
    ),
    max_size=12,
)


def _push_request(size: int) -> events_pb2.PushEventRequest:
    return events_pb2.PushEventRequest(payload="x" * size)


def _talk(number: int) -> bytes:
    request = dispatcher_pb2.SubscribeToWorkflowRunsRequest(workflow_run_id=str(number))
    return prefixed(request.SerializeToString())


async def _act(judge: Judge, what: str, value: int) -> tuple[int, int] | None:
    """Do one thing as a client; the stream and how many messages it is to get, if that is certain."""
    match what:
        case "push":
            return judge.call(PUSH, _push_request(value)), 1
        case "listen":
            return judge.call(LISTEN, listen(str(value))), value
        case "talk":
            stream = judge.open(SUBSCRIBE)
            judge.send(stream, b"".join(map(_talk, range(value))), end=False)
            judge.h2.end_stream(stream)
            return stream, value
        case "cancel":
            judge.h2.reset_stream(judge.call(LISTEN, listen("quiet")), 8)
        case "priority":
            judge.h2.prioritize(judge.open(SUBSCRIBE), weight=value)
        case "table":
            # hpack's encoder forgets to tell of a change when the same size is set once more after it.
            if judge.h2.encoder.header_table_size != value:
                judge.h2.encoder.header_table_size = value
        case name:
            await judge.change({SETTINGS[name]: value})
    return None


@settings(max_examples=100, deadline=None)
@given(ACTIONS)
@example([("frame", 16_386), ("push", 16_339)])
@example([("frame", 16_384), ("push", 0), ("window", 0)])
@example([("push", 0), ("push", 0), ("table", 0), ("table", 4096), ("listen", 0), ("listen", 0)])
async def test_any_legal_conversation_is_answered_in_full(actions: list[tuple[str, int]]) -> None:
    """h2 raises when the server breaks the protocol, and each call has its answer at the end."""
    side = Side()
    judge = Judge(side)
    await judge.go()
    acted = []
    for what, value in actions:
        acted.append(await _act(judge, what, value))
        if value % 2:
            await judge.go()
    await judge.change({SETTINGS["window"]: 10_000_000})
    for _ in range(5):
        await judge.go()
    assert judge.goodbye == []
    for stream, count in filter(None, acted):
        assert judge.status(stream) == "0"
        assert len(judge.messages(stream)) == count
    await side.hang_up()
