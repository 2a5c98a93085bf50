"""Decoding of HPACK's Huffman code (RFC 7541, appendix B), a byte at a time.

The code is canonical, so the lengths of its 257 words determine it. The decoder is a finite automaton: a
state is a node of the code's tree, and its row tells for each input byte the next state and what was
decoded on the way. Rows are made when they are first needed; text of requests needs few of them.
"""

_LENGTHS = bytes.fromhex(
    "0d171c1c1c1c1c1c1c181e1c1c1e1c1c1c1c1c1c1c1c1e1c1c1c1c1c1c1c1c1c060a0a0c0d06080b0a0a080b08060606"
    "0505050606060606060607080f060c0a0d06070707070707070707070707070707070707070707070807080d130d0e06"
    "0f05060506050606060507070606060506070605050607070707070f0b0e0d1c14161414161616171617171717171817"
    "181816171817171717151617161717181615141616171715171616181516171715151615171617171416161617161617"
    "1a1a1413161716191a1a1a1b1b1a181913151a1b1b1a1b1815151a1a1c1b1b1b14181415161515171616191918181a17"
    "1a1b1a1a1b1b1b1b1b1c1b1b1b1b1b1a1e"
)
_END = 256
_Row = list[tuple[int, str]]


class HuffmanError(Exception):
    """The bytes are no text in this code."""


def _tree() -> tuple[list[list[int]], frozenset[int]]:
    """The nodes as (child of bit 0, child of bit 1), a leaf as -1 - symbol; and the nodes at which an input
    may end: no more than seven bits, all ones, after a symbol."""
    nodes: list[list[int]] = [[0, 0]]
    code = length = 0
    for size, symbol in sorted((size, symbol) for symbol, size in enumerate(_LENGTHS)):
        code <<= size - length
        length = size
        node = 0
        for shift in range(size - 1, 0, -1):
            bit = code >> shift & 1
            if nodes[node][bit] == 0:
                nodes.append([0, 0])
                nodes[node][bit] = len(nodes) - 1
            node = nodes[node][bit]
        nodes[node][code & 1] = -1 - symbol
        code += 1
    ends, node = [0], 0
    for _ in range(7):
        node = nodes[node][1]
        ends.append(node)
    return nodes, frozenset(ends)


_NODES, _ENDS = _tree()
_ROWS: list[_Row | None] = [None] * len(_NODES)
_DEAD = -1


def _step(node: int, byte: int) -> tuple[int, str]:
    decoded = bytearray()
    for shift in range(7, -1, -1):
        node = _NODES[node][byte >> shift & 1]
        if node < 0:
            if node == -1 - _END:
                return _DEAD, ""
            decoded.append(-1 - node)
            node = 0
    return node, decoded.decode("latin-1")


def _row(node: int) -> _Row:
    made = _ROWS[node] = [_step(node, byte) for byte in range(256)]
    return made


def decode(coded: bytes) -> str:
    """The text, a character a byte; raises `HuffmanError`."""
    state = 0
    decoded = []
    rows = _ROWS
    for byte in coded:
        state, part = (rows[state] or _row(state))[byte]
        if state < 0:
            raise HuffmanError("the end of the code in the middle of a text")
        decoded.append(part)
    if state not in _ENDS:
        raise HuffmanError("wrong padding")
    return "".join(decoded)
