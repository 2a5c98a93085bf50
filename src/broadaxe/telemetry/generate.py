"""Writes `names.py` from `contract.yaml`.

`python -m broadaxe.telemetry.generate` writes it, `--check` only compares and exits 1 when it is stale.
"""

import argparse
import re
import sys
from pathlib import Path
from typing import Any

import yaml

CONTRACT = Path(__file__).with_name("contract.yaml")
NAMES = Path(__file__).with_name("names.py")

_WIDTH = 110
_CACHED = {"one", "few", "bounded"}
_DEFAULT_SERIES = 256


class ContractError(ValueError):
    """The contract contradicts itself; the text names the entry."""


def load(path: Path = CONTRACT) -> dict[str, Any]:
    """The contract as plain data."""
    data = yaml.safe_load(path.read_text())
    if not isinstance(data, dict):
        raise ContractError(f"{path.name}: not a mapping")
    return data


def constant(prefix: str, name: str) -> str:
    """`ATTR_TENANT_ID` for `tenant.id`."""
    return f"{prefix}_{re.sub(r'[^A-Za-z0-9]+', '_', name).upper()}"


def span_attributes(contract: dict[str, Any], entry: dict[str, Any]) -> list[str]:
    """Short names of all attributes a span or template may carry, in the contract's order, once each."""
    names = list(contract["common"])
    for group in entry.get("groups", []):
        names += contract["groups"][group]
    names += entry.get("attributes", [])
    known = {**contract["attributes"]["own"], **contract["attributes"]["semantic"]}
    for name in names:
        if name not in known:
            raise ContractError(f"attribute {name} is used but not declared")
    return list(dict.fromkeys(names))


def full_name(contract: dict[str, Any], attribute: str) -> str:
    """The attribute as exported: own ones carry the prefix."""
    own = attribute in contract["attributes"]["own"]
    return f"{contract['prefix']}{attribute}" if own else attribute


def _packed(items: list[str]) -> list[str]:
    """Items separated by commas, as many on a line as fit."""
    lines = ["   "]
    for item in items:
        if len(lines[-1]) + len(item) + 2 > _WIDTH:
            lines.append("   ")
        lines[-1] += f" {item},"
    return lines


def _call(target: str, arguments: list[str]) -> list[str]:
    one = f"{target}({', '.join(arguments)})"
    return [one] if len(one) <= _WIDTH else [f"{target}(", *_packed(arguments), ")"]


def _frozenset(target: str, names: list[str]) -> list[str]:
    items = [constant("ATTR", name) for name in names]
    one = f"{target} = frozenset(({', '.join(items)},))"
    return [one] if len(one) <= _WIDTH else [f"{target} = frozenset((", *_packed(items), "))"]


def _text(value: object) -> str:
    return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _attributes(contract: dict[str, Any]) -> list[str]:
    lines: list[str] = []
    for section in ("own", "semantic"):
        for name, entry in contract["attributes"][section].items():
            cached = str(entry["cardinality"] in _CACHED)
            exported = _text(full_name(contract, name))
            lines += _call(f"{constant('ATTR', name)}: Final = Attr", [exported, entry["type"], cached])
    return lines


def _spans(contract: dict[str, Any]) -> list[str]:
    lines: list[str] = []
    for name, entry in contract["spans"].items():
        target = constant("_OF_SPAN", name)
        lines += _frozenset(target, span_attributes(contract, entry))
        arguments = [_text(contract["prefix"] + name), f"SpanKind.{entry['kind'].upper()}", target]
        lines += _call(f"{constant('SPAN', name)}: Final = SpanName", arguments)
    for name, entry in contract["templates"].items():
        target = constant("_OF_TEMPLATE", name)
        lines += _frozenset(target, span_attributes(contract, entry))
        separator = re.sub(r"\{[^}]*\}", "", entry["name"])
        arguments = [
            _text(contract["prefix"]),
            _text(separator),
            f"SpanKind.{entry['kind'].upper()}",
            target,
            str(entry["cardinality"]),
        ]
        lines += _call(f"{constant('_TEMPLATE', name)}: Final = SpanTemplate", arguments)
    for name, entry in contract["events"].items():
        target = constant("_OF_EVENT", name)
        lines += _frozenset(target, entry.get("attributes", []))
        lines += _call(f"{constant('EVENT', name)}: Final = EventName", [_text(name), target])
    return lines


_KINDS = {"counter": "COUNTER", "updown": "UPDOWN", "histogram": "HISTOGRAM", "gauge": "OBSERVED_GAUGE"}


def _tuple(items: list[str]) -> str:
    return f"({', '.join(items)}{',' if len(items) == 1 else ''})"


def _metrics(contract: dict[str, Any]) -> list[str]:
    lines: list[str] = []
    for name, entry in contract["labels"].items():
        lines += _call(f"{constant('LABEL', name)}: Final = Label", [_text(name), str(entry["cardinality"])])
    lines.append("")
    for name, entry in contract["metrics"].items():
        kind = "OBSERVED_COUNTER" if entry.get("monotonic") else _KINDS[entry["type"]]
        arguments = [
            _text(entry["name"]),
            f"MetricKind.{kind}",
            _text(entry["unit"]),
            _text(entry["meaning"]),
        ]
        if labels := entry.get("labels", []):
            arguments.append(f"labels={_tuple([constant('LABEL', label) for label in labels])}")
        if "bounds" in entry:
            arguments.append(
                f"bounds={_tuple([str(bound) for bound in contract['bounds'][entry['bounds']]])}"
            )
        arguments.append(f"prometheus={_text(entry['prometheus'])}")
        if split := entry.get("split"):
            arguments.append(f"split_label={constant('LABEL', split['label'])}")
            pairs = [f"({_text(value)}, {_text(shown)})" for value, shown in split["names"].items()]
            pairs[0], pairs[-1] = f"split_names=({pairs[0]}", f"{pairs[-1]})"
            arguments += pairs
        arguments.append(f"series={entry.get('series', _DEFAULT_SERIES)}")
        lines += _call(f"{constant('METRIC', name)}: Final = Metric", arguments)
    return lines


_HEAD = '''"""Every name the telemetry speaks. Generated from contract.yaml by generate.py; do not edit."""

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
'''

_TAIL = '''

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
'''


def render_names(contract: dict[str, Any]) -> str:
    """The text of `names.py`."""
    lines = [
        _HEAD,
        f"PREFIX: Final = {_text(contract['prefix'])}",
        f"SCOPE: Final = {_text(contract['scope'])}",
        f"SCHEMA_URL: Final = {_text(contract['schema_url'])}",
        "",
        *_attributes(contract),
        "",
        *_spans(contract),
        "",
        *_metrics(contract),
    ]
    return "\n".join(lines) + "\n" + _TAIL


def main(argv: list[str] | None = None) -> int:
    """Writes or checks the generated module; the exit code is 1 when a check finds it stale."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare only")
    options = parser.parse_args(argv)
    text = render_names(load())
    if NAMES.exists() and NAMES.read_text() == text:
        return 0
    if options.check:
        print(f"{NAMES.name} is stale: run `make docs`", file=sys.stderr)
        return 1
    NAMES.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
