"""Just enough of PromQL to say which metrics and labels a query speaks of."""

import re
from dataclasses import dataclass

from broadaxe.telemetry.names import METRICS
from broadaxe.telemetry.vocabulary import Metric, MetricKind

SCRAPE = frozenset({"job", "instance", "namespace"})
"""Labels that the scrape adds."""
WORDS = frozenset(
    [
        "sum",
        "max",
        "min",
        "count",
        "absent",
        "rate",
        "increase",
        "histogram_quantile",
        "topk",
        "min_over_time",
        "label_values",
        "by",
        "on",
        "and",
        "or",
        "unless",
        "without",
        "ignoring",
        "offset",
    ]
)


@dataclass(frozen=True)
class Query:
    """What a query names."""

    metrics: frozenset[str]
    labels: frozenset[str]


def read(text: str) -> Query:
    """The names in a query; ValueError for what is not understood."""
    text = re.sub(r'"(?:[^"\\]|\\.)*"', '""', text)
    labels: set[str] = set()

    def take_list(match: re.Match[str]) -> str:
        labels.update(part.strip() for part in match[1].split(",") if part.strip())
        return " "

    def take_matchers(match: re.Match[str]) -> str:
        for part in match[1].split(","):
            name = re.fullmatch(r'\s*(\w+)\s*(?:=~|!~|!=|=)\s*""\s*', part)
            if name is None:
                raise ValueError(f"{part!r} is no matcher")
            labels.add(name[1])
        return " "

    text = re.sub(r"\{([^}]*)\}", take_matchers, text)
    text = re.sub(r"\b(?:by|on|without|ignoring)\s*\(([^)]*)\)", take_list, text)
    text = re.sub(r"\[[^\]]*\]|\boffset\s+\w+", " ", text)
    names = set(re.findall(r"(?<![\w.$])[A-Za-z_]\w*", text))
    return Query(frozenset(names - WORDS), frozenset(labels))


def _series(metric: Metric) -> dict[str, frozenset[str]]:
    labels = frozenset(re.sub(r"\W", "_", label.name) for label in metric.labels)
    if metric.kind is MetricKind.HISTOGRAM:
        parts = {"_bucket": labels | {"le"}, "_sum": labels, "_count": labels}
        return {f"{metric.prometheus}{part}": having for part, having in parts.items()}
    if metric.split_label is not None:
        rest = labels - {metric.split_label.name}
        return {metric.prometheus: labels, **dict.fromkeys(metric.split_names.values(), rest)}
    return {metric.prometheus: labels}


DECLARED: dict[str, frozenset[str]] = {
    name: labels for metric in METRICS for name, labels in _series(metric).items()
}
"""Every series that the contract declares, with its labels."""


def complaints(text: str) -> list[str]:
    """What a query names that is not declared."""
    query = read(text)
    if not query.metrics:
        return ["names no metric"]
    unknown = sorted(query.metrics - DECLARED.keys())
    allowed = SCRAPE.union(*(DECLARED[name] for name in query.metrics & DECLARED.keys()))
    return [
        *(f"no metric {name}" for name in unknown),
        *(f"no label {n}" for n in sorted(query.labels - allowed)),
    ]
