"""How a dashboard and its panels are written down and what JSON they become.

Every query uses only metrics that `docs/telemetry.md` declares (a test holds it to that). `$job` and
`$instance` come from the scrape: one job for the engines, one for the API servers.
"""

from dataclasses import dataclass, field
from typing import Any

SELECT = 'job=~"$job",instance=~"$instance"'
RATE = "$__rate_interval"
WIDTH = 24


@dataclass(frozen=True)
class Panel:
    """A panel: its title, what it tells, its queries by legend, and how it is drawn."""

    title: str
    meaning: str
    queries: dict[str, str]
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 8
    height: int = 8
    options: dict[str, Any] = field(default_factory=dict)


def rate(metric: str, by: str = "", where: str = "") -> str:
    """Increase a second, summed up."""
    selector = f"{SELECT},{where}" if where else SELECT
    return f"sum{f' by ({by})' if by else ''} (rate({metric}{{{selector}}}[{RATE}]))"


def gauge(metric: str, by: str = "", how: str = "sum", where: str = "") -> str:
    """A present value, over all processes."""
    selector = f"{SELECT},{where}" if where else SELECT
    return f"{how}{f' by ({by})' if by else ''} ({metric}{{{selector}}})"


def quantile(share: float, metric: str, by: str = "", where: str = "") -> str:
    """A quantile of a histogram."""
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, {rate(f'{metric}_bucket', labels, where)})"


def quantiles(metric: str) -> dict[str, str]:
    """Median, 95 % and 99 %."""
    return {name: quantile(share, metric) for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))}


def top(query: str) -> str:
    """The ten greatest."""
    return f"topk(10, {query})"


def share(part: str, whole: str) -> str:
    """A quotient."""
    return f"{part} / {whole}"


def _target(number: int, legend: str, query: str) -> dict[str, Any]:
    return {
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "editorMode": "code",
        "expr": query,
        "legendFormat": legend,
        "range": True,
        "refId": chr(ord("A") + number),
    }


def _panel(number: int, panel: Panel, x: int, y: int) -> dict[str, Any]:
    custom = {"drawStyle": "line", "fillOpacity": 10, "lineWidth": 1, "showPoints": "never"}
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.meaning,
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "gridPos": {"h": panel.height, "w": panel.width, "x": x, "y": y},
        "fieldConfig": {
            "defaults": {
                "unit": panel.unit,
                "min": 0,
                "custom": custom if panel.kind == "timeseries" else {},
            },
            "overrides": [],
        },
        "options": {
            "stat": {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "value"},
            "timeseries": {
                "legend": {"displayMode": "list", "placement": "bottom"},
                "tooltip": {"mode": "multi", "sort": "desc"},
            },
        }[panel.kind],
        "targets": [_target(n, legend, query) for n, (legend, query) in enumerate(panel.queries.items())],
    }


def _variable(name: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "label": name,
        "type": "query",
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "query": {"query": query, "refId": "V"},
        "definition": query,
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": ["All"], "value": ["$__all"]},
    }


def dashboard(name: str, title: str, meaning: str, shown_by: str, panels: list[Panel]) -> dict[str, Any]:
    """A dashboard; `shown_by` is a metric that every process of its kind has."""
    drawn: list[dict[str, Any]] = []
    x = y = 0
    for number, panel in enumerate(panels, start=1):
        if x + panel.width > WIDTH:
            x, y = 0, y + panels[number - 2].height
        drawn.append(_panel(number, panel, x, y))
        x += panel.width
    source = {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
    return {
        "uid": f"broadaxe-{name}",
        "title": title,
        "description": meaning,
        "tags": ["broadaxe"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "timezone": "browser",
        "time": {"from": "now-1h", "to": "now"},
        "refresh": "10s",
        "links": [{"type": "dashboards", "title": "Broadaxe", "tags": ["broadaxe"], "asDropdown": True}],
        "templating": {
            "list": [
                source,
                _variable("job", f"label_values({shown_by}, job)"),
                _variable("instance", f'label_values({shown_by}{{job=~"$job"}}, instance)'),
            ]
        },
        "panels": drawn,
    }


def stat(title: str, meaning: str, query: str, unit: str = "short") -> Panel:
    """One number."""
    return Panel(title, meaning, {title: query}, unit, "stat", width=4, height=4)
