"""Runs the bundled PostgreSQL binaries as a child process that never outlives us."""

from broadaxe.store.embedded.errors import EmbeddedPostgresError
from broadaxe.store.embedded.server import EmbeddedPostgres

__all__ = ["EmbeddedPostgres", "EmbeddedPostgresError"]
