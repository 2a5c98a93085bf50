"""The chart as tests see it: rendered by the real helm, with the environment that Kubernetes would give."""

import base64
import json
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy" / "helm" / "hatchet-stack"
HA = ROOT / "deploy" / "helm" / "hatchet-ha"
KUBERNETES = "1.32.0"
"""What helm is told to render for, and whose schemas the objects are held to."""

Object = dict[str, Any]
OUTSIDE = "outside"
"""Stands for a value that comes from a Secret or ConfigMap that is not part of the chart."""


class Refused(Exception):
    """helm would not render; the message is what it said."""


@dataclass(frozen=True)
class Rendered:
    """The objects of one rendering."""

    objects: list[Object]

    def find(self, kind: str, name: str) -> Object:
        """The one object of this kind and name."""
        found = [one for one in self.of(kind) if one["metadata"]["name"] == name]
        assert len(found) == 1, f"{len(found)} of {kind} {name}; there are {self.names(kind)}"
        return found[0]

    def of(self, kind: str) -> list[Object]:
        """All objects of a kind."""
        return [one for one in self.objects if one["kind"] == kind]

    def names(self, kind: str) -> list[str]:
        """Their names, sorted."""
        return sorted(one["metadata"]["name"] for one in self.of(kind))

    def pods(self) -> Iterator[tuple[str, Object]]:
        """Every pod's spec with the name of what makes it."""
        for one in self.objects:
            if one["kind"] in ("Deployment", "Job", "StatefulSet"):
                yield one["metadata"]["name"], one["spec"]["template"]["spec"]

    def container(self, kind: str, name: str, container: str | None = None) -> Object:
        """A container of a workload; the first unless named."""
        pod = self.find(kind, name)["spec"]["template"]["spec"]
        every = [*pod.get("initContainers", []), *pod["containers"]]
        return next(
            one for one in (every if container else pod["containers"]) if container in (None, one["name"])
        )

    def environment(self, container: Object, given: Mapping[str, Mapping[str, str]] = {}) -> dict[str, str]:
        """What the container's process sees, by the rules of Kubernetes.

        A later `envFrom` wins over an earlier one, `env` over all. `given`: Secrets and ConfigMaps that are
        not part of the chart.
        """
        seen: dict[str, str] = {}
        for source in container.get("envFrom", []):
            reference = source.get("secretRef") or source["configMapRef"]
            seen |= self._texts(reference["name"], given) or {}
        for one in container.get("env", []):
            origin = one.get("valueFrom", {})
            if "value" in one:
                seen[one["name"]] = one["value"]
            elif "fieldRef" in origin:
                seen[one["name"]] = f"field:{origin['fieldRef']['fieldPath']}"
            else:
                reference = origin.get("secretKeyRef") or origin["configMapKeyRef"]
                texts = self._texts(reference["name"], given)
                seen[one["name"]] = OUTSIDE if texts is None else texts[reference["key"]]
        return seen

    def _texts(self, name: str, given: Mapping[str, Mapping[str, str]]) -> dict[str, str] | None:
        for one in self.objects:
            if one["kind"] in ("ConfigMap", "Secret") and one["metadata"]["name"] == name:
                plain = dict(one.get("stringData") or {})
                if one["kind"] == "ConfigMap":
                    return plain | (one.get("data") or {})
                decoded = {k: base64.b64decode(v).decode() for k, v in (one.get("data") or {}).items()}
                return plain | decoded
        return dict(given[name]) if name in given else None


@dataclass(frozen=True)
class Helm:
    """The helm program."""

    program: Path
    folder: Path

    def run(self, *arguments: str, values: Object | None = None) -> str:
        """Run it; what it printed. `Refused` when it fails."""
        file = self.folder / "values.json"
        file.write_text(json.dumps(values))
        done = subprocess.run(
            [str(self.program), *arguments, *(() if values is None else ("--values", str(file)))],
            capture_output=True,
            text=True,
            check=False,
            env={"HOME": str(self.folder), "PATH": ""},
        )
        if done.returncode != 0:
            raise Refused(done.stdout + done.stderr)
        return done.stdout

    def template(self, values: Object | None = None, *flags: str, chart: Path = CHART) -> Rendered:
        """Render a chart."""
        place = ("--namespace", "jobs", "--kube-version", KUBERNETES)
        text = self.run("template", chart.name, str(chart), *place, *flags, values=values)
        return Rendered([one for one in yaml.load_all(text, Loader=yaml.CSafeLoader) if one])


EXTERNAL: Object = {
    "postgres": {"enabled": False},
    "sharedConfig": {"env": {"DATABASE_URL": "postgres://u:p@db.example.com/hatchet"}},
}
"""The least values for a database outside the chart."""


def merged(*layers: Object) -> Object:
    """Maps laid over each other, the later wins."""
    result: Object = {}
    for layer in layers:
        for key, value in layer.items():
            old = result.get(key)
            both = isinstance(old, dict) and isinstance(value, dict)
            result[key] = merged(old, value) if both else value
    return result
