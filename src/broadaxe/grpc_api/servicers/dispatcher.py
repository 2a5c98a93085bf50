"""`Dispatcher`: workers register, listen and report; clients wait for results."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import datetime

from broadaxe.clock import Clock
from broadaxe.domain.errors import InvalidArgument
from broadaxe.domain.workflow import LabelValue
from broadaxe.engine.api import Engine, EventKind, NewWorker, Origin, WorkerEvent
from broadaxe.grpc_api.call import Call
from broadaxe.grpc_api.method import Method, service_methods
from broadaxe.grpc_api.rate_limit import RateGroup
from broadaxe.grpc_api.servicers import encode
from broadaxe.grpc_api.servicers.closing import closed_with, until_closing
from broadaxe.grpc_api.servicers.fields import duration_field, uuid_field
from broadaxe.grpc_api.wire import dispatcher_pb2 as pb
from broadaxe.telemetry import names as T

LANGUAGES = {1: "GOLANG", 2: "PYTHON", 3: "TYPESCRIPT", 4: "RUBY"}
DEFAULT_SLOTS = 100
MISSING = "is not supported: group keys are expressions here, and durable tasks are not there yet"


class DispatcherServicer:
    """Decodes, calls the engine, encodes."""

    def __init__(self, engine: Engine, clock: Clock, version: str) -> None:
        self._engine = engine
        self._clock = clock
        self._version = version

    def methods(self) -> list[Method]:
        """The service's methods, for a transport."""
        return service_methods(
            pb.DESCRIPTOR.services_by_name["Dispatcher"],
            {
                "Register": self.register,
                "Listen": self.listen,
                "ListenV2": self.listen,
                "Heartbeat": self.heartbeat,
                "Unsubscribe": self.unsubscribe,
                "UpsertWorkerLabels": self.labels,
                "GetVersion": self.get_version,
                "SendStepActionEvent": self.step_event,
                "SendBatchActionEvent": self.batch_event,
                "RefreshTimeout": self.refresh,
                "ReleaseSlot": self.release,
                "PutOverridesData": self.overrides,
                "SubscribeToWorkflowRuns": self.subscribe_runs,
                "SubscribeToWorkflowEvents": self.subscribe_events,
            },
            RateGroup.DISPATCHER,
            placed=frozenset({"SendStepActionEvent"}),
            untraced=frozenset({"Heartbeat"}),
            missing=MISSING,
        )

    # -- workers --------------------------------------------------------------------------------------

    async def register(self, request: pb.WorkerRegisterRequest, call: Call) -> pb.WorkerRegisterResponse:
        """A worker announces itself; every call makes a new one."""
        config = dict(request.slot_config)
        if config and request.HasField("slots"):
            raise InvalidArgument("slots: give either slots or slot_config, not both")
        if not config:
            config = {"default": request.slots if request.HasField("slots") else DEFAULT_SLOTS}
        for kind, units in config.items():
            if units < 0:
                raise InvalidArgument(f"slot_config[{kind!r}]: {units} is negative")
        worker = NewWorker(
            name=request.worker_name,
            actions=tuple(request.actions),
            slots=config,
            labels=_labels(request.labels),
            runtime=_runtime(request.runtime_info),
        )
        worker_id = await self._engine.register_worker(call.tenant_id, worker)
        return pb.WorkerRegisterResponse(
            tenant_id=str(call.tenant_id), worker_id=str(worker_id), worker_name=request.worker_name
        )

    async def listen(self, request: pb.WorkerListenRequest, call: Call) -> AsyncIterator[pb.AssignedAction]:
        """The worker's session: actions until it hangs up or the server drains."""
        worker_id = uuid_field(request.worker_id, "worker_id")
        session = await self._engine.open_session(call.tenant_id, worker_id)
        call.opened()
        async with closed_with(call, session.close):
            async for action in session:
                message = encode.action(action)
                size = message.ByteSize()
                begun = self._clock.now_ns()
                yield message
                session.sent(action, begun, self._clock.now_ns(), size)

    async def heartbeat(self, request: pb.HeartbeatRequest, call: Call) -> pb.HeartbeatResponse:
        """Sign of life."""
        await self._engine.heartbeat(call.tenant_id, uuid_field(request.worker_id, "worker_id"))
        return pb.HeartbeatResponse()

    async def unsubscribe(
        self, request: pb.WorkerUnsubscribeRequest, call: Call
    ) -> pb.WorkerUnsubscribeResponse:
        """The worker leaves."""
        await self._engine.unsubscribe(call.tenant_id, uuid_field(request.worker_id, "worker_id"))
        return pb.WorkerUnsubscribeResponse(tenant_id=str(call.tenant_id), worker_id=request.worker_id)

    async def labels(
        self, request: pb.UpsertWorkerLabelsRequest, call: Call
    ) -> pb.UpsertWorkerLabelsResponse:
        """Set labels while running."""
        worker_id = uuid_field(request.worker_id, "worker_id")
        await self._engine.upsert_labels(call.tenant_id, worker_id, _labels(request.labels))
        return pb.UpsertWorkerLabelsResponse(tenant_id=str(call.tenant_id), worker_id=request.worker_id)

    async def get_version(self, request: pb.GetVersionRequest, call: Call) -> pb.GetVersionResponse:
        """What SDKs gate their features by."""
        return pb.GetVersionResponse(version=self._version)

    # -- reports --------------------------------------------------------------------------------------

    async def step_event(self, request: pb.StepActionEvent, call: Call) -> pb.ActionEventResponse:
        """A report about one attempt."""
        event = WorkerEvent(
            kind=_event_kind(request.event_type),
            task_id=uuid_field(request.task_run_external_id, "task_run_external_id"),
            attempt=request.retry_count if request.HasField("retry_count") else None,
            payload=request.event_payload.encode(),
            should_not_retry=request.should_not_retry,
            retry_after=_retry_after(request),
        )
        call.attributes.append((T.ATTR_EVENT_TYPE, event.kind.name.lower()))
        # Nothing is done with it, so there is nothing to show.
        call.traced = event.kind is not EventKind.ACKNOWLEDGED
        origin = Origin(caller=call.caller)
        try:
            await self._engine.worker_event(call.tenant_id, event, origin)
        finally:
            call.trace_parent(origin.parent)
        return pb.ActionEventResponse(tenant_id=str(call.tenant_id), worker_id=request.worker_id)

    async def batch_event(self, request: pb.BatchActionEvent, call: Call) -> pb.ActionEventResponse:
        """Reports of the same kind about several tasks; they share commits."""
        kind = _event_kind(request.event_type)
        events = [
            WorkerEvent(
                kind=kind,
                task_id=uuid_field(item.task_run_external_id, f"items[{at}].task_run_external_id"),
                attempt=item.retry_count if item.HasField("retry_count") else None,
                payload=item.event_payload.encode(),
                should_not_retry=item.should_not_retry,
                retry_after=_retry_after(item),
            )
            for at, item in enumerate(request.items)
        ]
        reports = [self._report(event, call) for event in events]
        for outcome in await asyncio.gather(*reports, return_exceptions=True):
            # Ids that never existed are skipped here; anything else is the caller's to know.
            if isinstance(outcome, BaseException) and not isinstance(outcome, InvalidArgument):
                raise outcome
        return pb.ActionEventResponse(tenant_id=str(call.tenant_id), worker_id=request.worker_id)

    async def _report(self, event: WorkerEvent, call: Call) -> None:
        await self._engine.worker_event(call.tenant_id, event, Origin(caller=call.caller))

    async def refresh(self, request: pb.RefreshTimeoutRequest, call: Call) -> pb.RefreshTimeoutResponse:
        """More time for a running task."""
        task_id = uuid_field(request.task_run_external_id, "task_run_external_id")
        seconds = duration_field(request.increment_timeout_by, "increment_timeout_by")
        if seconds < 0:
            raise InvalidArgument("increment_timeout_by: must not be negative")
        response = pb.RefreshTimeoutResponse()
        deadline: datetime = await self._engine.refresh_timeout(call.tenant_id, task_id, seconds)
        response.timeout_at.FromDatetime(deadline)
        return response

    async def release(self, request: pb.ReleaseSlotRequest, call: Call) -> pb.ReleaseSlotResponse:
        """A running task gives its slot back."""
        task_id = uuid_field(request.task_run_external_id, "task_run_external_id")
        await self._engine.release_slot(call.tenant_id, task_id)
        return pb.ReleaseSlotResponse()

    async def overrides(self, request: pb.OverridesData, call: Call) -> pb.OverridesDataResponse:
        """Kept for old SDKs: the playground it served is gone, so nothing is stored."""
        return pb.OverridesDataResponse()

    # -- results --------------------------------------------------------------------------------------

    async def subscribe_runs(
        self, requests: AsyncIterator[pb.SubscribeToWorkflowRunsRequest], call: Call
    ) -> AsyncIterator[pb.WorkflowRunEvent]:
        """One event a run once it is finished; ids come in as the client sends them."""
        subscription = self._engine.subscribe_runs(call.tenant_id, Origin(caller=call.caller))
        call.opened()

        async def read() -> None:
            async for request in requests:
                try:
                    run_id = uuid_field(request.workflow_run_id, "workflow_run_id")
                except InvalidArgument:
                    continue  # SDKs pool many waits on one stream: a malformed one must not end it
                subscription.add(run_id)

        reader = asyncio.create_task(read())
        try:
            async with closed_with(call, subscription.close):
                async for finished in subscription:
                    yield encode.run_finished(finished, self._clock.now())
        finally:
            reader.cancel()

    async def subscribe_events(
        self, request: pb.SubscribeToWorkflowEventsRequest, call: Call
    ) -> AsyncIterator[pb.WorkflowEvent]:
        """What happens to a run, or to all runs with a metadata pair, as it happens."""
        if request.workflow_run_id:
            run_id = uuid_field(request.workflow_run_id, "workflow_run_id")
            events = await self._engine.watch_run(call.tenant_id, run_id)
        elif request.additional_meta_key:
            events = await self._engine.watch_metadata(
                call.tenant_id, request.additional_meta_key, request.additional_meta_value
            )
        else:
            raise InvalidArgument("workflow_run_id: give it, or additional_meta_key and its value")
        call.opened()
        async for event in until_closing(events, call):
            yield encode.run_event(event)


def _labels(labels: Mapping[str, pb.WorkerLabels]) -> dict[str, LabelValue]:
    return {
        key: LabelValue(
            text=value.str_value if value.HasField("str_value") else None,
            number=value.int_value if value.HasField("int_value") else None,
        )
        for key, value in labels.items()
    }


def _runtime(info: pb.RuntimeInfo) -> dict[str, str]:
    found = {
        "sdk_version": info.sdk_version,
        "language": LANGUAGES.get(info.language, ""),
        "language_version": info.language_version,
        "os": info.os,
        "extra": info.extra,
    }
    return {name: value for name, value in found.items() if value}


def _event_kind(number: int) -> EventKind:
    try:
        return EventKind(number)
    except ValueError:
        raise InvalidArgument(f"event_type: {number} is not a kind of event") from None


def _retry_after(item: pb.StepActionEvent | pb.BatchActionEventItem) -> float | None:
    return item.retry_after_ms / 1000 if item.HasField("retry_after_ms") else None
