"""What goes wrong with an embedded PostgreSQL, in words a person can act upon."""

from broadaxe.domain.errors import BroadaxeError


class EmbeddedPostgresError(BroadaxeError):
    """The embedded PostgreSQL cannot be made or started; the message says why and what to do."""
