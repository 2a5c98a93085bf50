"""A transaction of the group commit: its first statement also holds the leases, and names the transaction."""

from collections.abc import Callable, Collection, Sequence
from typing import Any

from broadaxe.store.instruments import Parent
from broadaxe.store.pending import Fence
from broadaxe.store.session import Record, Session
from broadaxe.store.statements import Statement, statement


class LeaseLost(Exception):
    """Other engines took some of the leases: nothing was written, and the transaction is still open."""

    def __init__(self, partitions: Collection[int]) -> None:
        super().__init__()
        self.partitions = partitions


class Transaction:
    """An open transaction. Whatever it is asked first waits for, or finds out about, a take-over: the rows of
    its leases are locked before it reads or writes any other, until its end.

    Without fences (what any engine may write) it is only named.
    """

    def __init__(self, session: Session, fences: Sequence[Fence], parent: Parent) -> None:
        self.session = session
        self.parent = parent
        """What its statements hang under in telemetry."""
        self._fences = fences
        self.name: str | None = None
        """Its id, once the leases are held: what became of it can be asked for by that."""

    async def hold(self) -> None:
        """Holds the leases, by a statement of its own if need be. `LeaseLost` when some are gone."""
        if self.name is not None:
            return
        if not self._fences:
            self.name = str(await self.session.fetch_value(statement("transaction_name"), parent=self.parent))
            return
        rows = await self.session.fetch(statement("lease_fence"), *self._fence_columns(), parent=self.parent)
        self._held(rows[0][0] if rows else "", [row[1] for row in rows])

    async def fetch(self, wanted: Statement, *args: object, batch: int = 0) -> list[Record]:
        """Runs a statement under the leases; its rows."""
        await self.hold()
        return await self.session.fetch(wanted, *args, parent=self.parent, batch=batch)

    async def insert(self, name: str, columns: Sequence[Sequence[object]]) -> None:
        """Runs an INSERT that has a form (`_fenced`) which holds the leases too."""
        size = len(columns[0])
        if self.name is not None:
            await self.session.fetch(statement(name), *columns, parent=self.parent, batch=size)
        else:
            await self._fenced(name, columns, lambda row: int(row[2]))

    async def write(self, name: str, columns: Sequence[Sequence[object]]) -> list[Any]:
        """Runs a statement that has such a form and says what it wrote; the first column of its rows."""
        if self.name is None:
            row = await self._fenced(name, columns, lambda row: len(row[2] or ()))
            return list(row[2] or ())
        rows = await self.session.fetch(statement(name), *columns, parent=self.parent, batch=len(columns[0]))
        return [row[0] for row in rows]

    async def _fenced(
        self, name: str, columns: Sequence[Sequence[object]], changed: Callable[[Record], int]
    ) -> Record:
        rows = await self.session.fetch(
            statement(f"{name}_fenced"),
            *columns,
            *self._fence_columns(),
            parent=self.parent,
            batch=len(columns[0]),
            changed=lambda found: changed(found[0]),
        )
        self._held(rows[0][0], rows[0][1] or ())
        return rows[0]

    def _fence_columns(self) -> tuple[object, ...]:
        fences = self._fences
        return (
            [fence.partition for fence in fences],
            [fence.epoch for fence in fences],
            fences[0].engine_id if fences else None,
        )

    def _held(self, name: str, kept: Collection[int]) -> None:
        if len(kept) < len(self._fences):
            raise LeaseLost({fence.partition for fence in self._fences}.difference(kept))
        self.name = name
