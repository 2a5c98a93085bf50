"""What the server holds now, counted where it is held."""


class Usage:
    """Of the whole server."""

    __slots__ = ("buffered", "connections", "streams")

    def __init__(self) -> None:
        self.connections = 0
        self.streams = 0
        """Calls open."""
        self.buffered = 0
        """Bytes of requests and replies that wait."""


class Held:
    """The bytes that wait on one connection, with a limit."""

    __slots__ = ("_limit", "_usage", "bytes")

    def __init__(self, limit: int, usage: Usage) -> None:
        self._limit = limit
        self._usage = usage
        self.bytes = 0

    def take(self, count: int) -> bool:
        """Hold so many more (or fewer); False, and nothing is counted, when that is too much."""
        if count > 0 and self.bytes + count > self._limit:
            return False
        self.bytes += count
        self._usage.buffered += count
        return True
