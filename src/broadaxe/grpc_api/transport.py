"""What the composition root knows of a transport, whichever it is."""

from typing import Protocol


class BindFailed(Exception):
    """The address cannot be listened on; the message names it."""


class Transport(Protocol):
    """Serves a table of methods. `start` once, `leave` and `stop` once, in the same event loop."""

    @property
    def port(self) -> int:
        """The port that is listened on; 0 before `start`."""

    async def start(self) -> None:
        """Listen and serve; raises `BindFailed`."""

    async def leave(self, timeout: float) -> None:
        """Listen no more, and tell clients to make their next calls elsewhere: before anything is refused or
        ended, since a client whose stream ends opens the next one at once. Open calls go on.

        `timeout`: seconds that are left until everything is cut.
        """

    async def stop(self, timeout: float) -> None:
        """Stop without loss: no new connections, streams end with OK, unary calls are served.

        What is still open after `timeout` seconds is cut. Returns when nothing is left.
        """


def address_of(host: str, port: int) -> str:
    """Host and port as one text, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
