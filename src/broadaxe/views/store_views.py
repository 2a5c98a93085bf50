"""The read side, answered from the store."""

from broadaxe.clock import Clock
from broadaxe.store.reads import Reads
from broadaxe.views.catalogue import CatalogueViews
from broadaxe.views.definitions import Definitions
from broadaxe.views.events import EventViews
from broadaxe.views.fleet import INACTIVE_AFTER, FleetViews
from broadaxe.views.runs import PAYLOAD_LIMIT, RunViews
from broadaxe.views.schedules import ScheduleViews
from broadaxe.views.statistics import StatisticsViews


class StoreViews(RunViews, FleetViews, CatalogueViews, ScheduleViews, StatisticsViews, EventViews):
    """Everything that can be read: implements `broadaxe.views.api.Views`."""

    def __init__(
        self,
        reads: Reads,
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
        ScheduleViews.__init__(self, reads)
        StatisticsViews.__init__(self, reads, definitions)
