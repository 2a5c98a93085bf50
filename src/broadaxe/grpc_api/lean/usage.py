"""What the server holds now, counted where it is held."""

from collections import Counter


class Usage:
    """Of the whole server."""

    __slots__ = ("buffered", "connections", "ended", "limit", "streams")

    def __init__(self, limit: int = 1 << 62) -> None:
        self.limit = limit
        """The most that may wait, in bytes."""
        self.connections = 0
        self.streams = 0
        """Calls open."""
        self.buffered = 0
        """Bytes of requests and replies that wait."""
        self.ended: Counter[str] = Counter()
        """Connections that the server has ended itself, by why: `limit`, `flood`, `protocol`, `silent`."""


class Held:
    """The bytes that wait on one connection, with a limit of its own."""

    __slots__ = ("_limit", "_usage", "bytes")

    def __init__(self, limit: int, usage: Usage) -> None:
        self._limit = limit
        self._usage = usage
        self.bytes = 0

    def take(self, count: int) -> bool:
        """Hold so many more (or fewer); False, and nothing is counted, when that is too much for the
        connection or for the server."""
        usage = self._usage
        if count > 0 and (self.bytes + count > self._limit or usage.buffered + count > usage.limit):
            return False
        self.bytes += count
        usage.buffered += count
        return True
