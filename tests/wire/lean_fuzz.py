"""Fuzzing of what reads a peer's bytes: `python lean_fuzz.py TARGET [libFuzzer's options] CORPUS`.

An exception that escapes, a difference from the reference, or memory that is not given back ends it with an
exit code other than 0. Run in a process of its own: atheris does not return.
"""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

import atheris
from hpack import Decoder as Reference
from hpack import Encoder
from hpack.exceptions import HPACKError
from hpack.huffman_table import decode_huffman

sys.path[:0] = [str(Path(__file__).parent)]
with atheris.instrument_imports(include=["broadaxe.grpc_api.lean"]):
    from lean_peer import Side, request_head

    from broadaxe.grpc_api.lean import huffman
    from broadaxe.grpc_api.lean.frames import PREFACE, frame
    from broadaxe.grpc_api.lean.hpack import Decoder, HpackError

START = PREFACE + frame(4, 0, 0)
PATHS = ("/EventsService/Push", "/Dispatcher/ListenV2", "/Dispatcher/SubscribeToWorkflowRuns", "/no/such")


def fuzz_hpack(data: bytes) -> None:
    """The blocks of one connection, against the package `hpack`."""
    given = atheris.FuzzedDataProvider(data)
    ours, reference = Decoder(), Reference(max_header_list_size=1 << 30)
    while given.remaining_bytes():
        block = given.ConsumeBytes(given.ConsumeIntInRange(0, 80))
        try:
            expected = [
                (bytes(name).decode("latin-1"), bytes(value).decode("latin-1"))
                for name, value in reference.decode(block, raw=True)
            ]
        except (HPACKError, UnicodeDecodeError):
            try:
                ours.decode(block)
            except HpackError:
                return
            raise AssertionError(f"only the reference refuses {block.hex()}") from None
        assert ours.decode(block) == expected


def fuzz_huffman(data: bytes) -> None:
    """A text, against the package `hpack`."""
    try:
        expected = bytes(decode_huffman(data)).decode("latin-1")
    except HPACKError:
        try:
            huffman.decode(data)
        except huffman.HuffmanError:
            return
        raise AssertionError(f"only the reference refuses {data.hex()}") from None
    assert huffman.decode(data) == expected


def _served(data: bytes) -> None:
    """A connection that gets these bytes raises nothing and leaves nothing behind."""

    async def serve() -> None:
        side = Side()
        failed: list[dict[str, object]] = []
        LOOP.set_exception_handler(lambda _, context: failed.append(context))
        await side.feed(data)
        side.take()
        await side.hang_up()
        assert not failed, failed

    LOOP.run_until_complete(serve())


def fuzz_bytes(data: bytes) -> None:
    """Any bytes after the preface."""
    _served(START + data)


def fuzz_frames(data: bytes) -> None:
    """Frames of every kind, with heads that are valid or nearly so."""
    given, encoder = atheris.FuzzedDataProvider(data), Encoder()
    parts = [START]
    for _ in range(30):
        if not given.remaining_bytes():
            break
        stream = given.PickValueInList([0, 1, 1, 3, 3, 5, 7, 2, 2**31 - 1])
        choice = given.ConsumeIntInRange(0, 3)
        if choice == 0:
            path = PATHS[given.ConsumeIntInRange(0, 3)]
            extra = [("grpc-timeout", given.ConsumeUnicodeNoSurrogates(5))] if given.ConsumeBool() else []
            flags = given.PickValueInList([4, 5, 0, 1])
            parts.append(frame(1, flags, stream, encoder.encode(request_head(path, extra))))
        elif choice == 1:
            body = given.ConsumeBytes(given.ConsumeIntInRange(0, 40))
            parts.append(frame(0, given.PickValueInList([0, 1, 8, 9]), stream, b"\x00" + bytes(4) + body))
        else:
            payload = given.ConsumeBytes(given.ConsumeIntInRange(0, 40))
            parts.append(frame(given.ConsumeIntInRange(0, 11), given.ConsumeInt(1) & 255, stream, payload))
    _served(b"".join(parts))


TARGETS: dict[str, Callable[[bytes], None]] = {
    "hpack": fuzz_hpack,
    "huffman": fuzz_huffman,
    "bytes": fuzz_bytes,
    "frames": fuzz_frames,
}

if __name__ == "__main__":
    LOOP = asyncio.new_event_loop()
    asyncio.set_event_loop(LOOP)
    target = TARGETS[sys.argv.pop(1)]
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()
