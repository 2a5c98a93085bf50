"""`v1.V1Dispatcher`: the durable stream. Durable tasks come later: the stream opens, so that a worker which
also carries some works for the rest, and answers every other request with its error message."""

from collections.abc import AsyncIterator

from broadaxe.grpc_api.call import Call
from broadaxe.grpc_api.method import Method, service_methods
from broadaxe.grpc_api.rate_limit import RateGroup
from broadaxe.grpc_api.servicers.closing import until_closing
from broadaxe.grpc_api.wire.v1 import dispatcher_pb2 as pb

NO_DURABLE = "durable tasks are not there yet"
MISSING = "is not there yet: durable tasks come later"


class V1DispatcherServicer:
    """Accepts `register_worker`; the rest is refused per message, never by ending the stream."""

    def methods(self) -> list[Method]:
        """The service's methods, for a transport."""
        return service_methods(
            pb.DESCRIPTOR.services_by_name["V1Dispatcher"],
            {
                "DurableTask": self.durable_task,
            },
            RateGroup.DISPATCHER,
            missing=MISSING,
        )

    async def durable_task(
        self, requests: AsyncIterator[pb.DurableTaskRequest], call: Call
    ) -> AsyncIterator[pb.DurableTaskResponse]:
        """One answer a request, except for worker_status, which has none."""
        call.opened()
        async for request in until_closing(requests, call):
            kind = request.WhichOneof("message")
            if kind == "register_worker":
                yield pb.DurableTaskResponse(
                    register_worker=pb.DurableTaskResponseRegisterWorker(
                        worker_id=request.register_worker.worker_id
                    )
                )
            elif kind not in (None, "worker_status"):
                yield pb.DurableTaskResponse(error=_refusal(request))


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
