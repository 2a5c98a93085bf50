"""Keeps gRPC's core from writing to standard error.

It prints a line of its own for every failed handshake, which would break "one line a minute" and JSON logs.
What went wrong is in the status of the call, and we log that. Must run before `grpc` is first imported.
"""

import os


def silence_grpc_core() -> None:
    """Turns the core's own log off unless GRPC_VERBOSITY says otherwise."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
