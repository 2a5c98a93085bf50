"""Ports for programs that are told where to listen, and that listen there again after a kill."""

import functools
import itertools
import os
import random
import socket
from collections.abc import Iterator

_FIRST, _EACH, _SHARES = 20_000, 1_500, 8
"""All below 32,768: from there on Linux takes the ports of outgoing connections, and one of those could have
a port just when its program is to be started again. Test runs side by side take from shares apart."""


def _order() -> Iterator[int]:
    """The ports of this process's share in an order of its own, again and again."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    first = _FIRST + _EACH * (int(worker) % _SHARES)
    ports = list(range(first, first + _EACH))
    random.Random(os.getpid()).shuffle(ports)
    return itertools.cycle(ports)


_ports = _order()
_held: list[socket.socket] = []


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody has now; none is given out twice in a long time."""
    return list(itertools.islice(filter(_is_free, _ports), count))


def free_port() -> int:
    """One such port."""
    return free_ports(1)[0]


@functools.cache
def closed_port() -> int:
    """A port of loopback that refuses connections while this process lives: taken, and not listened on."""
    holder = socket.socket()
    holder.bind(("127.0.0.1", 0))
    _held.append(holder)
    return int(holder.getsockname()[1])
