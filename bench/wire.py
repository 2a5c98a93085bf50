"""The few calls a load needs, on bare gRPC: requests are built once, answers are parsed only where needed."""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path

import grpc
import grpc.aio

from bench.http2_client import CallError, Channel
from broadaxe.grpc_api.wire import dispatcher_pb2 as dispatcher
from broadaxe.grpc_api.wire import workflows_pb2 as workflows
from broadaxe.grpc_api.wire.v1 import workflows_pb2 as admin
from broadaxe.grpc_api.wire.v1.shared import trigger_pb2 as trigger

WORKFLOW = "bench"
ACTION = "bench:run"
HEARTBEAT_PERIOD = 4.0
_OPTIONS = (("grpc.max_receive_message_length", 64 << 20), ("grpc.use_local_subchannel_pool", 1))
_STARTED = dispatcher.STEP_EVENT_TYPE_STARTED
_COMPLETED = dispatcher.STEP_EVENT_TYPE_COMPLETED


def read_client_env(path: Path) -> dict[str, str]:
    """What `broadaxe dev` wrote for SDKs."""
    found = {}
    for line in path.read_text().splitlines():
        name, sep, value = line.removeprefix("export ").partition("=")
        if sep and not line.startswith("#"):
            found[name.strip()] = value.strip().strip("'\"")
    return found


class Connection:
    """One channel with a token. Methods take and give bytes unless they say otherwise."""

    def __init__(self, env: Mapping[str, str], *, light: bool = False) -> None:
        """`light`: what is called once a task goes over a client of our own, which leaves more of the machine
        to the engine. It does not reconnect and speaks no TLS."""
        address, self._metadata = env["HATCHET_CLIENT_HOST_PORT"], ()
        self._metadata = (("authorization", f"bearer {env['HATCHET_CLIENT_TOKEN']}"),)
        strategy = env.get("HATCHET_CLIENT_TLS_STRATEGY", "tls")
        if strategy == "none":
            self._channel = grpc.aio.insecure_channel(address, options=_OPTIONS)
        else:
            root = env.get("HATCHET_CLIENT_TLS_ROOT_CA_FILE")
            credentials = grpc.ssl_channel_credentials(Path(root).read_bytes() if root else None)
            self._channel = grpc.aio.secure_channel(address, credentials, options=_OPTIONS)
        self._event = self._unary("/Dispatcher/SendStepActionEvent")
        self._trigger = self._unary("/WorkflowService/TriggerWorkflow")
        self._bulk = self._unary("/WorkflowService/BulkTriggerWorkflow")
        self._address = address
        self._wants_light = light and strategy == "none"
        self._light: Channel | None = None

    async def open(self) -> None:
        """Connect the light client, where one is wanted."""
        if self._wants_light and self._light is None:
            self._light = await Channel.connect(self._address, self._metadata)

    async def close(self) -> None:
        """Close the channel."""
        if self._light is not None:
            self._light.close()
        await self._channel.close()

    def _unary(self, method: str) -> grpc.aio.UnaryUnaryMultiCallable:
        return self._channel.unary_unary(method)

    async def put_workflow(self, name: str = WORKFLOW, action: str = ACTION, retries: int = 0) -> None:
        """Register a workflow of one task."""
        task = admin.CreateTaskOpts(readable_id="run", action=action, timeout="60s", retries=retries)
        request = admin.CreateWorkflowVersionRequest(name=name, tasks=[task])
        await self._unary("/v1.AdminService/PutWorkflow")(
            request.SerializeToString(), metadata=self._metadata, wait_for_ready=True, timeout=30
        )

    async def put_steps(self, name: str, tasks: Sequence[admin.CreateTaskOpts]) -> None:
        """Register a workflow of several tasks."""
        request = admin.CreateWorkflowVersionRequest(name=name, tasks=tasks)
        await self._unary("/v1.AdminService/PutWorkflow")(
            request.SerializeToString(), metadata=self._metadata, wait_for_ready=True, timeout=60
        )

    async def register(self, slots: int, name: str = "bench", action: str = ACTION) -> str:
        """Register a worker; its id."""
        request = dispatcher.WorkerRegisterRequest(worker_name=name, actions=[action], slots=slots)
        answer = await self._unary("/Dispatcher/Register")(
            request.SerializeToString(), metadata=self._metadata, wait_for_ready=True, timeout=30
        )
        return str(dispatcher.WorkerRegisterResponse.FromString(answer).worker_id)

    def listen(self, worker_id: str) -> AsyncIterator[bytes]:
        """Open the worker's session; its messages are AssignedAction."""
        request = dispatcher.WorkerListenRequest(worker_id=worker_id).SerializeToString()
        if self._light is not None:
            return self._light.stream("/Dispatcher/ListenV2", request)
        return self._channel.unary_stream("/Dispatcher/ListenV2")(request, metadata=self._metadata)

    async def heartbeat(self, worker_id: str) -> None:
        """One heartbeat."""
        request = dispatcher.HeartbeatRequest(worker_id=worker_id)
        request.heartbeat_at.GetCurrentTime()
        await self._unary("/Dispatcher/Heartbeat")(
            request.SerializeToString(), metadata=self._metadata, timeout=10
        )

    async def trigger(self, request: bytes) -> str:
        """Trigger one run (a serialised TriggerWorkflowRequest); its id."""
        if self._light is not None:
            answer = await self._light.unary("/WorkflowService/TriggerWorkflow", request)
        else:
            answer = await self._trigger(request, metadata=self._metadata, timeout=60)
        return str(workflows.TriggerWorkflowResponse.FromString(answer).workflow_run_id)

    async def trigger_many(self, request: bytes) -> list[str]:
        """Trigger runs (a serialised BulkTriggerWorkflowRequest); their ids."""
        if self._light is not None:
            answer = await self._light.unary("/WorkflowService/BulkTriggerWorkflow", request)
        else:
            answer = await self._bulk(request, metadata=self._metadata, timeout=60)
        return list(workflows.BulkTriggerWorkflowResponse.FromString(answer).workflow_run_ids)

    async def send(self, event: bytes) -> None:
        """Report what became of an attempt (a serialised StepActionEvent)."""
        if self._light is not None:
            await self._light.unary("/Dispatcher/SendStepActionEvent", event)
        else:
            await self._event(event, metadata=self._metadata, timeout=60)

    async def finished(self, run_ids: AsyncIterator[bytes]) -> AsyncIterator[str]:
        """Ids of runs as they end, out of those asked for (serialised SubscribeToWorkflowRunsRequests)."""
        call = self._channel.stream_stream("/Dispatcher/SubscribeToWorkflowRuns")(
            run_ids, metadata=self._metadata
        )
        async for raw in call:
            yield str(dispatcher.WorkflowRunEvent.FromString(raw).workflow_run_id)


def trigger_request(payload_bytes: int = 64, workflow: str = WORKFLOW) -> trigger.TriggerWorkflowRequest:
    """A trigger with an input of about this size."""
    return trigger.TriggerWorkflowRequest(
        name=workflow, input='{"x": "' + "y" * max(0, payload_bytes - 9) + '"}'
    )


def bulk_request(count: int, payload_bytes: int = 64, workflow: str = WORKFLOW) -> bytes:
    """A bulk of such triggers."""
    one = trigger_request(payload_bytes, workflow)
    return workflows.BulkTriggerWorkflowRequest(workflows=[one] * count).SerializeToString()


def event(action: dispatcher.AssignedAction, worker_id: str, kind: int, payload: str = "") -> bytes:
    """A worker's report about an action."""
    report = dispatcher.StepActionEvent(
        worker_id=worker_id,
        job_id=action.job_id,
        job_run_id=action.job_run_id,
        task_id=action.task_id,
        task_run_external_id=action.task_run_external_id,
        action_id=action.action_id,
        event_type=kind,  # type: ignore[arg-type]
        event_payload=payload,
        retry_count=action.retry_count,
    )
    report.event_timestamp.GetCurrentTime()
    return bytes(report.SerializeToString())


class Worker:
    """Takes actions and answers STARTED and COMPLETED at once."""

    def __init__(
        self,
        connection: Connection,
        slots: int,
        on_action: Callable[[str, float], None],
        on_done: Callable[[str, float], None],
        *,
        started: bool = True,
        action: str = ACTION,
    ) -> None:
        self._action = action
        self._connection = connection
        self._slots = slots
        self._on_action = on_action
        self._on_done = on_done
        self._started = started
        self._tasks: set[asyncio.Task[None]] = set()
        self._loops: list[asyncio.Task[None]] = []
        self.failures = 0
        """Reports that were refused."""
        self.worker_id = ""

    async def start(self) -> None:
        """Register, open the session, send the first heartbeat."""
        self.worker_id = await self._connection.register(self._slots, action=self._action)
        call = self._connection.listen(self.worker_id)
        self._loops.append(asyncio.create_task(self._listen(call)))
        # The engine's first answer on the stream is the first action, so there is nothing else to wait for.
        await self._connection.heartbeat(self.worker_id)
        self._loops.append(asyncio.create_task(self._beat()))

    async def stop(self) -> None:
        """Close the session once all reports are answered."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=30)
        for task in self._loops:
            task.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_PERIOD)
            with contextlib.suppress(grpc.aio.AioRpcError):
                await self._connection.heartbeat(self.worker_id)

    async def _listen(self, call: AsyncIterator[bytes]) -> None:
        async for raw in call:
            now = time.perf_counter()
            action = dispatcher.AssignedAction.FromString(raw)
            if action.action_type != dispatcher.START_STEP_RUN:
                continue
            self._on_action(action.workflow_run_id, now)
            if self._started:
                self._spawn(self._report(event(action, self.worker_id, _STARTED)))
            self._spawn(self._complete(action))

    async def _complete(self, action: dispatcher.AssignedAction) -> None:
        await self._report(event(action, self.worker_id, _COMPLETED, '{"ok": true}'))
        self._on_done(action.workflow_run_id, time.perf_counter())

    async def _report(self, request: bytes) -> None:
        try:
            await self._connection.send(request)
        except (grpc.aio.AioRpcError, CallError):
            self.failures += 1

    def _spawn(self, coroutine: "asyncio._CoroutineLike[None]") -> None:
        task = asyncio.ensure_future(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def environment(client_env: Path | None) -> dict[str, str]:
    """The HATCHET_CLIENT_* settings: of this file, else of the environment."""
    return read_client_env(client_env) if client_env is not None else dict(os.environ)
