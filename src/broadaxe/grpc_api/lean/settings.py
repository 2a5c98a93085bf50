"""How the transport listens and what it allows."""

from dataclasses import dataclass

from broadaxe.config.tls import ServerTls


@dataclass(frozen=True, slots=True)
class LeanSettings:
    """Times are in seconds, sizes in bytes."""

    bind_address: str = "127.0.0.1"
    """A host name, an IPv4 or an IPv6 address (without brackets)."""
    port: int = 7070
    """0 takes a free one."""
    tls: ServerTls | None = None
    """None serves plaintext."""
    max_message_size: int = 4 * 1024 * 1024
    """Of one message, in either direction, uncompressed."""
    stream_window: int = 10 * 1024 * 1024
    """How much a client may send on one stream before the server has read it."""
    max_connections: int = 10_000
    """Open at a time; one more is told to come back later and closed."""
    max_concurrent_streams: int = 10_000
    """Calls open at a time on one connection; more wait in the client."""
    max_header_list: int = 16 * 1024
    """Of a call's metadata, as HTTP/2 counts it; a call with more is refused."""
    max_buffered: int = 64 * 1024 * 1024
    """Held for one connection: requests not yet complete or not yet read, and replies that it does not take.
    The calls that would exceed it end with RESOURCE_EXHAUSTED."""
    max_buffered_in_all: int = 512 * 1024 * 1024
    """The same for all connections together."""
    keepalive_after: float = 30.0
    """The server pings a connection on which it has heard nothing for so long."""
    keepalive_timeout: float = 20.0
    """... and closes it when the answer takes longer than this. A connection that does not begin with
    HTTP/2's preface within this time is closed too."""
    min_ping_interval: float = 4.5
    """A client that pings more often, and to whom nothing is sent meanwhile, is turned away. SDKs ping each
    5 to 10 s, calls open or not."""
    reuse_port: bool = True
    """Let a second process listen on the same port, for a change without a gap."""
    health: bool = False
    """Answer gRPC's own health service, without authentication."""
    reflection: bool = False
    """Answer gRPC server reflection, without authentication."""
    stream_patience: float = 1.0
    """At a stop: how long handlers of streams have to return before they are ended."""
