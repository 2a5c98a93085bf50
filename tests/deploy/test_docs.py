"""What docs/kubernetes.md and docs/docker.md say is so."""

import re
import shlex
from typing import Any

import pytest
import yaml

from tests.deploy.chart import CHART, EXTERNAL, ROOT, Helm, merged
from tests.deploy.dockerfile import stages

KUBERNETES = (ROOT / "docs" / "kubernetes.md").read_text()
DOCKER = (ROOT / "docs" / "docker.md").read_text()
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())


def blocks(text: str, language: str) -> list[str]:
    """Code blocks of a page."""
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


EXAMPLES = [block for block in blocks(KUBERNETES, "yaml") if "not in values.yaml" not in block]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda text: text.splitlines()[0].strip("# :"))
def test_example_values_render(helm: Helm, example: str) -> None:
    assert helm.template(merged(EXTERNAL, yaml.safe_load(example))).of("Deployment")


def test_example_values_are_values_of_the_chart() -> None:
    def unknown(given: Any, known: Any, path: str = "") -> list[str]:
        if not isinstance(given, dict) or not isinstance(known, dict) or not known:
            return []
        missing = [f"{path}{key}" for key in given if key not in known]
        return missing + [
            one for key in given if key in known for one in unknown(given[key], known[key], f"{path}{key}.")
        ]

    assert EXAMPLES
    labels = {"prometheus": {"serviceMonitor": {"labels": {}}, "rules": {"labels": {}}}}
    known = merged(VALUES, labels)
    assert [one for example in EXAMPLES for one in unknown(yaml.safe_load(example), known)] == []


def test_values_that_the_page_names_exist() -> None:
    named = set(
        re.findall(
            r"`((?:api|engine|otel|prometheus|networkPolicy|dashboards|postgres)\.[A-Za-z.]+)(?::[^`]*)?`",
            KUBERNETES,
        )
    )
    assert len(named) > 8
    for path in named:
        value: Any = VALUES
        for part in path.split("."):
            assert part in value, path
            value = value[part]


def test_otel_example_of_the_page_gives_each_service_its_name(helm: Helm) -> None:
    example = next(text for text in EXAMPLES if "jobs-engine" in text)
    rendered = helm.template(merged(EXTERNAL, yaml.safe_load(example)))
    names = [
        rendered.environment(rendered.container("Deployment", name))["SERVER_OTEL_SERVICE_NAME"]
        for name in ("hatchet-engine", "hatchet-stack-api")
    ]
    assert names == ["jobs-engine", "jobs-api"]


def test_tls_example_leaves_no_setting_in_doubt(helm: Helm) -> None:
    example = next(text for text in EXAMPLES if "SERVER_TLS_CERT_FILE" in text)
    rendered = helm.template(merged(EXTERNAL, yaml.safe_load(example)))
    engine = rendered.container("Deployment", "hatchet-engine")
    assert {"name": "tls", "mountPath": "/tls", "readOnly": True} in engine["volumeMounts"]
    assert rendered.environment(engine)["SERVER_GRPC_INSECURE"] == "false"


def test_commands_name_files_and_targets_that_exist() -> None:
    lines = [
        line for page in (KUBERNETES, DOCKER) for block in blocks(page, "sh") for line in block.splitlines()
    ]
    assert lines
    for line in lines:
        words = shlex.split(line.replace("$(", " ").replace(")", " "))
        for word in words:
            if word.startswith("deploy/"):
                assert (ROOT / word).exists(), line
        if "--target" in words:
            assert words[words.index("--target") + 1] in stages()
            assert words[words.index("--tag") + 1].startswith("broadaxe-")


def test_pages_link_to_what_exists() -> None:
    for page in (KUBERNETES, DOCKER):
        for link in re.findall(r"\]\(([^)#:]+)\)", page):
            assert (ROOT / "docs" / link).exists(), link
