"""Rules that few clients make use of, and ends at bad moments, on the lean transport."""

import asyncio
import socket
import ssl
import struct

import pytest
from hpack import Encoder
from lean_peer import Judge, Side, request_head, settle
from toy_server import Toy, listen, register, serving

from broadaxe.config.tls import ServerTls
from broadaxe.grpc_api.lean import link as link_module
from broadaxe.grpc_api.lean import stream as stream_module
from broadaxe.grpc_api.lean.frames import PREFACE, frame
from broadaxe.grpc_api.lean.inbound import gzipped, prefixed
from broadaxe.grpc_api.lean.settings import LeanSettings
from broadaxe.grpc_api.wire import events_pb2
from broadaxe.testkit.certificates import Authority

PUSH, LISTEN, REGISTER = "/EventsService/Push", "/Dispatcher/ListenV2", "/Dispatcher/Register"
TABLE, WINDOW, FRAME = 1, 4, 5
LARGE = 2**30


def _pushed(size: int = 2) -> bytes:
    return events_pb2.PushEventRequest(payload="x" * size).SerializeToString()


GZIP = (("grpc-encoding", "gzip"), ("grpc-accept-encoding", "gzip"))
FIRST_BLOCKS = {
    "of an answer in one piece": (PUSH, (), prefixed(_pushed())),
    "of an answer in gzip": (PUSH, GZIP, gzipped(_pushed(5000))),
    "of an answer longer than a frame": (PUSH, (), prefixed(_pushed(40_000))),
    "of a stream": (LISTEN, (), prefixed(listen("3").SerializeToString())),
    "of a refusal": (REGISTER, (), prefixed(register("missing").SerializeToString())),
    "of a method there is not": ("/no/Such", (), prefixed(b"")),
    "of HTTP": (PUSH, (("content-type", "text/plain"),), b"hello"),
}


@pytest.mark.parametrize("says", [(), (("x-note", "y" * 20_000),)])
@pytest.mark.parametrize("kind", FIRST_BLOCKS)
async def test_first_header_block_after_a_smaller_table_admits_to_it(
    kind: str, says: tuple[tuple[str, str | bytes], ...]
) -> None:
    """h2 raises when it does not begin with the new size, as RFC 9113 wants (section 4.3.1)."""
    path, extra, body = FIRST_BLOCKS[kind]
    side = Side()
    side.servicer.says = says
    judge = Judge(side)
    await judge.go()
    for size in (0, 4096, 100):
        await judge.change({TABLE: size})
        await judge.go()
        head = [field for field in request_head(path, ()) if field[0] not in dict(extra)] + list(extra)
        for _ in range(2):
            stream = judge.h2.get_next_available_stream_id()
            judge.h2.send_headers(stream, head)
            judge.send(stream, body)
            await judge.go()
            assert judge.status(stream) is not None or judge.headers[stream][":status"] == "415"
    assert judge.goodbye == []
    await side.hang_up()


async def test_trailers_may_be_the_first_header_block_after_a_smaller_table() -> None:
    side = Side()
    judge = Judge(side)
    judge.h2.update_settings({WINDOW: 0})
    await judge.go()
    waits = judge.call(PUSH, events_pb2.PushEventRequest(payload="x" * 50))
    quiet = judge.call(LISTEN, listen("polite"))
    await judge.go()
    await judge.change({TABLE: 0, WINDOW: 65_535})
    side.pipeline.closing.set()
    await judge.go()
    assert (judge.status(waits), judge.status(quiet)) == ("0", "0")
    await side.hang_up()


async def test_trailers_that_wait_fit_into_frames_that_became_smaller_meanwhile() -> None:
    side = Side()
    side.servicer.says = (("x-note", "y" * 20_000),)
    judge = Judge(side)
    judge.h2.update_settings({WINDOW: 0, FRAME: 30_000})
    await judge.go()
    stream = judge.call(PUSH, events_pb2.PushEventRequest(payload="x"))
    await judge.go()
    await judge.change({FRAME: 16_384})
    await judge.change({WINDOW: 65_535})
    await judge.go()
    assert judge.status(stream) == "0"
    await side.hang_up()


@pytest.mark.parametrize("kind", [0, 3, 8])
async def test_frame_on_a_stream_that_only_a_server_could_open_ends_the_connection(kind: int) -> None:
    side = Side()
    payload = (1).to_bytes(4, "big")
    await side.feed(PREFACE + frame(4, 0, 0), frame(1, 4, 5, Encoder().encode(request_head(PUSH, ()))))
    side.take()
    await side.feed(frame(kind, 0, 2, payload))
    assert side.pipe.closed
    assert side.take()[3:17] == b"\x07\x00\x00\x00\x00\x00" + (5).to_bytes(4, "big") + (1).to_bytes(4, "big")
    await side.hang_up()


async def test_handler_that_cancels_itself_at_once_is_answered_and_hurts_nobody() -> None:
    side = Side()
    judge = Judge(side)
    await judge.go()
    streams = [
        judge.call(REGISTER, register("wait")),
        judge.call(PUSH, events_pb2.PushEventRequest(key="cancels itself")),
        judge.call(REGISTER, register("")),
    ]
    await judge.go()
    assert [judge.status(stream) for stream in streams] == [None, "1", "0"]
    side.servicer.release.set()
    await judge.go()
    assert judge.status(streams[0]) == "0"
    await side.hang_up()


class Slow:
    """A client on a real socket that takes what the server sends in small bites, and answers each."""

    def __init__(self, toy: Toy, context: ssl.SSLContext | None) -> None:
        self.socket = socket.socket()
        # The rest of a large answer then waits in the server's kernel.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
        self.socket.settimeout(60)
        self.socket.connect(("127.0.0.1", toy.server.port))
        if context is not None:
            self.socket = context.wrap_socket(self.socket, server_hostname="localhost")
        self.socket.sendall(
            PREFACE
            + frame(4, 0, 0, struct.pack(">HI", WINDOW, LARGE))
            + frame(8, 0, 0, (LARGE - 65_535).to_bytes(4, "big"))
        )
        self.read = 0

    def call(self, path: str, body: bytes) -> None:
        frames = [frame(1, 4, 1, Encoder().encode(request_head(path, ())))]
        for start in range(0, len(body), 16_384):
            part = body[start : start + 16_384]
            frames.append(frame(0, 1 if start + 16_384 >= len(body) else 0, 1, part))
        self.socket.sendall(b"".join(frames))

    def hears(self, wanted: bytes, most: int) -> bool:
        """Read on; whether these bytes come before the end and before so many others."""
        tail = b""
        while wanted not in tail:
            data = self.socket.recv(16_384)
            if not data or self.read > most:
                return False
            self.read += len(data)
            tail = tail[-len(wanted) :] + data
            self.socket.sendall(frame(8, 0, 1, (1).to_bytes(4, "big")))
        return True


def _certified() -> tuple[ServerTls, ssl.SSLContext]:
    authority = Authority.make("ours")
    certificate, key = authority.issue("server")
    context = ssl.create_default_context(cadata=authority.certificate.decode())
    context.set_alpn_protocols(["h2"])
    return ServerTls(certificate, key, None, "1.2"), context


@pytest.mark.parametrize("encrypted", [False, True])
async def test_stop_waits_until_a_slow_client_has_the_whole_answer(
    encrypted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel resets a connection that is closed while the client still sends, and drops what it holds."""
    monkeypatch.setattr(link_module, "_GOODBYE_WAIT", 0.0)
    size = 3_000_000
    tls, context = _certified() if encrypted else (None, None)
    async with serving(LeanSettings(port=0, tls=tls)) as toy:
        slow = await asyncio.to_thread(Slow, toy, context)
        await asyncio.to_thread(slow.call, PUSH, prefixed(_pushed(size)))
        await toy.seen.until(lambda: toy.seen.durations)
        stop = asyncio.create_task(toy.server.stop(60))
        trailers = b"grpc-status\x010"
        assert await asyncio.to_thread(slow.hears, trailers, 2 * size)
        assert slow.read > size
        slow.socket.close()
        await stop


@pytest.mark.parametrize("encrypted", [False, True])
async def test_peer_that_takes_large_messages_as_they_come_is_heard_meanwhile(encrypted: bool) -> None:
    tls, context = _certified() if encrypted else (None, None)
    async with serving(LeanSettings(port=0, tls=tls)) as toy:
        slow = await asyncio.to_thread(Slow, toy, context)
        await asyncio.to_thread(slow.call, LISTEN, prefixed(listen("endless").SerializeToString()))
        assert await asyncio.to_thread(slow.hears, b"x" * 1000, 10_000_000)
        slow.socket.sendall(frame(6, 0, 0, b"measured"))
        assert await asyncio.to_thread(slow.hears, frame(6, 1, 0, b"measured"), 60_000_000)
        slow.socket.close()


async def test_refusal_that_waits_admits_to_a_smaller_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_module, "_PATIENCE", 60.0)
    side = Side()
    judge = Judge(side)
    await judge.go()
    stream = judge.open("/no/Such")
    await judge.go()
    await judge.change({TABLE: 0})
    await judge.go()
    judge.send(stream, prefixed(b""))
    await judge.go()
    await settle()
    assert judge.status(stream) == "12"
    await side.hang_up()
