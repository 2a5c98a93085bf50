"""What an instrument holds: one cell for each label set, bounded, with no lock and none of the SDK's objects.

A measurement finds its cell by the labels as the caller gave them and changes it in place. Only a label set
that is new takes the longer way of `Cells.admit`.
"""

import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from broadaxe.telemetry.vocabulary import AttrValue, Label, Metric, MetricKind

LabelValue = str | int
Labels = tuple[tuple[Label, LabelValue], ...]
Attributes = Mapping[str, AttrValue]

OVERFLOW: Final[Attributes] = {"otel.metric.overflow": True}
MOST: Final = sys.float_info.max
"""The largest value an instrument takes: what is not finite is refused."""


class UndeclaredLabelError(AssertionError):
    """A label that the contract does not give this instrument; raised in strict mode only."""


class Count:
    """The cell of a counter or of an observed instrument."""

    __slots__ = ("attributes", "page_labels", "start_ns", "value")

    def __init__(self, attributes: Attributes, start_ns: int) -> None:
        self.attributes = attributes
        self.page_labels: str | None = None
        """The labels as the Prometheus page has them, kept from its first writing on."""
        self.start_ns = start_ns
        """When the label set was first seen, nanoseconds since 1970."""
        self.value: float = 0


class Spread:
    """The cell of a histogram."""

    __slots__ = ("attributes", "counts", "greatest", "least", "page_labels", "start_ns", "sum")

    def __init__(self, attributes: Attributes, start_ns: int, buckets: int) -> None:
        self.attributes = attributes
        self.page_labels: str | None = None
        """The labels as the Prometheus page has them, kept from its first writing on."""
        self.start_ns = start_ns
        """When the label set was first seen, nanoseconds since 1970."""
        self.counts = [0] * buckets
        """Values by bucket: up to each bound, and beyond the last."""
        self.sum: float = 0
        self.least: float = math.inf
        self.greatest: float = -math.inf


Cell = TypeVar("Cell", Count, Spread)


class Cells(Generic[Cell]):
    """The cells of one instrument; beyond the cap, label sets share the overflow cell."""

    __slots__ = ("_distinct", "_make", "_metric", "_strict", "_values", "known", "least")

    def __init__(self, metric: Metric, make: Callable[[Attributes], Cell], strict: bool) -> None:
        self.known: dict[Labels, Cell] = {}
        """The cells by their labels, for the caller's look-up; never the overflow cell, so it cannot grow."""
        self.least: float = -MOST if metric.kind is MetricKind.UPDOWN else 0
        """The smallest value the instrument takes."""
        self._metric = metric
        self._make: Callable[[Attributes], Cell] = make
        self._strict = strict
        self._distinct: dict[frozenset[tuple[str, AttrValue]], Cell] = {}
        self._values: dict[Label, set[LabelValue]] = {label: set() for label in metric.labels}

    def __len__(self) -> int:
        """Label sets, without the overflow set."""
        return len(self.known)

    def __iter__(self) -> Iterator[Cell]:
        """Every cell, the overflow cell included."""
        return iter(self._distinct.values())

    def get(self, labels: Labels) -> Cell:
        """The cell of these labels, or the overflow cell."""
        found = self.known.get(labels)
        return found if found is not None else self.admit(labels)

    def admit(self, labels: Labels) -> Cell:
        """The cell for labels that are not known: a new one within the cap, else the overflow cell."""
        for label, value in labels:
            seen = self._values.get(label)
            if seen is None:
                if self._strict:
                    raise UndeclaredLabelError(f"{self._metric.name} has no label {label.name}")
                return self._cell(OVERFLOW)
            if value not in seen and len(seen) >= label.cardinality:
                return self._cell(OVERFLOW)
        if len(self.known) >= self._metric.series:
            return self._cell(OVERFLOW)
        for label, value in labels:
            self._values[label].add(value)
        cell = self.known[labels] = self._cell({label.name: value for label, value in labels})
        return cell

    def _cell(self, attributes: Attributes) -> Cell:
        # The same labels in another order are the same series: twice on a page, Prometheus would refuse them.
        same = frozenset(attributes.items())
        cell = self._distinct.get(same)
        if cell is None:
            cell = self._distinct[same] = self._make(attributes)
        return cell


@dataclass(frozen=True, slots=True)
class Reading:
    """All instruments as they are now. It holds the cells themselves: use it up before the loop goes on."""

    resource: Attributes
    now_ns: int
    counts: Sequence[tuple[Metric, Iterable[Count]]]
    """Counters and up-down counters."""
    spreads: Sequence[tuple[Metric, Iterable[Spread]]]
    """Histograms."""
    observed: Sequence[tuple[Metric, Iterable[Count]]]
    """What the observed instruments answered, in cells of this reading alone."""
