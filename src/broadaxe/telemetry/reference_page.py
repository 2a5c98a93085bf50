"""The text of `docs/telemetry.md`: what each span, attribute and metric means."""

from typing import Any

_HEAD = """# What the telemetry says

Generated from `src/broadaxe/telemetry/contract.yaml` by `make docs`; do not edit.

Names of spans begin with `{prefix}`, as do the keys of our own attributes; whatever has an OpenTelemetry
semantic convention uses that name. The instrumentation scope is `{scope}`, the schema `{schema_url}`.
Stability: *stable* names change only with a major version, *development* ones may still change.
A span has status error exactly when it carries `error.type`.
"""


def _row(*cells: object) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def _table(*titles: str) -> list[str]:
    return [_row(*titles), _row(*("---" for _ in titles))]


def _listed(entry: dict[str, Any], key: str) -> str:
    return ", ".join(f"`{name}`" for name in entry.get(key, [])) or "-"


def _spans(contract: dict[str, Any]) -> list[str]:
    prefix = contract["prefix"]
    lines = ["## Spans", "", *_table("name", "kind", "meaning", "groups", "further attributes", "stability")]
    for section in ("spans", "templates"):
        for key, entry in contract[section].items():
            lines.append(
                _row(
                    f"`{prefix}{entry.get('name', key)}`",
                    entry["kind"].upper(),
                    entry["meaning"],
                    _listed(entry, "groups"),
                    _listed(entry, "attributes"),
                    entry.get("stability", "development"),
                )
            )
    lines += ["", f"Every span may carry {_listed(contract, 'common')}. Groups of attributes:", ""]
    lines += [
        f"- `{name}`: {', '.join(f'`{key}`' for key in keys)}" for name, keys in contract["groups"].items()
    ]
    return lines


def _attributes(contract: dict[str, Any]) -> list[str]:
    lines = ["## Attributes", "", *_table("key", "type", "values", "meaning", "stability")]
    for section, prefix in (("own", contract["prefix"]), ("semantic", "")):
        for key, entry in contract["attributes"][section].items():
            stability = entry.get("stability", "development")
            lines.append(
                _row(f"`{prefix}{key}`", entry["type"], entry["cardinality"], entry["meaning"], stability)
            )
    return lines


def _events(contract: dict[str, Any]) -> list[str]:
    lines = ["## Span events", "", *_table("name", "meaning", "attributes")]
    return lines + [
        _row(f"`{key}`", entry["meaning"], _listed(entry, "attributes"))
        for key, entry in contract["events"].items()
    ]


def _metrics(contract: dict[str, Any]) -> list[str]:
    lines = ["## Metrics", "", *_table("OTLP name", "Prometheus name", "type", "unit", "labels", "meaning")]
    for entry in contract["metrics"].values():
        split = entry.get("split")
        shown = (
            "<br>".join(f"`{name}`" for name in split["names"].values())
            if split
            else f"`{entry['prometheus']}`"
        )
        kind = "counter (observed)" if entry.get("monotonic") else entry["type"]
        lines.append(
            _row(
                f"`{entry['name']}`",
                shown,
                kind,
                f"`{entry['unit']}`",
                _listed(entry, "labels"),
                entry["meaning"],
            )
        )
    lines += ["", "Labels, and how many values each may take before the rest is counted together under "]
    lines[-1] += "`otel.metric.overflow`:"
    lines += ["", *_table("label", "values", "meaning")]
    lines += [
        _row(f"`{key}`", entry["cardinality"], entry["meaning"]) for key, entry in contract["labels"].items()
    ]
    return lines


def render_page(contract: dict[str, Any]) -> str:
    """The whole page as Markdown."""
    parts = [_HEAD.format(**{key: contract[key] for key in ("prefix", "scope", "schema_url")}).rstrip()]
    for section in (_spans, _attributes, _events, _metrics):
        parts.append("\n".join(section(contract)))
    return "\n\n".join(parts) + "\n"
