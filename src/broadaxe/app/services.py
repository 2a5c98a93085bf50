"""Which parts of the engine a process runs."""

from collections.abc import Iterable
from dataclasses import dataclass

_SERVES = frozenset({"all", "grpc-api", "grpc"})
_SCHEDULES = frozenset({"all", "scheduler", "queue", "ticker"})
_KEEPS_UP = frozenset({"all", "controllers", "jobscontroller", "workflowscontroller", "retention"})


@dataclass(frozen=True, slots=True)
class EngineServices:
    """Out of SERVER_SERVICES; Hatchet's older names count as the part that does that work here."""

    serves: bool
    """The gRPC port is open: workers and clients connect here."""
    schedules: bool
    """Takes leases: queues, assignments, due times, retries, crons of its tenants."""
    keeps_up: bool
    """Makes day partitions and drops old ones."""

    @classmethod
    def of(cls, words: Iterable[str]) -> "EngineServices":
        """What a list of names asks for."""
        named = frozenset(words)
        return cls(bool(named & _SERVES), bool(named & _SCHEDULES), bool(named & _KEEPS_UP))
