"""The spans of statements and of group commits, by the official decoder and under the contract."""

import asyncio
from collections import Counter
from dataclasses import replace

from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans, Span
from rows import TENANT, ids, new_task
from store_server import new_options

from broadaxe.clock import SystemClock, SystemIds
from broadaxe.store.postgres_ledger import PostgresLedger
from broadaxe.telemetry import names as T
from broadaxe.telemetry.sampler import Sampler
from broadaxe.telemetry.tracer import Tracer


class Recorded:
    """A ledger whose spans are kept."""

    def __init__(self, dsn: str) -> None:
        self._bytes: list[bytes] = []
        clock = SystemClock()
        self.tracer = Tracer(clock, SystemIds(), self._bytes.append, Sampler(1.0), strict=True)
        self.ledger = PostgresLedger.build(new_options(dsn), clock, SystemIds(), self.tracer)

    def spans(self) -> list[Span]:
        decoded = [span for data in self._bytes for span in ScopeSpans.FromString(data).spans]
        self._bytes.clear()
        return decoded

    async def __aenter__(self) -> "Recorded":
        await self.ledger.open()
        await self.ledger.acquire_lease(ids.uuid7())  # type: ignore[arg-type]
        await self.ledger.create_tasks([new_task()], patience=None)
        self.spans()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.ledger.close()


def attributes(span: Span) -> dict[str, object]:
    return {a.key: getattr(a.value, str(a.value.WhichOneof("value"))) for a in span.attributes}


async def test_group_commit_sampled_members_wait_links_to_one_flush(dsn: str) -> None:
    async with Recorded(dsn) as recorded:
        roots = [recorded.tracer.start(T.SPAN_RUN) for _ in range(3)]
        tasks = [replace(new_task(), trace=root.context) for root in roots] + [new_task()]
        await asyncio.gather(*(recorded.ledger.create_tasks([t], patience=None) for t in tasks))
        spans = recorded.spans()
    flush = next(span for span in spans if span.name == T.SPAN_FLUSH.name)
    waits = [span for span in spans if span.name == T.SPAN_COMMIT_WAIT.name]
    assert flush.parent_span_id == roots[0].context.span_id
    # The first member has the flush itself in its trace.
    assert {wait.trace_id for wait in waits} == {root.context.trace_id for root in roots[1:]}
    assert {wait.parent_span_id for wait in waits} == {root.context.span_id for root in roots[1:]}
    assert all(wait.links[0].span_id == flush.span_id for wait in waits)
    assert {link.span_id for link in flush.links} == {wait.span_id for wait in waits}
    below = [span for span in spans if span.parent_span_id == flush.span_id]
    assert [span.name for span in below] == ["hatchet.run/INSERT task"]
    assert len(spans) == 1 + 2 + 1
    assert attributes(flush)["hatchet.run/batch.size"] == 4
    assert attributes(flush)["hatchet.run/batch.members"] == 3
    assert 0 < attributes(flush)["hatchet.run/flush.commit_us"] < 60_000_000  # type: ignore[operator]
    assert 0 <= attributes(flush)["hatchet.run/flush.waited_us"] < 60_000_000  # type: ignore[operator]
    insert = attributes(below[0])
    assert insert["db.system.name"] == "postgresql"
    assert insert["db.operation.name"] == "INSERT"
    assert insert["db.collection.name"] == "task"
    assert insert["db.operation.batch.size"] == 4
    assert insert["hatchet.run/rows.changed"] == 4
    assert "unnest" in str(insert["db.query.text"])
    for span in spans:
        assert flush.start_time_unix_nano <= span.end_time_unix_nano <= flush.end_time_unix_nano


async def test_group_commit_nobody_sampled_no_span(dsn: str) -> None:
    async with Recorded(dsn) as recorded:
        await recorded.ledger.create_tasks([new_task()], patience=None)
        assert recorded.spans() == []


async def test_read_under_current_span_has_pool_wait_and_statement(dsn: str) -> None:
    async with Recorded(dsn) as recorded:
        root = recorded.tracer.start(T.SPAN_INGEST)
        with recorded.tracer.use(root):
            await recorded.ledger.get_task(TENANT, ids.uuid7())
            assert recorded.spans() == []  # they leave after what they are below of
        root.end()
        first, *spans = recorded.spans()
        assert first.span_id == root.context.span_id
        await recorded.ledger.get_task(TENANT, ids.uuid7())
        assert recorded.spans() == []
    names = Counter(span.name for span in spans)
    assert names == {"hatchet.run/connect": 1, "hatchet.run/pool-wait": 1, "hatchet.run/SELECT task": 1}
    assert {span.parent_span_id for span in spans} == {root.context.span_id}
    select = next(span for span in spans if span.name.endswith("SELECT task"))
    assert attributes(select)["db.response.returned_rows"] == 0


async def test_refused_statement_carries_the_code_and_no_value(dsn: str) -> None:
    async with Recorded(dsn) as recorded:
        root = recorded.tracer.start(T.SPAN_RUN)
        bad = replace(new_task(child_key="secret\x00"), trace=root.context)
        await asyncio.gather(recorded.ledger.create_tasks([bad], patience=None), return_exceptions=True)
        spans = recorded.spans()
    insert = next(span for span in spans if span.name.endswith("INSERT task"))
    assert attributes(insert)["db.response.status_code"] == "22021"
    assert attributes(insert)["error.type"] == "22021"
    assert insert.status.code == 2
    assert b"secret" not in b"".join(span.SerializeToString() for span in spans)
    assert not [span for span in spans if span.name == T.SPAN_COMMIT_WAIT.name]
