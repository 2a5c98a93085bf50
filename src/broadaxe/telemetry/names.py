"""Every name the telemetry speaks. Generated from contract.yaml by generate.py; do not edit."""

# fmt: off
from typing import Final

from broadaxe.telemetry.vocabulary import (
    Attr,
    EventName,
    Label,
    Metric,
    MetricKind,
    SpanKind,
    SpanName,
    SpanTemplate,
)

PREFIX: Final = "hatchet.run/"
SCOPE: Final = "broadaxe"
SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.37.0"

ATTR_TENANT_ID: Final = Attr("hatchet.run/tenant.id", str, True)
ATTR_USER_ID: Final = Attr("hatchet.run/user.id", str, False)
ATTR_RUN_ID: Final = Attr("hatchet.run/run.id", str, False)
ATTR_TASK_ID: Final = Attr("hatchet.run/task.id", str, False)
ATTR_TASK_NAME: Final = Attr("hatchet.run/task.name", str, True)
ATTR_ATTEMPT: Final = Attr("hatchet.run/attempt", int, True)
ATTR_WORKFLOW_NAME: Final = Attr("hatchet.run/workflow.name", str, True)
ATTR_WORKFLOW_ID: Final = Attr("hatchet.run/workflow.id", str, True)
ATTR_WORKFLOW_VERSION_ID: Final = Attr("hatchet.run/workflow.version.id", str, True)
ATTR_ACTION_ID: Final = Attr("hatchet.run/action.id", str, True)
ATTR_WORKER_ID: Final = Attr("hatchet.run/worker.id", str, False)
ATTR_WORKER_NAME: Final = Attr("hatchet.run/worker.name", str, True)
ATTR_SESSION_ID: Final = Attr("hatchet.run/session.id", str, False)
ATTR_QUEUE_NAME: Final = Attr("hatchet.run/queue.name", str, True)
ATTR_QUEUE_DEPTH: Final = Attr("hatchet.run/queue.depth", int, False)
ATTR_OUTCOME: Final = Attr("hatchet.run/outcome", str, True)
ATTR_RETRY_REASON: Final = Attr("hatchet.run/retry.reason", str, True)
ATTR_RETRY_DELAY_MS: Final = Attr("hatchet.run/retry.delay_ms", int, False)
ATTR_TRIGGER_KIND: Final = Attr("hatchet.run/trigger.kind", str, True)
ATTR_PARENT_RUN_ID: Final = Attr("hatchet.run/parent.run.id", str, False)
ATTR_EVENT_RUNS: Final = Attr("hatchet.run/event.runs", int, False)
ATTR_FILTERS_EVALUATED: Final = Attr("hatchet.run/filters.evaluated", int, False)
ATTR_FILTERS_PASSED: Final = Attr("hatchet.run/filters.passed", int, False)
ATTR_FILTERS_FAILED: Final = Attr("hatchet.run/filters.failed", int, False)
ATTR_EVENT_ID: Final = Attr("hatchet.run/event.id", str, False)
ATTR_EVENT_KEY: Final = Attr("hatchet.run/event.key", str, True)
ATTR_EVENT_TYPE: Final = Attr("hatchet.run/event.type", str, True)
ATTR_SCHEDULE_ID: Final = Attr("hatchet.run/schedule.id", str, False)
ATTR_SCHEDULE_DUE: Final = Attr("hatchet.run/schedule.due", str, False)
ATTR_SCHEDULE_LATENESS_MS: Final = Attr("hatchet.run/schedule.lateness_ms", int, False)
ATTR_CRON_EXPRESSION: Final = Attr("hatchet.run/cron.expression", str, True)
ATTR_BATCH_SIZE: Final = Attr("hatchet.run/batch.size", int, False)
ATTR_BATCH_MEMBERS: Final = Attr("hatchet.run/batch.members", int, False)
ATTR_BATCH_FAILED: Final = Attr("hatchet.run/batch.failed", int, False)
ATTR_FLUSH_KIND: Final = Attr("hatchet.run/flush.kind", str, True)
ATTR_FLUSH_WAITED_US: Final = Attr("hatchet.run/flush.waited_us", int, False)
ATTR_FLUSH_COMMIT_US: Final = Attr("hatchet.run/flush.commit_us", int, False)
ATTR_WAIT_REASON: Final = Attr("hatchet.run/wait.reason", str, True)
ATTR_ROWS_CHANGED: Final = Attr("hatchet.run/rows.changed", int, False)
ATTR_ROWS_READ: Final = Attr("hatchet.run/rows.read", int, False)
ATTR_EPOCH: Final = Attr("hatchet.run/epoch", int, False)
ATTR_PARTITION: Final = Attr("hatchet.run/partition", int, True)
ATTR_PARTITION_NAME: Final = Attr("hatchet.run/partition.name", str, True)
ATTR_PARTITIONS_CREATED: Final = Attr("hatchet.run/partitions.created", int, True)
ATTR_PARTITIONS_DROPPED: Final = Attr("hatchet.run/partitions.dropped", int, True)
ATTR_MIGRATION_VERSION: Final = Attr("hatchet.run/migration.version", int, True)
ATTR_SLOTS_FREE: Final = Attr("hatchet.run/slots.free", int, False)
ATTR_SLOTS_TOTAL: Final = Attr("hatchet.run/slots.total", int, False)
ATTR_PRIORITY: Final = Attr("hatchet.run/priority", int, True)
ATTR_PAYLOAD_SIZE_BYTES: Final = Attr("hatchet.run/payload.size_bytes", int, False)
ATTR_STREAM_KIND: Final = Attr("hatchet.run/stream.kind", str, True)
ATTR_REPLAYED: Final = Attr("hatchet.run/replayed", bool, True)
ATTR_STALE: Final = Attr("hatchet.run/stale", bool, True)
ATTR_SWEEP_FOUND: Final = Attr("hatchet.run/sweep.found", int, False)
ATTR_RECOVERED_TASKS: Final = Attr("hatchet.run/recovered.tasks", int, False)
ATTR_RECOVERED_WORKERS: Final = Attr("hatchet.run/recovered.workers", int, False)
ATTR_ROLE: Final = Attr("hatchet.run/role", str, True)
ATTR_ERROR_TYPE: Final = Attr("error.type", str, True)
ATTR_RPC_SYSTEM: Final = Attr("rpc.system", str, True)
ATTR_RPC_SERVICE: Final = Attr("rpc.service", str, True)
ATTR_RPC_METHOD: Final = Attr("rpc.method", str, True)
ATTR_RPC_GRPC_STATUS_CODE: Final = Attr("rpc.grpc.status_code", int, True)
ATTR_HTTP_REQUEST_METHOD: Final = Attr("http.request.method", str, True)
ATTR_HTTP_ROUTE: Final = Attr("http.route", str, True)
ATTR_HTTP_RESPONSE_STATUS_CODE: Final = Attr("http.response.status_code", int, True)
ATTR_URL_PATH: Final = Attr("url.path", str, False)
ATTR_URL_SCHEME: Final = Attr("url.scheme", str, True)
ATTR_USER_AGENT_ORIGINAL: Final = Attr("user_agent.original", str, False)
ATTR_CLIENT_ADDRESS: Final = Attr("client.address", str, False)
ATTR_NETWORK_PROTOCOL_VERSION: Final = Attr("network.protocol.version", str, True)
ATTR_DB_SYSTEM_NAME: Final = Attr("db.system.name", str, True)
ATTR_DB_NAMESPACE: Final = Attr("db.namespace", str, True)
ATTR_DB_OPERATION_NAME: Final = Attr("db.operation.name", str, True)
ATTR_DB_COLLECTION_NAME: Final = Attr("db.collection.name", str, True)
ATTR_DB_QUERY_SUMMARY: Final = Attr("db.query.summary", str, True)
ATTR_DB_QUERY_TEXT: Final = Attr("db.query.text", str, True)
ATTR_DB_RESPONSE_RETURNED_ROWS: Final = Attr("db.response.returned_rows", int, False)
ATTR_DB_RESPONSE_STATUS_CODE: Final = Attr("db.response.status_code", str, True)
ATTR_DB_OPERATION_BATCH_SIZE: Final = Attr("db.operation.batch.size", int, False)
ATTR_MESSAGING_SYSTEM: Final = Attr("messaging.system", str, True)
ATTR_MESSAGING_OPERATION_NAME: Final = Attr("messaging.operation.name", str, True)
ATTR_MESSAGING_OPERATION_TYPE: Final = Attr("messaging.operation.type", str, True)
ATTR_MESSAGING_DESTINATION_NAME: Final = Attr("messaging.destination.name", str, True)
ATTR_MESSAGING_MESSAGE_ID: Final = Attr("messaging.message.id", str, False)
ATTR_MESSAGING_BATCH_MESSAGE_COUNT: Final = Attr("messaging.batch.message_count", int, False)
ATTR_SERVER_ADDRESS: Final = Attr("server.address", str, True)
ATTR_SERVER_PORT: Final = Attr("server.port", int, True)
ATTR_EXCEPTION_TYPE: Final = Attr("exception.type", str, True)
ATTR_EXCEPTION_MESSAGE: Final = Attr("exception.message", str, False)

_OF_SPAN_RUN = frozenset((
    ATTR_TENANT_ID, ATTR_ERROR_TYPE, ATTR_REPLAYED, ATTR_RUN_ID, ATTR_WORKFLOW_NAME, ATTR_WORKFLOW_ID,
    ATTR_WORKFLOW_VERSION_ID, ATTR_TRIGGER_KIND, ATTR_PARENT_RUN_ID, ATTR_PRIORITY, ATTR_OUTCOME,
    ATTR_EVENT_ID, ATTR_EVENT_KEY, ATTR_RETRY_REASON,
))
SPAN_RUN: Final = SpanName("hatchet.run/run", SpanKind.INTERNAL, _OF_SPAN_RUN)
_OF_SPAN_QUEUE_WAIT = frozenset((
    ATTR_TENANT_ID, ATTR_ERROR_TYPE, ATTR_REPLAYED, ATTR_RUN_ID, ATTR_TASK_ID, ATTR_TASK_NAME, ATTR_ATTEMPT,
    ATTR_WORKFLOW_NAME, ATTR_WORKFLOW_ID, ATTR_ACTION_ID, ATTR_QUEUE_NAME, ATTR_PRIORITY, ATTR_OUTCOME,
    ATTR_WAIT_REASON, ATTR_QUEUE_DEPTH, ATTR_RETRY_REASON, ATTR_WORKER_ID,
))
SPAN_QUEUE_WAIT: Final = SpanName("hatchet.run/queue-wait", SpanKind.INTERNAL, _OF_SPAN_QUEUE_WAIT)
_OF_SPAN_ATTEMPT = frozenset((
    ATTR_TENANT_ID, ATTR_ERROR_TYPE, ATTR_REPLAYED, ATTR_RUN_ID, ATTR_TASK_ID, ATTR_TASK_NAME, ATTR_ATTEMPT,
    ATTR_WORKFLOW_NAME, ATTR_WORKFLOW_ID, ATTR_ACTION_ID, ATTR_QUEUE_NAME, ATTR_PRIORITY, ATTR_OUTCOME,
    ATTR_WORKER_ID, ATTR_WORKER_NAME, ATTR_SESSION_ID, ATTR_SLOTS_FREE, ATTR_SLOTS_TOTAL, ATTR_RETRY_REASON,
    ATTR_RETRY_DELAY_MS, ATTR_PAYLOAD_SIZE_BYTES, ATTR_STALE,
))
SPAN_ATTEMPT: Final = SpanName("hatchet.run/attempt", SpanKind.INTERNAL, _OF_SPAN_ATTEMPT)
_OF_SPAN_STEP = frozenset((
    ATTR_TENANT_ID, ATTR_ERROR_TYPE, ATTR_REPLAYED, ATTR_RUN_ID, ATTR_TASK_ID, ATTR_TASK_NAME, ATTR_ATTEMPT,
    ATTR_WORKFLOW_NAME, ATTR_WORKFLOW_ID, ATTR_ACTION_ID, ATTR_QUEUE_NAME, ATTR_PRIORITY, ATTR_OUTCOME,
    ATTR_WAIT_REASON,
))
SPAN_STEP: Final = SpanName("hatchet.run/step", SpanKind.INTERNAL, _OF_SPAN_STEP)
_OF_SPAN_STEP_WAIT = frozenset((
    ATTR_TENANT_ID, ATTR_ERROR_TYPE, ATTR_REPLAYED, ATTR_RUN_ID, ATTR_TASK_ID, ATTR_TASK_NAME, ATTR_ATTEMPT,
    ATTR_WORKFLOW_NAME, ATTR_WORKFLOW_ID, ATTR_ACTION_ID, ATTR_QUEUE_NAME, ATTR_PRIORITY, ATTR_OUTCOME,
    ATTR_WAIT_REASON, ATTR_EVENT_KEY,
))
SPAN_STEP_WAIT: Final = SpanName("hatchet.run/step-wait", SpanKind.INTERNAL, _OF_SPAN_STEP_WAIT)
_OF_SPAN_ASSIGN = frozenset((
    ATTR_TENANT_ID, ATTR_ERROR_TYPE, ATTR_REPLAYED, ATTR_RUN_ID, ATTR_TASK_ID, ATTR_TASK_NAME, ATTR_ATTEMPT,
    ATTR_WORKFLOW_NAME, ATTR_WORKFLOW_ID, ATTR_ACTION_ID, ATTR_QUEUE_NAME, ATTR_PRIORITY, ATTR_OUTCOME,
    ATTR_WORKER_ID, ATTR_WORKER_NAME, ATTR_SESSION_ID, ATTR_SLOTS_FREE, ATTR_SLOTS_TOTAL, ATTR_BATCH_SIZE,
    ATTR_BATCH_MEMBERS, ATTR_BATCH_FAILED, ATTR_FLUSH_KIND, ATTR_ROWS_CHANGED, ATTR_ROWS_READ,
    ATTR_QUEUE_DEPTH, ATTR_EPOCH, ATTR_PARTITION,
))
SPAN_ASSIGN: Final = SpanName("hatchet.run/assign", SpanKind.INTERNAL, _OF_SPAN_ASSIGN)
_OF_SPAN_REASSIGN = frozenset((
    ATTR_TENANT_ID, ATTR_ERROR_TYPE, ATTR_REPLAYED, ATTR_RUN_ID, ATTR_TASK_ID, ATTR_TASK_NAME, ATTR_ATTEMPT,
    ATTR_WORKFLOW_NAME, ATTR_WORKFLOW_ID, ATTR_ACTION_ID, ATTR_QUEUE_NAME, ATTR_PRIORITY, ATTR_OUTCOME,
    ATTR_WORKER_ID, ATTR_WORKER_NAME, ATTR_SESSION_ID, ATTR_SLOTS_FREE, ATTR_SLOTS_TOTAL, ATTR_BATCH_SIZE,
    ATTR_BATCH_MEMBERS, ATTR_BATCH_FAILED, ATTR_FLUSH_KIND, ATTR_ROWS_CHANGED, ATTR_ROWS_READ,
    ATTR_RETRY_REASON, ATTR_EPOCH,
))
SPAN_REASSIGN: Final = SpanName("hatchet.run/reassign", SpanKind.INTERNAL, _OF_SPAN_REASSIGN)
_OF_SPAN_SEND = frozenset((
    ATTR_TENANT_ID, ATTR_ERROR_TYPE, ATTR_REPLAYED, ATTR_RUN_ID, ATTR_TASK_ID, ATTR_TASK_NAME, ATTR_ATTEMPT,
    ATTR_WORKFLOW_NAME, ATTR_WORKFLOW_ID, ATTR_ACTION_ID, ATTR_QUEUE_NAME, ATTR_PRIORITY, ATTR_OUTCOME,
    ATTR_WORKER_ID, ATTR_WORKER_NAME, ATTR_SESSION_ID, ATTR_SLOTS_FREE, ATTR_SLOTS_TOTAL,
    ATTR_MESSAGING_SYSTEM, ATTR_MESSAGING_OPERATION_NAME, ATTR_MESSAGING_OPERATION_TYPE,
    ATTR_MESSAGING_DESTINATION_NAME, ATTR_MESSAGING_MESSAGE_ID, ATTR_MESSAGING_BATCH_MESSAGE_COUNT,
    ATTR_PAYLOAD_SIZE_BYTES,
))
SPAN_SEND: Final = SpanName("hatchet.run/send", SpanKind.PRODUCER, _OF_SPAN_SEND)
_OF_SPAN_SEND_CANCEL = frozenset((
    ATTR_TENANT_ID, ATTR_ERROR_TYPE, ATTR_REPLAYED, ATTR_RUN_ID, ATTR_TASK_ID, ATTR_TASK_NAME, ATTR_ATTEMPT,
    ATTR_WORKFLOW_NAME, ATTR_WORKFLOW_ID, ATTR_ACTION_ID, ATTR_QUEUE_NAME, ATTR_PRIORITY, ATTR_OUTCOME,
    ATTR_WORKER_ID, ATTR_WORKER_NAME, ATTR_SESSION_ID, ATTR_SLOTS_FREE, ATTR_SLOTS_TOTAL,
    ATTR_MESSAGING_SYSTEM, ATTR_MESSAGING_OPERATION_NAME, ATTR_MESSAGING_OPERATION_TYPE,
    ATTR_MESSAGING_DESTINATION_NAME, ATTR_MESSAGING_MESSAGE_ID, ATTR_MESSAGING_BATCH_MESSAGE_COUNT,
    ATTR_PAYLOAD_SIZE_BYTES,
))
SPAN_SEND_CANCEL: Final = SpanName("hatchet.run/send-cancel", SpanKind.PRODUCER, _OF_SPAN_SEND_CANCEL)
_OF_SPAN_COMMIT_WAIT = frozenset((ATTR_TENANT_ID, ATTR_ERROR_TYPE, ATTR_REPLAYED,))
SPAN_COMMIT_WAIT: Final = SpanName("hatchet.run/commit-wait", SpanKind.INTERNAL, _OF_SPAN_COMMIT_WAIT)
_OF_SPAN_FLUSH = frozenset((
    ATTR_TENANT_ID, ATTR_ERROR_TYPE, ATTR_REPLAYED, ATTR_BATCH_SIZE, ATTR_BATCH_MEMBERS, ATTR_BATCH_FAILED,
    ATTR_FLUSH_KIND, ATTR_ROWS_CHANGED, ATTR_ROWS_READ, ATTR_FLUSH_WAITED_US, ATTR_FLUSH_COMMIT_US,
    ATTR_EPOCH, ATTR_PARTITION,
))
SPAN_FLUSH: Final = SpanName("hatchet.run/flush", SpanKind.INTERNAL, _OF_SPAN_FLUSH)
_OF_SPAN_DELIVER_RESULT = frozenset((
    ATTR_TENANT_ID, ATTR_ERROR_TYPE, ATTR_REPLAYED, ATTR_RUN_ID, ATTR_TASK_ID, ATTR_TASK_NAME, ATTR_ATTEMPT,
    ATTR_WORKFLOW_NAME, ATTR_WORKFLOW_ID, ATTR_ACTION_ID, ATTR_QUEUE_NAME, ATTR_PRIORITY, ATTR_OUTCOME,
    ATTR_MESSAGING_SYSTEM, ATTR_MESSAGING_OPERATION_NAME, ATTR_MESSAGING_OPERATION_TYPE,
    ATTR_MESSAGING_DESTINATION_NAME, ATTR_MESSAGING_MESSAGE_ID, ATTR_MESSAGING_BATCH_MESSAGE_COUNT,
    ATTR_PAYLOAD_SIZE_BYTES, ATTR_STREAM_KIND, ATTR_SESSION_ID,
))
SPAN_DELIVER_RESULT: Final = SpanName(
    "hatchet.run/deliver-result", SpanKind.PRODUCER, _OF_SPAN_DELIVER_RESULT,
)
_OF_SPAN_DELIVER_EVENT = frozenset((
    ATTR_TENANT_ID, ATTR_ERROR_TYPE, ATTR_REPLAYED, ATTR_RUN_ID, ATTR_TASK_ID, ATTR_TASK_NAME, ATTR_ATTEMPT,
    ATTR_WORKFLOW_NAME, ATTR_WORKFLOW_ID, ATTR_ACTION_ID, ATTR_QUEUE_NAME, ATTR_PRIORITY, ATTR_OUTCOME,
    ATTR_MESSAGING_SYSTEM, ATTR_MESSAGING_OPERATION_NAME, ATTR_MESSAGING_OPERATION_TYPE,
    ATTR_MESSAGING_DESTINATION_NAME, ATTR_MESSAGING_MESSAGE_ID, ATTR_MESSAGING_BATCH_MESSAGE_COUNT,
    ATTR_PAYLOAD_SIZE_BYTES, ATTR_STREAM_KIND, ATTR_EVENT_TYPE, ATTR_SESSION_ID,
))
SPAN_DELIVER_EVENT: Final = SpanName("hatchet.run/deliver-event", SpanKind.PRODUCER, _OF_SPAN_DELIVER_EVENT)
_OF_SPAN_RECOVER = frozenset((
    ATTR_TENANT_ID, ATTR_ERROR_TYPE, ATTR_REPLAYED, ATTR_BATCH_SIZE, ATTR_BATCH_MEMBERS, ATTR_BATCH_FAILED,
    ATTR_FLUSH_KIND, ATTR_ROWS_CHANGED, ATTR_ROWS_READ, ATTR_EPOCH, ATTR_PARTITION, ATTR_RECOVERED_TASKS,
    ATTR_RECOVERED_WORKERS,
))
SPAN_RECOVER: Final = SpanName("hatchet.run/recover", SpanKind.INTERNAL, _OF_SPAN_RECOVER)
_OF_SPAN_SWEEP = frozenset((
    ATTR_TENANT_ID, ATTR_ERROR_TYPE, ATTR_REPLAYED, ATTR_BATCH_SIZE, ATTR_BATCH_MEMBERS, ATTR_BATCH_FAILED,
    ATTR_FLUSH_KIND, ATTR_ROWS_CHANGED, ATTR_ROWS_READ, ATTR_SWEEP_FOUND, ATTR_PARTITION, ATTR_EPOCH,
))
SPAN_SWEEP: Final = SpanName("hatchet.run/sweep", SpanKind.INTERNAL, _OF_SPAN_SWEEP)
_OF_SPAN_BUS_MESSAGE = frozenset((
    ATTR_TENANT_ID, ATTR_ERROR_TYPE, ATTR_REPLAYED, ATTR_MESSAGING_SYSTEM, ATTR_MESSAGING_OPERATION_NAME,
    ATTR_MESSAGING_OPERATION_TYPE, ATTR_MESSAGING_DESTINATION_NAME, ATTR_MESSAGING_MESSAGE_ID,
    ATTR_MESSAGING_BATCH_MESSAGE_COUNT, ATTR_BATCH_SIZE, ATTR_BATCH_MEMBERS, ATTR_BATCH_FAILED,
    ATTR_FLUSH_KIND, ATTR_ROWS_CHANGED, ATTR_ROWS_READ, ATTR_RUN_ID, ATTR_TASK_ID, ATTR_PAYLOAD_SIZE_BYTES,
))
SPAN_BUS_MESSAGE: Final = SpanName("hatchet.run/bus-message", SpanKind.CONSUMER, _OF_SPAN_BUS_MESSAGE)
_OF_SPAN_MAINTAIN_PARTITIONS = frozenset((
    ATTR_TENANT_ID, ATTR_ERROR_TYPE, ATTR_REPLAYED, ATTR_BATCH_SIZE, ATTR_BATCH_MEMBERS, ATTR_BATCH_FAILED,
    ATTR_FLUSH_KIND, ATTR_ROWS_CHANGED, ATTR_ROWS_READ, ATTR_PARTITIONS_CREATED, ATTR_PARTITIONS_DROPPED,
    ATTR_PARTITION_NAME,
))
SPAN_MAINTAIN_PARTITIONS: Final = SpanName(
    "hatchet.run/maintain-partitions", SpanKind.INTERNAL, _OF_SPAN_MAINTAIN_PARTITIONS,
)
_OF_SPAN_RETENTION = frozenset((
    ATTR_TENANT_ID, ATTR_ERROR_TYPE, ATTR_REPLAYED, ATTR_BATCH_SIZE, ATTR_BATCH_MEMBERS, ATTR_BATCH_FAILED,
    ATTR_FLUSH_KIND, ATTR_ROWS_CHANGED, ATTR_ROWS_READ, ATTR_PARTITIONS_DROPPED, ATTR_PARTITION_NAME,
))
SPAN_RETENTION: Final = SpanName("hatchet.run/retention", SpanKind.INTERNAL, _OF_SPAN_RETENTION)
_OF_SPAN_MIGRATE = frozenset((
    ATTR_TENANT_ID, ATTR_ERROR_TYPE, ATTR_REPLAYED, ATTR_BATCH_SIZE, ATTR_BATCH_MEMBERS, ATTR_BATCH_FAILED,
    ATTR_FLUSH_KIND, ATTR_ROWS_CHANGED, ATTR_ROWS_READ, ATTR_MIGRATION_VERSION,
))
SPAN_MIGRATE: Final = SpanName("hatchet.run/migrate", SpanKind.INTERNAL, _OF_SPAN_MIGRATE)
_OF_SPAN_LEASE_ACQUIRE = frozenset((
    ATTR_TENANT_ID, ATTR_ERROR_TYPE, ATTR_REPLAYED, ATTR_BATCH_SIZE, ATTR_BATCH_MEMBERS, ATTR_BATCH_FAILED,
    ATTR_FLUSH_KIND, ATTR_ROWS_CHANGED, ATTR_ROWS_READ, ATTR_EPOCH, ATTR_PARTITION,
))
SPAN_LEASE_ACQUIRE: Final = SpanName("hatchet.run/lease-acquire", SpanKind.INTERNAL, _OF_SPAN_LEASE_ACQUIRE)
_OF_SPAN_DOCTOR = frozenset((ATTR_TENANT_ID, ATTR_ERROR_TYPE, ATTR_REPLAYED, ATTR_ROLE,))
SPAN_DOCTOR: Final = SpanName("hatchet.run/doctor", SpanKind.INTERNAL, _OF_SPAN_DOCTOR)
_OF_SPAN_CONNECT = frozenset((
    ATTR_TENANT_ID, ATTR_ERROR_TYPE, ATTR_REPLAYED, ATTR_DB_SYSTEM_NAME, ATTR_DB_NAMESPACE,
    ATTR_DB_OPERATION_NAME, ATTR_DB_COLLECTION_NAME, ATTR_DB_QUERY_SUMMARY, ATTR_DB_QUERY_TEXT,
    ATTR_DB_RESPONSE_RETURNED_ROWS, ATTR_DB_RESPONSE_STATUS_CODE, ATTR_DB_OPERATION_BATCH_SIZE,
    ATTR_ROWS_CHANGED, ATTR_SERVER_ADDRESS, ATTR_SERVER_PORT,
))
SPAN_CONNECT: Final = SpanName("hatchet.run/connect", SpanKind.CLIENT, _OF_SPAN_CONNECT)
_OF_SPAN_POOL_WAIT = frozenset((
    ATTR_TENANT_ID, ATTR_ERROR_TYPE, ATTR_REPLAYED, ATTR_DB_SYSTEM_NAME, ATTR_DB_NAMESPACE,
    ATTR_DB_OPERATION_NAME, ATTR_DB_COLLECTION_NAME, ATTR_DB_QUERY_SUMMARY, ATTR_DB_QUERY_TEXT,
    ATTR_DB_RESPONSE_RETURNED_ROWS, ATTR_DB_RESPONSE_STATUS_CODE, ATTR_DB_OPERATION_BATCH_SIZE,
    ATTR_ROWS_CHANGED, ATTR_SERVER_ADDRESS, ATTR_SERVER_PORT, ATTR_WAIT_REASON,
))
SPAN_POOL_WAIT: Final = SpanName("hatchet.run/pool-wait", SpanKind.INTERNAL, _OF_SPAN_POOL_WAIT)
_OF_SPAN_INGEST = frozenset((
    ATTR_TENANT_ID, ATTR_ERROR_TYPE, ATTR_REPLAYED, ATTR_RUN_ID, ATTR_WORKFLOW_NAME, ATTR_WORKFLOW_ID,
    ATTR_WORKFLOW_VERSION_ID, ATTR_TRIGGER_KIND, ATTR_PARENT_RUN_ID, ATTR_PRIORITY, ATTR_OUTCOME,
    ATTR_BATCH_SIZE, ATTR_BATCH_MEMBERS, ATTR_BATCH_FAILED, ATTR_FLUSH_KIND, ATTR_ROWS_CHANGED,
    ATTR_ROWS_READ, ATTR_EVENT_ID, ATTR_EVENT_KEY, ATTR_PAYLOAD_SIZE_BYTES,
))
SPAN_INGEST: Final = SpanName("hatchet.run/ingest", SpanKind.INTERNAL, _OF_SPAN_INGEST)
_OF_SPAN_EVENT = frozenset((
    ATTR_TENANT_ID, ATTR_ERROR_TYPE, ATTR_REPLAYED, ATTR_EVENT_ID, ATTR_EVENT_KEY, ATTR_EVENT_RUNS,
    ATTR_PAYLOAD_SIZE_BYTES, ATTR_OUTCOME,
))
SPAN_EVENT: Final = SpanName("hatchet.run/event", SpanKind.INTERNAL, _OF_SPAN_EVENT)
_OF_SPAN_EVALUATE_FILTERS = frozenset((
    ATTR_TENANT_ID, ATTR_ERROR_TYPE, ATTR_REPLAYED, ATTR_EVENT_ID, ATTR_EVENT_KEY, ATTR_FILTERS_EVALUATED,
    ATTR_FILTERS_PASSED, ATTR_FILTERS_FAILED,
))
SPAN_EVALUATE_FILTERS: Final = SpanName(
    "hatchet.run/evaluate-filters", SpanKind.INTERNAL, _OF_SPAN_EVALUATE_FILTERS,
)
_OF_SPAN_SCHEDULE_FIRE = frozenset((
    ATTR_TENANT_ID, ATTR_ERROR_TYPE, ATTR_REPLAYED, ATTR_RUN_ID, ATTR_WORKFLOW_NAME, ATTR_WORKFLOW_ID,
    ATTR_WORKFLOW_VERSION_ID, ATTR_TRIGGER_KIND, ATTR_PARENT_RUN_ID, ATTR_PRIORITY, ATTR_OUTCOME,
    ATTR_SCHEDULE_ID, ATTR_SCHEDULE_DUE, ATTR_SCHEDULE_LATENESS_MS, ATTR_CRON_EXPRESSION,
))
SPAN_SCHEDULE_FIRE: Final = SpanName("hatchet.run/schedule-fire", SpanKind.INTERNAL, _OF_SPAN_SCHEDULE_FIRE)
_OF_SPAN_RESULT = frozenset((
    ATTR_TENANT_ID, ATTR_ERROR_TYPE, ATTR_REPLAYED, ATTR_RUN_ID, ATTR_TASK_ID, ATTR_TASK_NAME, ATTR_ATTEMPT,
    ATTR_WORKFLOW_NAME, ATTR_WORKFLOW_ID, ATTR_ACTION_ID, ATTR_QUEUE_NAME, ATTR_PRIORITY, ATTR_OUTCOME,
    ATTR_WORKER_ID, ATTR_WORKER_NAME, ATTR_SESSION_ID, ATTR_SLOTS_FREE, ATTR_SLOTS_TOTAL, ATTR_EVENT_TYPE,
    ATTR_STALE, ATTR_RETRY_REASON, ATTR_PAYLOAD_SIZE_BYTES,
))
SPAN_RESULT: Final = SpanName("hatchet.run/result", SpanKind.INTERNAL, _OF_SPAN_RESULT)
_OF_TEMPLATE_RPC = frozenset((
    ATTR_TENANT_ID, ATTR_ERROR_TYPE, ATTR_REPLAYED, ATTR_RPC_SYSTEM, ATTR_RPC_SERVICE, ATTR_RPC_METHOD,
    ATTR_RPC_GRPC_STATUS_CODE, ATTR_RUN_ID, ATTR_TASK_ID, ATTR_ATTEMPT, ATTR_WORKER_ID, ATTR_SESSION_ID,
    ATTR_EVENT_TYPE, ATTR_BATCH_SIZE, ATTR_PAYLOAD_SIZE_BYTES, ATTR_STREAM_KIND, ATTR_WORKFLOW_NAME,
    ATTR_CLIENT_ADDRESS, ATTR_SERVER_ADDRESS, ATTR_SERVER_PORT, ATTR_NETWORK_PROTOCOL_VERSION,
    ATTR_USER_AGENT_ORIGINAL,
))
_TEMPLATE_RPC: Final = SpanTemplate("hatchet.run/", "/", SpanKind.SERVER, _OF_TEMPLATE_RPC, 512)
_OF_TEMPLATE_HTTP = frozenset((
    ATTR_TENANT_ID, ATTR_ERROR_TYPE, ATTR_REPLAYED, ATTR_HTTP_REQUEST_METHOD, ATTR_HTTP_ROUTE,
    ATTR_HTTP_RESPONSE_STATUS_CODE, ATTR_URL_PATH, ATTR_URL_SCHEME, ATTR_USER_AGENT_ORIGINAL,
    ATTR_CLIENT_ADDRESS, ATTR_NETWORK_PROTOCOL_VERSION, ATTR_SERVER_ADDRESS, ATTR_SERVER_PORT, ATTR_USER_ID,
    ATTR_RUN_ID, ATTR_TASK_ID, ATTR_BATCH_SIZE, ATTR_PAYLOAD_SIZE_BYTES,
))
_TEMPLATE_HTTP: Final = SpanTemplate("hatchet.run/", " ", SpanKind.SERVER, _OF_TEMPLATE_HTTP, 512)
_OF_TEMPLATE_DB = frozenset((
    ATTR_TENANT_ID, ATTR_ERROR_TYPE, ATTR_REPLAYED, ATTR_DB_SYSTEM_NAME, ATTR_DB_NAMESPACE,
    ATTR_DB_OPERATION_NAME, ATTR_DB_COLLECTION_NAME, ATTR_DB_QUERY_SUMMARY, ATTR_DB_QUERY_TEXT,
    ATTR_DB_RESPONSE_RETURNED_ROWS, ATTR_DB_RESPONSE_STATUS_CODE, ATTR_DB_OPERATION_BATCH_SIZE,
    ATTR_ROWS_CHANGED, ATTR_SERVER_ADDRESS, ATTR_SERVER_PORT,
))
_TEMPLATE_DB: Final = SpanTemplate("hatchet.run/", " ", SpanKind.CLIENT, _OF_TEMPLATE_DB, 512)
_OF_EVENT_EXCEPTION = frozenset((ATTR_EXCEPTION_TYPE, ATTR_EXCEPTION_MESSAGE,))
EVENT_EXCEPTION: Final = EventName("exception", _OF_EVENT_EXCEPTION)
_OF_EVENT_RETRY_SCHEDULED = frozenset((ATTR_ATTEMPT, ATTR_RETRY_REASON, ATTR_RETRY_DELAY_MS,))
EVENT_RETRY_SCHEDULED: Final = EventName("retry-scheduled", _OF_EVENT_RETRY_SCHEDULED)
_OF_EVENT_STARTED = frozenset((ATTR_WORKER_ID,))
EVENT_STARTED: Final = EventName("started", _OF_EVENT_STARTED)
_OF_EVENT_CANCEL_REQUESTED = frozenset((ATTR_WORKER_ID,))
EVENT_CANCEL_REQUESTED: Final = EventName("cancel-requested", _OF_EVENT_CANCEL_REQUESTED)
_OF_EVENT_SLOT_RELEASED = frozenset((ATTR_WORKER_ID,))
EVENT_SLOT_RELEASED: Final = EventName("slot-released", _OF_EVENT_SLOT_RELEASED)
_OF_EVENT_TIMEOUT_REFRESHED = frozenset((ATTR_RETRY_DELAY_MS,))
EVENT_TIMEOUT_REFRESHED: Final = EventName("timeout-refreshed", _OF_EVENT_TIMEOUT_REFRESHED)
_OF_EVENT_COMMIT_RETRIED = frozenset((ATTR_DB_RESPONSE_STATUS_CODE,))
EVENT_COMMIT_RETRIED: Final = EventName("commit-retried", _OF_EVENT_COMMIT_RETRIED)
_OF_EVENT_DATABASE_AWAY = frozenset((ATTR_ERROR_TYPE,))
EVENT_DATABASE_AWAY: Final = EventName("database-away", _OF_EVENT_DATABASE_AWAY)

LABEL_OUTCOME: Final = Label("outcome", 8)
LABEL_REASON: Final = Label("reason", 16)
LABEL_TENANT_ID: Final = Label("tenant_id", 200)
LABEL_QUEUE: Final = Label("queue", 200)
LABEL_KIND: Final = Label("kind", 16)
LABEL_STATE: Final = Label("state", 8)
LABEL_SLOT_KEY: Final = Label("slot_key", 64)
LABEL_SDK_LANGUAGE: Final = Label("sdk_language", 8)
LABEL_SDK_VERSION: Final = Label("sdk_version", 64)
LABEL_SDK_OS: Final = Label("sdk_os", 16)
LABEL_SDK_LANGUAGE_VERSION: Final = Label("sdk_language_version", 64)
LABEL_PARTITION: Final = Label("partition", 64)
LABEL_RPC_SYSTEM: Final = Label("rpc.system", 1)
LABEL_RPC_METHOD: Final = Label("rpc.method", 256)
LABEL_RPC_GRPC_STATUS_CODE: Final = Label("rpc.grpc.status_code", 17)
LABEL_HTTP_REQUEST_METHOD: Final = Label("http.request.method", 10)
LABEL_HTTP_ROUTE: Final = Label("http.route", 256)
LABEL_HTTP_RESPONSE_STATUS_CODE: Final = Label("http.response.status_code", 64)
LABEL_DB_SYSTEM_NAME: Final = Label("db.system.name", 1)
LABEL_DB_OPERATION_NAME: Final = Label("db.operation.name", 16)
LABEL_DB_COLLECTION_NAME: Final = Label("db.collection.name", 64)
LABEL_ERROR_TYPE: Final = Label("error.type", 64)
LABEL_HEALTH_STATUS: Final = Label("health_status", 4)
LABEL_TABLE_NAME: Final = Label("table_name", 64)

METRIC_TASKS_CREATED: Final = Metric(
    "hatchet.tasks.created", MetricKind.COUNTER, "{task}", "Tasks created.",
    prometheus="hatchet_created_tasks_total", series=256,
)
METRIC_TASKS_FINISHED: Final = Metric(
    "hatchet.tasks.finished", MetricKind.COUNTER, "{task}", "Tasks that reached a final state.",
    labels=(LABEL_OUTCOME,), prometheus="hatchet_finished_tasks_total", split_label=LABEL_OUTCOME,
    split_names=(("completed", "hatchet_succeeded_tasks_total"), ("failed", "hatchet_failed_tasks_total"),
    ("cancelled", "hatchet_cancelled_tasks_total"), ("skipped", "hatchet_skipped_tasks_total")), series=256,
)
METRIC_TASKS_RETRIED: Final = Metric(
    "hatchet.tasks.retried", MetricKind.COUNTER, "{task}", "Further attempts that were planned.",
    labels=(LABEL_REASON,), prometheus="hatchet_retried_tasks_total", series=256,
)
METRIC_TASKS_ASSIGNED: Final = Metric(
    "hatchet.tasks.assigned", MetricKind.COUNTER, "{task}", "Attempts given to a worker.",
    prometheus="hatchet_assigned_tasks", series=256,
)
METRIC_TASKS_REASSIGNED: Final = Metric(
    "hatchet.tasks.reassigned", MetricKind.COUNTER, "{task}", "Attempts taken from a lost worker.",
    prometheus="hatchet_reassigned_tasks", series=256,
)
METRIC_TASKS_SCHEDULING_TIMED_OUT: Final = Metric(
    "hatchet.tasks.scheduling_timed_out", MetricKind.COUNTER, "{task}",
    "Tasks whose schedule time-out passed before a slot was free.", prometheus="hatchet_scheduling_timed_out",
    series=256,
)
METRIC_TASKS_DEQUEUED: Final = Metric(
    "hatchet.tasks.queued_to_assigned", MetricKind.COUNTER, "{task}",
    "Tasks that went from the queue to a worker.", prometheus="hatchet_queued_to_assigned", series=256,
)
METRIC_QUEUE_WAIT: Final = Metric(
    "hatchet.queue.wait", MetricKind.HISTOGRAM, "s", "Time from ready to assigned.",
    bounds=(0.01, 0.02, 0.05, 0.1, 0.5, 1, 2, 5, 15), prometheus="hatchet_queued_to_assigned_time_seconds",
    series=256,
)
METRIC_SCHEDULES_PLANNED: Final = Metric(
    "hatchet.schedules.planned", MetricKind.OBSERVED_GAUGE, "{schedule}",
    "Crons that are on, and planned runs due within the hour.", labels=(LABEL_KIND,),
    prometheus="hatchet_schedules_planned", series=256,
)
METRIC_SCHEDULES_FIRED: Final = Metric(
    "hatchet.schedules.fired", MetricKind.COUNTER, "{time}", "Due times that started a run.",
    labels=(LABEL_KIND,), prometheus="hatchet_schedules_fired_total", series=256,
)
METRIC_SCHEDULES_SKIPPED: Final = Metric(
    "hatchet.schedules.skipped", MetricKind.COUNTER, "{time}",
    "Due times, or stretches of them, noted as skipped: missed, paused, refused.", labels=(LABEL_REASON,),
    prometheus="hatchet_schedules_skipped_total", series=256,
)
METRIC_SCHEDULES_LATENESS: Final = Metric(
    "hatchet.schedules.lateness", MetricKind.HISTOGRAM, "s", "Time from a due time to the commit of its run.",
    bounds=(0.01, 0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600), prometheus="hatchet_schedules_lateness_seconds",
    series=256,
)
METRIC_QUEUE_INVOCATIONS: Final = Metric(
    "hatchet.queue.invocations", MetricKind.COUNTER, "{pass}", "Scheduling passes.",
    prometheus="hatchet_queue_invocations_total", series=256,
)
METRIC_QUEUE_DEPTH: Final = Metric(
    "hatchet.queue.depth", MetricKind.OBSERVED_GAUGE, "{task}", "Tasks that wait for a slot.",
    labels=(LABEL_QUEUE,), prometheus="hatchet_queue_depth", series=256,
)
METRIC_QUEUE_OLDEST: Final = Metric(
    "hatchet.queue.oldest", MetricKind.OBSERVED_GAUGE, "s", "Age of the task that has waited longest.",
    prometheus="hatchet_queue_oldest_seconds", series=256,
)
METRIC_SCHEDULING_LATENCY: Final = Metric(
    "hatchet.scheduling.latency", MetricKind.HISTOGRAM, "s", "Duration of a scheduling pass.",
    bounds=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
    prometheus="hatchet_scheduling_latency_seconds", series=256,
)
METRIC_TRIGGER_TO_SEND: Final = Metric(
    "hatchet.trigger.to_send", MetricKind.HISTOGRAM, "s",
    "Time from an accepted trigger to the action on the worker's stream.",
    bounds=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
    prometheus="hatchet_trigger_to_send_seconds", series=256,
)
METRIC_RUN_DURATION: Final = Metric(
    "hatchet.run.duration", MetricKind.HISTOGRAM, "s", "Time from a run's creation to its final state.",
    labels=(LABEL_OUTCOME,), bounds=(0.01, 0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600),
    prometheus="hatchet_run_duration_seconds", series=256,
)
METRIC_RUNS_ACTIVE: Final = Metric(
    "hatchet.runs.active", MetricKind.OBSERVED_GAUGE, "{run}", "Runs this process owns that are not final.",
    prometheus="hatchet_active_runs", series=256,
)
METRIC_RESULTS_STALE: Final = Metric(
    "hatchet.results.stale", MetricKind.COUNTER, "{result}",
    "Results of attempts that were no longer live; answered and dropped.",
    prometheus="hatchet_stale_results_total", series=256,
)
METRIC_COMMIT_SIZE: Final = Metric(
    "hatchet.commit.size", MetricKind.HISTOGRAM, "{item}", "Items that shared one commit.",
    labels=(LABEL_KIND,), bounds=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000),
    prometheus="hatchet_commit_size", series=256,
)
METRIC_COMMIT_LATENCY: Final = Metric(
    "hatchet.commit.latency", MetricKind.HISTOGRAM, "s", "Duration of a commit.", labels=(LABEL_KIND,),
    bounds=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
    prometheus="hatchet_commit_latency_seconds", series=256,
)
METRIC_COMMIT_REJECTED: Final = Metric(
    "hatchet.commit.rejected", MetricKind.COUNTER, "{item}", "Items that dropped out of a batch.",
    labels=(LABEL_KIND,), prometheus="hatchet_commit_rejected_total", series=256,
)
METRIC_WORKER_SLOTS: Final = Metric(
    "hatchet.worker.slots", MetricKind.OBSERVED_GAUGE, "{slot}", "Worker slots in use and free.",
    labels=(LABEL_STATE,), prometheus="hatchet_worker_slots", series=256,
)
METRIC_WORKERS_ACTIVE_SLOTS: Final = Metric(
    "hatchet.workers.active_slots", MetricKind.OBSERVED_GAUGE, "{slot}",
    "Slots in use of a tenant's workers.", labels=(LABEL_TENANT_ID,),
    prometheus="hatchet_tenant_used_worker_slots", series=256,
)
METRIC_WORKERS_ACTIVE_SLOTS_BY_KEY: Final = Metric(
    "hatchet.workers.active_slots.by_key", MetricKind.OBSERVED_GAUGE, "{slot}",
    "Slots in use by kind of slot.", labels=(LABEL_TENANT_ID, LABEL_SLOT_KEY),
    prometheus="hatchet_tenant_used_worker_slots_by_key", series=256,
)
METRIC_WORKERS_AVAILABLE_SLOTS: Final = Metric(
    "hatchet.workers.available_slots", MetricKind.OBSERVED_GAUGE, "{slot}",
    "Free slots of a tenant's workers.", labels=(LABEL_TENANT_ID,),
    prometheus="hatchet_tenant_available_worker_slots", series=256,
)
METRIC_WORKERS_TOTAL_SLOTS: Final = Metric(
    "hatchet.workers.total_slots", MetricKind.OBSERVED_GAUGE, "{slot}", "Slots of a tenant's workers.",
    labels=(LABEL_TENANT_ID,), prometheus="hatchet_tenant_worker_slots", series=256,
)
METRIC_WORKERS_ACTIVE_COUNT: Final = Metric(
    "hatchet.workers.active_count", MetricKind.OBSERVED_GAUGE, "{worker}", "Workers that are connected.",
    labels=(LABEL_TENANT_ID,), prometheus="hatchet_tenant_active_workers", series=256,
)
METRIC_WORKERS_ACTIVE_SDKS: Final = Metric(
    "hatchet.workers.active_sdks", MetricKind.OBSERVED_GAUGE, "{worker}", "Connected workers by SDK.",
    labels=(LABEL_TENANT_ID, LABEL_SDK_LANGUAGE, LABEL_SDK_VERSION, LABEL_SDK_OS, LABEL_SDK_LANGUAGE_VERSION),
    prometheus="hatchet_tenant_active_sdks", series=500,
)
METRIC_TENANT_TASKS_CREATED: Final = Metric(
    "hatchet.tenant.tasks.created", MetricKind.COUNTER, "{task}", "Tasks created of one tenant.",
    labels=(LABEL_TENANT_ID,), prometheus="hatchet_tenant_created_tasks_total", series=256,
)
METRIC_TENANT_TASKS_FINISHED: Final = Metric(
    "hatchet.tenant.tasks.finished", MetricKind.COUNTER, "{task}",
    "Tasks of one tenant that reached a final state.", labels=(LABEL_TENANT_ID, LABEL_OUTCOME),
    prometheus="hatchet_tenant_finished_tasks_total", split_label=LABEL_OUTCOME,
    split_names=(("completed", "hatchet_tenant_succeeded_tasks_total"),
    ("failed", "hatchet_tenant_failed_tasks_total"), ("cancelled", "hatchet_tenant_cancelled_tasks_total"),
    ("skipped", "hatchet_tenant_skipped_tasks_total")), series=800,
)
METRIC_TENANT_TASKS_RETRIED: Final = Metric(
    "hatchet.tenant.tasks.retried", MetricKind.COUNTER, "{task}", "Further attempts of one tenant.",
    labels=(LABEL_TENANT_ID,), prometheus="hatchet_tenant_retried_tasks_total", series=256,
)
METRIC_TENANT_TASKS_ASSIGNED: Final = Metric(
    "hatchet.tenant.tasks.assigned", MetricKind.COUNTER, "{task}",
    "Attempts of one tenant given to a worker.", labels=(LABEL_TENANT_ID,),
    prometheus="hatchet_tenant_assigned_tasks", series=256,
)
METRIC_TENANT_QUEUE_DEPTH: Final = Metric(
    "hatchet.tenant.queue.depth", MetricKind.OBSERVED_GAUGE, "{task}",
    "Tasks of one tenant that wait for a slot.", labels=(LABEL_TENANT_ID,),
    prometheus="hatchet_tenant_queue_depth", series=256,
)
METRIC_STREAMS: Final = Metric(
    "hatchet.streams", MetricKind.OBSERVED_GAUGE, "{stream}", "Open server streams.", labels=(LABEL_KIND,),
    prometheus="hatchet_streams", series=256,
)
METRIC_GRPC_CONNECTIONS: Final = Metric(
    "hatchet.grpc.connections", MetricKind.OBSERVED_GAUGE, "{connection}",
    "Open connections of the gRPC port. Of the lean transport; the next two as well.",
    prometheus="hatchet_grpc_connections", series=256,
)
METRIC_GRPC_BUFFERED: Final = Metric(
    "hatchet.grpc.buffered", MetricKind.OBSERVED_GAUGE, "By",
    "Requests not yet read and replies not yet taken.", prometheus="hatchet_grpc_buffered_bytes", series=256,
)
METRIC_GRPC_CONNECTIONS_ENDED: Final = Metric(
    "hatchet.grpc.connections.ended", MetricKind.OBSERVED_COUNTER, "{connection}",
    "Connections that the server ended: limit, flood, protocol or silent.", labels=(LABEL_REASON,),
    prometheus="hatchet_grpc_connections_ended_total", series=256,
)
METRIC_PARTITION_HORIZON: Final = Metric(
    "hatchet.partition.horizon", MetricKind.OBSERVED_GAUGE, "s",
    "How far ahead of now the last day partition reaches; alarm when it falls under a day.",
    prometheus="hatchet_partition_horizon_seconds", series=256,
)
METRIC_DATABASE_AWAY: Final = Metric(
    "hatchet.database.away", MetricKind.OBSERVED_COUNTER, "s",
    "Time without a database connection; grows while it lasts.",
    prometheus="hatchet_database_away_seconds_total", series=256,
)
METRIC_DATABASE_POOL: Final = Metric(
    "hatchet.database.pool", MetricKind.OBSERVED_GAUGE, "{connection}", "Pool connections in use and idle.",
    labels=(LABEL_STATE,), prometheus="hatchet_database_pool_connections", series=256,
)
METRIC_EVENTS_PUSHED: Final = Metric(
    "hatchet.events.pushed", MetricKind.COUNTER, "{event}", "User events that were stored.",
    prometheus="hatchet_pushed_events_total", series=256,
)
METRIC_EVENT_RUNS: Final = Metric(
    "hatchet.events.runs", MetricKind.COUNTER, "{run}", "Runs that user events started.",
    prometheus="hatchet_event_runs_total", series=256,
)
METRIC_EVENT_RUNS_SKIPPED: Final = Metric(
    "hatchet.events.runs.skipped", MetricKind.COUNTER, "{run}",
    "Runs that user events did not start: this server cannot run the workflow yet, and its log says why.",
    prometheus="hatchet_event_runs_skipped_total", series=256,
)
METRIC_EVENT_EXPRESSIONS_FAILED: Final = Metric(
    "hatchet.events.expressions.failed", MetricKind.COUNTER, "{expression}",
    "Expressions of filters and idempotency keys that failed for an event.",
    prometheus="hatchet_event_expressions_failed_total", series=256,
)
METRIC_TENANT_EVENTS_PUSHED: Final = Metric(
    "hatchet.tenant.events.pushed", MetricKind.COUNTER, "{event}", "User events of one tenant.",
    labels=(LABEL_TENANT_ID,), prometheus="hatchet_tenant_pushed_events_total", series=256,
)
METRIC_DB_BLOAT_COUNT: Final = Metric(
    "hatchet.db.bloat.count", MetricKind.OBSERVED_GAUGE, "{table}",
    "Tables by whether dead rows fill them: bloated from 10,000 dead rows and 20 % on.",
    labels=(LABEL_HEALTH_STATUS,), prometheus="hatchet_db_bloat_count", series=256,
)
METRIC_DB_DEAD_TUPLE_PERCENT: Final = Metric(
    "hatchet.db.bloat.dead_tuple_percent", MetricKind.OBSERVED_GAUGE, "%",
    "Dead rows of a hundred, partitions added up.", labels=(LABEL_TABLE_NAME,),
    prometheus="hatchet_db_dead_tuple_percent", series=256,
)
METRIC_DB_LONG_RUNNING_QUERIES: Final = Metric(
    "hatchet.db.long_running_queries.count", MetricKind.OBSERVED_GAUGE, "{statement}",
    "Statements of this database that have run for more than five minutes, whoever's they are.",
    prometheus="hatchet_db_long_running_queries", series=256,
)
METRIC_DB_QUERY_CACHE_HIT_RATIO: Final = Metric(
    "hatchet.db.query_cache.hit_ratio", MetricKind.OBSERVED_GAUGE, "%",
    "Pages of a hundred that were in PostgreSQL's memory when they were read.", labels=(LABEL_TABLE_NAME,),
    prometheus="hatchet_db_query_cache_hit_ratio", series=256,
)
METRIC_DB_LONG_RUNNING_VACUUM: Final = Metric(
    "hatchet.db.long_running_vacuum.count", MetricKind.OBSERVED_GAUGE, "{vacuum}",
    "Vacuums that run now: long from an hour on, else healthy.", labels=(LABEL_HEALTH_STATUS,),
    prometheus="hatchet_db_long_running_vacuum", series=256,
)
METRIC_DB_LAST_AUTOVACUUM: Final = Metric(
    "hatchet.db.last_autovacuum.seconds_since", MetricKind.OBSERVED_GAUGE, "s",
    "Time since the server last vacuumed the table, or a partition of it, by itself; absent if it never did.",
    labels=(LABEL_TABLE_NAME,), prometheus="hatchet_db_last_autovacuum_seconds", series=256,
)
METRIC_BUS_MESSAGES: Final = Metric(
    "hatchet.bus.messages", MetricKind.COUNTER, "{message}", "Messages between replicas that were processed.",
    labels=(LABEL_KIND,), prometheus="hatchet_bus_messages_total", series=256,
)
METRIC_SWEEP_FOUND: Final = Metric(
    "hatchet.sweep.found", MetricKind.COUNTER, "{row}",
    "Messages the sweep found by itself: the wake-up for them was lost or late.",
    prometheus="hatchet_sweep_found_total", series=256,
)
METRIC_LEASE_EPOCH: Final = Metric(
    "hatchet.lease.epoch", MetricKind.OBSERVED_GAUGE, "1", "Epoch of each lease this process holds.",
    labels=(LABEL_PARTITION,), prometheus="hatchet_lease_epoch", series=256,
)
METRIC_RPC_SERVER_DURATION: Final = Metric(
    "rpc.server.call.duration", MetricKind.HISTOGRAM, "s", "Duration of a served gRPC call.",
    labels=(LABEL_RPC_SYSTEM, LABEL_RPC_METHOD, LABEL_RPC_GRPC_STATUS_CODE, LABEL_ERROR_TYPE),
    bounds=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
    prometheus="rpc_server_call_duration_seconds", series=1000,
)
METRIC_HTTP_SERVER_DURATION: Final = Metric(
    "http.server.request.duration", MetricKind.HISTOGRAM, "s", "Duration of a served HTTP request.",
    labels=(LABEL_HTTP_REQUEST_METHOD, LABEL_HTTP_ROUTE, LABEL_HTTP_RESPONSE_STATUS_CODE, LABEL_ERROR_TYPE),
    bounds=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
    prometheus="http_server_request_duration_seconds", series=1000,
)
METRIC_DB_CLIENT_DURATION: Final = Metric(
    "db.client.operation.duration", MetricKind.HISTOGRAM, "s", "Duration of a statement on PostgreSQL.",
    labels=(LABEL_DB_SYSTEM_NAME, LABEL_DB_OPERATION_NAME, LABEL_DB_COLLECTION_NAME, LABEL_ERROR_TYPE),
    bounds=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
    prometheus="db_client_operation_duration_seconds", series=500,
)
METRIC_SPANS_CREATED: Final = Metric(
    "hatchet.telemetry.spans.created", MetricKind.OBSERVED_COUNTER, "{span}",
    "Spans recorded by this process.", prometheus="hatchet_telemetry_spans_created_total", series=256,
)
METRIC_SPANS_EXPORTED: Final = Metric(
    "hatchet.telemetry.spans.exported", MetricKind.OBSERVED_COUNTER, "{span}",
    "Spans the collector accepted.", prometheus="hatchet_telemetry_spans_exported_total", series=256,
)
METRIC_SPANS_DROPPED: Final = Metric(
    "hatchet.telemetry.spans.dropped", MetricKind.OBSERVED_COUNTER, "{span}",
    "Spans lost: queue_full, export_failed, rejected or shutdown.", labels=(LABEL_REASON,),
    prometheus="hatchet_telemetry_spans_dropped_total", series=256,
)
METRIC_SPANS_PENDING: Final = Metric(
    "hatchet.telemetry.spans.pending", MetricKind.OBSERVED_GAUGE, "{span}", "Spans in the export queue.",
    prometheus="hatchet_telemetry_spans_pending", series=256,
)
METRIC_SPAN_QUEUE_BYTES: Final = Metric(
    "hatchet.telemetry.queue.bytes", MetricKind.OBSERVED_GAUGE, "By", "Bytes in the export queue.",
    prometheus="hatchet_telemetry_queue_bytes", series=256,
)
METRIC_DOCTOR: Final = Metric(
    "hatchet.telemetry.doctor", MetricKind.OBSERVED_GAUGE, "1",
    "1: sent once by `broadaxe doctor` to try the way to the collector; never by a server.",
    prometheus="hatchet_telemetry_doctor", series=256,
)
METRIC_METRIC_SERIES: Final = Metric(
    "hatchet.telemetry.series", MetricKind.OBSERVED_GAUGE, "{series}", "Live label sets of all instruments.",
    prometheus="hatchet_telemetry_series", series=256,
)


def rpc_span(service: str, method: str) -> SpanName:
    """The span of a served gRPC call, for example `hatchet.run/Dispatcher/Register`."""
    return _TEMPLATE_RPC(service, method)


_HTTP_METHODS: Final = frozenset(
    ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE", "QUERY")
)


def http_span(method: str, route: str) -> SpanName:
    """The span of a served HTTP request, for example `hatchet.run/GET /api/v1/meta`.

    `route` is the template, never the path; a method that HTTP does not know becomes `_OTHER`.
    """
    return _TEMPLATE_HTTP(method if method in _HTTP_METHODS else "_OTHER", route)


def db_span(operation: str, target: str = "") -> SpanName:
    """The span of a statement, for example `hatchet.run/INSERT task`; without a target `BEGIN`."""
    return _TEMPLATE_DB(operation, target)


SPANS: Final = tuple(value for key, value in list(globals().items()) if key.startswith("SPAN_"))
TEMPLATES: Final = (_TEMPLATE_RPC, _TEMPLATE_HTTP, _TEMPLATE_DB)
EVENTS: Final = tuple(value for key, value in list(globals().items()) if key.startswith("EVENT_"))
ATTRS: Final = tuple(value for key, value in list(globals().items()) if key.startswith("ATTR_"))
METRICS: Final = tuple(value for key, value in list(globals().items()) if key.startswith("METRIC_"))
LABELS: Final = tuple(value for key, value in list(globals().items()) if key.startswith("LABEL_"))
