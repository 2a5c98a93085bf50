"""The read side, answered from the store."""

from typing import Protocol

from broadaxe.clock import Clock
from broadaxe.store.event_reads import EventReads
from broadaxe.store.reads import Reads
from broadaxe.views.catalogue import CatalogueViews
from broadaxe.views.definitions import Definitions
from broadaxe.views.events import EventViews
from broadaxe.views.fleet import INACTIVE_AFTER, FleetViews
from broadaxe.views.runs import PAYLOAD_LIMIT, RunViews


class AllReads(Reads, EventReads, Protocol):
    """Every query."""


class StoreViews(RunViews, FleetViews, CatalogueViews, EventViews):
    """Everything that can be read: implements `broadaxe.views.api.Views`."""

    def __init__(
        self,
        reads: AllReads,
        clock: Clock,
        *,
        inactive_after: float = INACTIVE_AFTER,
        payload_limit: int = PAYLOAD_LIMIT,
    ) -> None:
        definitions = Definitions(reads)
        RunViews.__init__(self, reads, definitions, payload_limit)
        FleetViews.__init__(self, reads, definitions, clock, inactive_after)
        CatalogueViews.__init__(self, reads, definitions)
        EventViews.__init__(self, reads)
