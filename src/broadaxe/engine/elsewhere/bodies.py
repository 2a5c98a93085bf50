"""The bodies of messages between engines: JSON objects."""

from datetime import datetime
from uuid import UUID

import msgspec


class Rows(msgspec.Struct):
    """ROWS_CHANGED: tasks to be read again."""

    ids: list[UUID]


class SessionAt(msgspec.Struct):
    """SESSION_OPENED and SESSION_CLOSED: where a worker listens, and since when."""

    worker_id: UUID
    engine_id: UUID
    opened_at: datetime


class Workers(msgspec.Struct):
    """WORKER_SILENT, WORKER_BEATS, BEAT_ELSEWHERE, END_SESSION."""

    ids: list[UUID]
    engine_id: UUID | None = None


class Attempt(msgspec.Struct):
    """SEND and STOP: one attempt at one worker."""

    task_id: UUID
    attempt: int
    worker_id: UUID


class Runs(msgspec.Struct):
    """RUN_WANTED and RUN_ENDED. `kept`: the owner goes on telling of them."""

    ids: list[UUID]
    engine_id: UUID | None = None
    kept: bool = False


class Watching(msgspec.Struct):
    """WATCH and UNWATCH: a run, or a pair of metadata."""

    watch_id: UUID
    engine_id: UUID
    run_id: UUID | None = None
    key: str = ""
    value: str = ""


class Event(msgspec.Struct):
    """One event of a watched run."""

    kind: str
    run_id: UUID
    task_id: UUID
    at: datetime
    attempt: int
    payload: bytes
    step_name: str
    event_index: int | None
    hangup: bool


class Watched(msgspec.Struct):
    """WATCHED: what happened. `ended`: nothing follows; `problem`: there is nothing to watch."""

    watch_id: UUID
    events: list[Event] = []
    ended: bool = False
    problem: str | None = None


class Depth(msgspec.Struct):
    """QUEUE_FULL: whether the queue of an action is full."""

    action: str
    full: bool


class Chunk(msgspec.Struct):
    """CHUNK: of a task's stream."""

    task_id: UUID
    at: datetime
    chunk: bytes
    index: int | None
