"""Settings that switch a piece of behaviour off, where no process is needed to see it."""

import asyncio
from typing import cast
from uuid import UUID

from broadaxe.app.process import Process, _stopped_in_time
from broadaxe.engine.api import Engine
from broadaxe.grpc_api.call import Call
from broadaxe.grpc_api.servicers.events import EventsServicer
from broadaxe.grpc_api.wire import events_pb2 as pb


class Engines:
    """Counts the log lines it is given."""

    def __init__(self) -> None:
        self.lines = 0

    async def put_log(self, *_: object) -> None:
        self.lines += 1


class AnyCall:
    """A call of some tenant."""

    tenant_id = UUID(int=1)


async def test_put_log_is_taken_and_dropped_when_off() -> None:
    request = pb.PutLogRequest(task_run_external_id=str(UUID(int=7)), message="line")
    for keep_logs in (True, False):
        engine = Engines()
        servicer = EventsServicer(cast("Engine", engine), keep_logs=keep_logs)
        assert await servicer.put_log(request, cast("Call", AnyCall())) == pb.PutLogResponse()
        assert engine.lines == int(keep_logs)


class Stopping:
    """A process whose stop takes for ever, or no time."""

    def __init__(self, endless: bool) -> None:
        self._endless = endless

    async def stop(self) -> None:
        if self._endless:
            await asyncio.Event().wait()


async def test_stop_that_takes_too_long_is_given_up() -> None:
    assert await _stopped_in_time(cast("Process", Stopping(endless=False)), 5.0)
    assert not await _stopped_in_time(cast("Process", Stopping(endless=True)), 0.01)
