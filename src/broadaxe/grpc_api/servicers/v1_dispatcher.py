"""`v1.V1Dispatcher`: the durable stream. Durable tasks come later: the stream opens, so that a worker which
also carries some works for the rest, and answers every other request with its error message."""

from collections.abc import AsyncIterator

from broadaxe.domain.errors import Unimplemented
from broadaxe.grpc_api.call import Call
from broadaxe.grpc_api.method import Group, Kind, Method
from broadaxe.grpc_api.wire.v1 import dispatcher_pb2 as pb

NO_DURABLE = "durable tasks are not there yet"


class V1DispatcherServicer:
    """Accepts `register_worker`; the rest is refused per message, never by ending the stream."""

    def methods(self) -> list[Method]:
        """The service's methods, for a transport."""
        table = [
            (
                "DurableTask",
                Kind.STREAM_STREAM,
                pb.DurableTaskRequest,
                pb.DurableTaskResponse,
                self.durable_task,
            ),
            (
                "RegisterDurableEvent",
                Kind.UNARY_UNARY,
                pb.RegisterDurableEventRequest,
                pb.RegisterDurableEventResponse,
                self.register,
            ),
            (
                "ListenForDurableEvent",
                Kind.STREAM_STREAM,
                pb.ListenForDurableEventRequest,
                pb.DurableEvent,
                self.listen,
            ),
        ]
        return [
            Method(
                service="v1.V1Dispatcher",
                name=name,
                kind=kind,
                request=request,
                response=response,
                handler=handler,
                group=Group.DISPATCHER,
            )
            for name, kind, request, response, handler in table
        ]

    async def durable_task(
        self, requests: AsyncIterator[pb.DurableTaskRequest], call: Call
    ) -> AsyncIterator[pb.DurableTaskResponse]:
        """One answer a request, except for worker_status, which has none."""
        async for request in requests:
            kind = request.WhichOneof("message")
            if kind == "register_worker":
                yield pb.DurableTaskResponse(
                    register_worker=pb.DurableTaskResponseRegisterWorker(
                        worker_id=request.register_worker.worker_id
                    )
                )
            elif kind not in (None, "worker_status"):
                yield pb.DurableTaskResponse(error=_refusal(request))

    async def register(
        self, request: pb.RegisterDurableEventRequest, call: Call
    ) -> pb.RegisterDurableEventResponse:
        """Not there yet."""
        raise Unimplemented(NO_DURABLE)

    async def listen(
        self, requests: AsyncIterator[pb.ListenForDurableEventRequest], call: Call
    ) -> AsyncIterator[pb.DurableEvent]:
        """Not there yet."""
        raise Unimplemented(NO_DURABLE)
        yield pb.DurableEvent()


def _refusal(request: pb.DurableTaskRequest) -> pb.DurableTaskErrorResponse:
    if request.HasField("complete_memo"):
        ref = request.complete_memo.ref
    else:
        body = getattr(request, str(request.WhichOneof("message")))
        ref = pb.DurableEventLogEntryRef(
            durable_task_external_id=body.durable_task_external_id, invocation_count=body.invocation_count
        )
    return pb.DurableTaskErrorResponse(
        ref=ref, error_type=pb.DURABLE_TASK_ERROR_TYPE_UNSPECIFIED, error_message=NO_DURABLE
    )
