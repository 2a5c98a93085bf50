"""Which of the workers that serve an action gets the next task."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from broadaxe.domain.labels import WorkerLabel, rank_worker
from broadaxe.domain.workflow import LabelRequest


class Candidate(Protocol):
    """A worker that may be given work: open session, not paused, alive, and it has the action."""

    @property
    def worker_id(self) -> UUID: ...
    @property
    def free(self) -> Mapping[str, int]:
        """Free units by slot type."""

    @property
    def labels(self) -> Mapping[str, WorkerLabel]: ...


@dataclass(frozen=True, slots=True)
class Placement:
    """The choice: which candidate, and where the next search begins."""

    index: int
    cursor: int


def has_room(free: Mapping[str, int], need: Mapping[str, int]) -> bool:
    """Whether one worker has all the units a task asks for."""
    return all(free.get(kind, 0) >= units for kind, units in need.items())


def choose_worker(
    candidates: Sequence[Candidate],
    need: Mapping[str, int],
    cursor: int,
    *,
    requests: Sequence[LabelRequest] = (),
    desired_worker: UUID | None = None,
    desired_only: bool = False,
) -> Placement | None:
    """Choose a worker with room for `need`, or None when there is none now.

    A desired worker is taken when it has room; else, unless `desired_only`, any other. With a desired worker,
    label wishes do not count. Otherwise the workers of the highest label rank are served in turn: `cursor` is
    the place of the last `Placement` (0 at first; any number will do, the list may have changed).
    """
    count = len(candidates)
    if desired_worker is not None:
        for index, candidate in enumerate(candidates):
            if candidate.worker_id == desired_worker and has_room(candidate.free, need):
                return Placement(index, cursor)
        if desired_only:
            return None
        requests = ()
    best: int | None = None
    best_rank = 0
    for offset in range(count):
        index = (cursor + offset) % count
        candidate = candidates[index]
        if not has_room(candidate.free, need):
            continue
        if not requests:
            return Placement(index, index + 1)
        rank = rank_worker(requests, candidate.labels)
        if rank is not None and (best is None or rank > best_rank):
            best, best_rank = index, rank
    return None if best is None else Placement(best, best + 1)
