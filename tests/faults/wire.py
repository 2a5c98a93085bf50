"""A client and a worker that speak plain gRPC and do exactly what a test tells them, faults included."""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import grpc
import grpc.aio

from broadaxe.clock import SystemClock
from broadaxe.grpc_api.wire import dispatcher_pb2 as dp
from broadaxe.grpc_api.wire import workflows_pb2 as wf
from broadaxe.grpc_api.wire.v1 import workflows_pb2 as v1
from broadaxe.testkit.conditions import until
from broadaxe.testkit.invariants import History

Code = grpc.StatusCode
STARTED, COMPLETED, FAILED, CANCELLED = 1, 2, 3, 5
BEAT = 1.0
_AGAIN = (Code.UNAVAILABLE, Code.CANCELLED, Code.DEADLINE_EXCEEDED, Code.RESOURCE_EXHAUSTED)
_OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 200),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_receive_message_length", 16 << 20),
)
_clock = SystemClock()


@dataclass
class Refused(Exception):
    """What a call was answered with instead."""

    code: Code
    text: str


class Client:
    """Calls of one tenant's client over one connection."""

    def __init__(self, address: str, token: str, history: History) -> None:
        self.history = history
        self._address = address
        self._channel = grpc.aio.insecure_channel(address, options=_OPTIONS)
        self._metadata = (("authorization", f"bearer {token}"),)

    async def __aenter__(self) -> "Client":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._channel.close()

    async def call(self, method: str, request: Any, reply: Any, timeout: float = 30.0) -> Any:
        """One call; `Refused` when it is answered by an error. `request`: a message or raw bytes;
        `reply`: the class of the answer, None for its bytes."""
        unary = self._channel.unary_unary(method, None, None)
        body = request if isinstance(request, bytes) else request.SerializeToString()
        try:
            answer = await unary(body, timeout=timeout, metadata=self._metadata)
        except grpc.aio.AioRpcError as error:
            raise Refused(error.code(), error.details() or "") from None
        return answer if reply is None else reply.FromString(answer)

    def stream(self, method: str, request: Any) -> Any:
        """A call that is answered by a stream of raw messages."""
        return self._channel.unary_stream(method, None, None)(
            request.SerializeToString(), metadata=self._metadata
        )

    async def put_workflow(
        self, name: str, *, retries: int = 0, timeout: str = "10s", schedule: str = "300s"
    ) -> None:
        """Register a workflow of one task; its action is `NAME:step`."""
        task = v1.CreateTaskOpts(
            readable_id="step",
            action=f"{name}:step",
            timeout=timeout,
            schedule_timeout=schedule,
            retries=retries,
            inputs="{}",
        )
        request = v1.CreateWorkflowVersionRequest(name=name, tasks=[task])
        await self.call("/v1.AdminService/PutWorkflow", request, v1.CreateWorkflowVersionResponse)

    async def trigger(self, workflow: str, timeout: float = 30.0, **input: object) -> UUID:
        """Start a run; its id, noted as acknowledged."""
        request = v1.TriggerWorkflowRunRequest(workflow_name=workflow, input=json.dumps(input).encode())
        reply = await self.call(
            "/v1.AdminService/TriggerWorkflowRun", request, v1.TriggerWorkflowRunResponse, timeout
        )
        run_id = UUID(reply.external_id)
        self.history.triggered.add(run_id)
        self.history.taken_at[run_id] = self._address
        return run_id

    async def trigger_patiently(self, workflow: str, **input: object) -> UUID:
        """Start a run, again and again while the server is away."""
        return await patiently(lambda: self.trigger(workflow, **input))

    async def trigger_many(self, workflow: str, count: int, **input: object) -> list[UUID]:
        """Start many runs in one call."""
        one = {"name": workflow, "input": json.dumps(input)}
        request = wf.BulkTriggerWorkflowRequest(workflows=[one for _ in range(count)])
        reply = await self.call(
            "/WorkflowService/BulkTriggerWorkflow", request, wf.BulkTriggerWorkflowResponse, 30.0
        )
        ids = [UUID(one) for one in reply.workflow_run_ids]
        self.history.triggered.update(ids)
        self.history.taken_at.update(dict.fromkeys(ids, self._address))
        return ids

    async def cancel(self, *ids: UUID) -> list[UUID]:
        """Cancel; the ids that the answer names, noted as acknowledged."""
        request = v1.CancelTasksRequest(external_ids=[str(one) for one in ids])
        reply = await self.call("/v1.AdminService/CancelTasks", request, v1.CancelTasksResponse)
        done = [UUID(one) for one in reply.cancelled_tasks]
        self.history.cancelled.update(done)
        return done

    async def details(self, run_id: UUID) -> Any:
        """`GetRunDetails`."""
        request = v1.GetRunDetailsRequest(external_id=str(run_id))
        return await self.call("/v1.AdminService/GetRunDetails", request, v1.GetRunDetailsResponse)


async def patiently(call: Callable[[], Awaitable[Any]], timeout: float = 60.0) -> Any:
    """Repeat a call that is refused because the server is away or busy; other refusals are raised."""
    end = _clock.monotonic() + timeout
    while True:
        try:
            return await call()
        except Refused as refused:
            if refused.code not in _AGAIN or _clock.monotonic() > end:
                raise
        await asyncio.sleep(0.05)


@dataclass
class Got:
    """An action that a worker got."""

    task_id: UUID
    attempt: int
    start: bool
    """A START; else a CANCEL."""
    input: dict[str, Any]
    at: float
    """Seconds of the monotonic clock."""
    raw: Any = field(repr=False)


class RawWorker:
    """A worker whose every step is the test's; it keeps its heartbeat and its stream unless told not to."""

    def __init__(self, client: Client, name: str, worker_id: str) -> None:
        """Use `register`."""
        self._client = client
        self._beating: asyncio.Task[None] | None = None
        self._listening: asyncio.Task[None] | None = None
        self._news = asyncio.Condition()
        self._call: Any = None
        self.name = name
        self.id = worker_id
        self.got: list[Got] = []
        """All actions, oldest first."""
        self.sessions = 0
        """Streams opened so far."""
        self.asked_at: list[float] = []
        """When each stream was asked for."""
        self.stream_ends: list[Code] = []
        self.beat_answers: list[Code] = []
        self.beaten_at = 0.0
        """When the last heartbeat that was accepted was sent."""
        self.auto: Callable[[Got], Awaitable[None]] | None = None
        """Called for each START, in a task of its own."""
        self.hold: asyncio.Event | None = None
        """While it is there and not set, the stream is not read."""
        self._auto_tasks: set[asyncio.Task[None]] = set()

    @staticmethod
    async def register(client: Client, name: str, *workflows: str, slots: int = 10) -> "RawWorker":
        """A new worker for the steps of these workflows; it does not listen yet."""
        request = dp.WorkerRegisterRequest(
            worker_name=name, actions=[f"{one}:step" for one in workflows], slot_config={"default": slots}
        )
        reply = await client.call("/Dispatcher/Register", request, dp.WorkerRegisterResponse)
        return RawWorker(client, name, reply.worker_id)

    async def __aenter__(self) -> "RawWorker":
        await self.listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.die()

    async def aclose(self) -> None:
        """For `aclosing`."""
        await self.die()

    def begin(self) -> None:
        """Open the stream and keep it open across restarts; beat. Nothing is waited for."""
        if self._listening is None:
            self._listening = asyncio.create_task(self._listen(), name=f"{self.name}-listens")
        if self._beating is None:
            self._beating = asyncio.create_task(self._beat(), name=f"{self.name}-beats")

    async def listen(self) -> None:
        """Begin, and wait until the engine knows of it."""
        self.begin()
        await self.wait(lambda: self.beat_answers[-1:] == [Code.OK], "an accepted heartbeat")

    async def fall_silent(self) -> None:
        """Beat no more; the stream stays."""
        await _end(self._beating)
        self._beating = None

    async def stop_listening(self) -> None:
        """End the stream; the heartbeat stays."""
        await _end(self._listening)
        self._listening = None

    async def die(self) -> None:
        """As a killed process: stream and heartbeat end, nothing is said."""
        await self.fall_silent()
        await self.stop_listening()
        for task in self._auto_tasks:
            task.cancel()
        await asyncio.gather(*self._auto_tasks, return_exceptions=True)

    async def wait(self, condition: Callable[[], Any], what: str, timeout: float = 30.0) -> Any:
        """Until something that came makes this true."""
        try:
            async with asyncio.timeout(timeout), self._news:
                while not (found := condition()):
                    await self._news.wait()
                return found
        except TimeoutError:
            seen = [(got.start, str(got.task_id)[-6:], got.attempt) for got in self.got[-10:]]
            raise AssertionError(f"{self.name}: no {what} in {timeout:g} s; it got {seen}") from None

    def find(self, task_id: UUID, attempt: int | None = None, start: bool = True) -> Got | None:
        """The first action like this."""
        for got in self.got:
            if got.task_id == task_id and got.start is start and attempt in (None, got.attempt):
                return got
        return None

    async def start_of(self, task_id: UUID, attempt: int | None = None, timeout: float = 30.0) -> Got:
        """Wait for the START of a task."""
        found: Got = await self.wait(
            lambda: self.find(task_id, attempt), f"START of {task_id} attempt {attempt}", timeout
        )
        return found

    async def cancel_of(self, task_id: UUID, attempt: int | None = None, timeout: float = 30.0) -> Got:
        """Wait for the CANCEL of a task."""
        found: Got = await self.wait(
            lambda: self.find(task_id, attempt, start=False), f"CANCEL of {task_id}", timeout
        )
        return found

    async def report(self, got: Got, kind: int, payload: str = "", timeout: float = 30.0) -> None:
        """Tell about an attempt, once; `Refused` when it is not taken."""
        request = dp.StepActionEvent(
            worker_id=self.id,
            task_run_external_id=str(got.task_id),
            action_id=got.raw.action_id,
            event_type=kind,
            event_payload=payload,
            retry_count=got.attempt,
        )
        await self._client.call("/Dispatcher/SendStepActionEvent", request, dp.ActionEventResponse, timeout)

    async def complete(self, got: Got, output: str | None = None) -> None:
        """Report COMPLETED as an SDK does: again until it is taken."""
        text = output if output is not None else json.dumps({"attempt": got.attempt, "worker": self.id})
        await patiently(lambda: self.report(got, COMPLETED, text))

    async def _beat(self) -> None:
        while True:
            request = dp.HeartbeatRequest(worker_id=self.id)
            sent = _clock.monotonic()
            try:
                await self._client.call("/Dispatcher/Heartbeat", request, dp.HeartbeatResponse, 5.0)
                code = Code.OK
                self.beaten_at = sent
            except Refused as refused:
                code = refused.code
            async with self._news:
                self.beat_answers.append(code)
                self._news.notify_all()
            await asyncio.sleep(BEAT if code is Code.OK else 0.1)

    async def _listen(self) -> None:
        while True:
            self.asked_at.append(_clock.monotonic())
            call = self._call = self._client.stream(
                "/Dispatcher/ListenV2", dp.WorkerListenRequest(worker_id=self.id)
            )
            self.sessions += 1
            try:
                async for message in call:
                    if self.hold is not None:
                        await self.hold.wait()
                    await self._take(dp.AssignedAction.FromString(message))
                code = Code.OK
            except grpc.aio.AioRpcError as error:
                code = error.code()
            finally:
                call.cancel()
            async with self._news:
                self.stream_ends.append(code)
                self._news.notify_all()
            await asyncio.sleep(0.05)

    async def _take(self, message: Any) -> None:
        start = message.action_type == dp.START_STEP_RUN
        payload = json.loads(message.action_payload)["input"] if start else {}
        got = Got(
            UUID(message.task_run_external_id),
            message.retry_count,
            start,
            payload,
            _clock.monotonic(),
            message,
        )
        if start:
            self._client.history.starts.append((got.task_id, got.attempt, self.id))
        async with self._news:
            self.got.append(got)
            self._news.notify_all()
        if start and self.auto is not None:
            task = asyncio.create_task(_quietly(self.auto(got)))
            self._auto_tasks.add(task)
            task.add_done_callback(self._auto_tasks.discard)


async def _quietly(work: Awaitable[None]) -> None:
    with contextlib.suppress(asyncio.CancelledError):
        await work


async def _end(task: asyncio.Task[None] | None) -> None:
    if task is not None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until_state(client: Client, run_id: UUID, wanted: int, timeout: float = 30.0) -> Any:
    """Wait until `GetRunDetails` tells this status; the details."""

    async def there() -> Any:
        with contextlib.suppress(Refused):
            details = await client.details(run_id)
            return details if details.status == wanted else None

    return await until(there, f"run {run_id} in state {wanted}", timeout, period=0.05)
