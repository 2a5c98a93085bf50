"""HPACK: against the package `hpack`, against RFC 7541's examples, and against nonsense."""

import pytest
from hpack import Decoder as Reference
from hpack import Encoder
from hpack.exceptions import HPACKError
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hpack.huffman_table import decode_huffman
from hypothesis import example, given, settings
from hypothesis import strategies as st

from broadaxe.grpc_api.lean import huffman
from broadaxe.grpc_api.lean.hpack import STATIC, Decoder, HpackError, list_size, literal

TEXT = st.text(st.characters(min_codepoint=0, max_codepoint=255), max_size=60)
FIELDS = st.lists(
    st.one_of(
        st.tuples(TEXT, TEXT), st.sampled_from(STATIC[1:]), st.just((":path", "/a/b")), st.just(("k", "v"))
    ),
    max_size=8,
)


def _huffman(text: bytes) -> bytes:
    """The encoding as the standard's appendix B has it."""
    bits = "".join(f"{REQUEST_CODES[byte]:0{REQUEST_CODES_LENGTH[byte]}b}" for byte in text)
    bits += "1" * (-len(bits) % 8)
    return bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits), 8))


@settings(deadline=None)
@given(st.binary(max_size=200))
@example(bytes(range(256)))
def test_huffman_decodes_what_the_standards_table_encodes(text: bytes) -> None:
    assert huffman.decode(_huffman(text)) == text.decode("latin-1")


@settings(deadline=None)
@given(st.binary(max_size=40))
def test_huffman_of_any_bytes_agrees_with_the_reference(coded: bytes) -> None:
    try:
        expected = decode_huffman(coded)
    except HPACKError:
        with pytest.raises(huffman.HuffmanError):
            huffman.decode(coded)
    else:
        assert huffman.decode(coded) == bytes(expected).decode("latin-1")


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(FIELDS, st.booleans(), st.sampled_from([None, 0, 60, 500, 4096])), max_size=8))
def test_decode_of_a_connection_gives_back_every_list(
    blocks: list[tuple[list[tuple[str, str]], bool, int]],
) -> None:
    encoder, decoder = Encoder(), Decoder()
    for fields, coded, size in blocks:
        if size is not None:
            encoder.header_table_size = size
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields]
        assert decoder.decode(encoder.encode(raw, huffman=coded)) == fields


@settings(max_examples=300, deadline=None)
@given(st.lists(st.binary(max_size=60), max_size=4))
@example([b"\x3f\xe1\x1f", b"\x40\x01a\x01b", b"\xbe"])
@example([b"\x82\x20"])
@example([b"\x80"])
@example([b"\xff\xff\xff\xff\xff\x7f"])
def test_decode_of_any_bytes_agrees_with_the_reference_or_fails(blocks: list[bytes]) -> None:
    ours, reference = Decoder(), Reference(max_header_list_size=1 << 30)
    for block in blocks:
        try:
            expected = [
                (bytes(name).decode("latin-1"), bytes(value).decode("latin-1"))
                for name, value in reference.decode(block, raw=True)
            ]
        except (HPACKError, UnicodeDecodeError):
            with pytest.raises(HpackError):
                ours.decode(block)
            return
        assert ours.decode(block) == expected


def test_decode_of_the_standards_example_fills_and_evicts_the_table() -> None:
    """RFC 7541, C.6: responses with Huffman's code and a table of 256 bytes."""
    decoder = Decoder(256)
    first = bytes.fromhex(
        "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3"
    )
    assert decoder.decode(first)[0] == (":status", "302")
    assert decoder.table_size == 222
    assert decoder.decode(bytes.fromhex("4883640effc1c0bf"))[0] == (":status", "307")
    assert decoder.table_size == 222


def test_decode_table_larger_than_announced_is_an_error() -> None:
    with pytest.raises(HpackError):
        Decoder(4096).decode(b"\x3f\xe2\x1f")


def test_decode_changes_are_counted_only_when_the_table_changes() -> None:
    decoder = Decoder()
    decoder.decode(b"\x82\x00\x01a\x01b")
    assert decoder.changes == 0
    decoder.decode(b"\x40\x01a\x01b")
    assert decoder.changes == 1
    assert decoder.decode(b"\xbe") == [("a", "b")]
    assert decoder.changes == 1


@settings(deadline=None)
@given(st.binary(max_size=300), st.binary(max_size=300))
def test_literal_is_what_the_reference_decodes(name: bytes, value: bytes) -> None:
    decoded = Reference(max_header_list_size=1 << 30).decode(literal(name, value), raw=True)
    assert [(bytes(key), bytes(text)) for key, text in decoded] == [(name, value)]


def test_list_size_counts_as_the_standard_does() -> None:
    assert list_size([("ab", "c"), ("", "")]) == 3 + 64
