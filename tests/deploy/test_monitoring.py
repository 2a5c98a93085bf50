"""Dashboards and alert rules: they ask for what is declared, and the rules fire where they must."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from broadaxe.telemetry.names import METRICS
from tests.deploy.chart import CHART, ROOT
from tests.deploy.promql import DECLARED, complaints

ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yaml"
UNIT_TESTS = ALERTS.with_name("alerts.test.yaml")
RUNBOOKS = ROOT / "docs" / "runbooks"
DASHBOARDS = {
    path.stem: json.loads(path.read_text())
    for path in sorted((ROOT / "deploy/grafana/dashboards").glob("*.json"))
}
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]
]


def queries(dashboard: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Every query of a dashboard with where it stands."""
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            inner = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["definition"])
            assert inner is not None
            yield f"${variable['name']}", inner[1]


def test_generated_files_are_fresh() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "deploy" / "generate.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("query", "wrong"),
    [
        ("sum by (queue) (rate(hatchet_queue_depth[5m]))", []),
        ('hatchet_queue_depth{queue=~"$q",job="x"} > 0', []),
        ("hatchet_queue_dept", ["no metric hatchet_queue_dept"]),
        ("rate(hatchet_queue_depth_total[5m])", ["no metric hatchet_queue_depth_total"]),
        ("hatchet_run_duration_seconds", ["no metric hatchet_run_duration_seconds"]),
        ("sum by (le) (hatchet_run_duration_seconds_count)", ["no label le"]),
        ('hatchet_active_runs{tenant="x"}', ["no label tenant"]),
        ("hatchet_finished_tasks_total", []),
        ("sum by (outcome) (hatchet_failed_tasks_total)", ["no label outcome"]),
        ("vector(1)", ["no metric vector"]),
    ],
)
def test_complaints_sees_what_is_not_declared(query: str, wrong: list[str]) -> None:
    assert complaints(query) == wrong


@pytest.mark.parametrize("name", DASHBOARDS)
def test_dashboard_asks_only_for_declared_metrics_and_labels(name: str) -> None:
    wrong = {
        f"{where}: {query}": found
        for where, query in queries(DASHBOARDS[name])
        if (found := complaints(query))
    }
    assert wrong == {}


@pytest.mark.parametrize("name", DASHBOARDS)
def test_dashboard_is_sound(name: str) -> None:
    dashboard = DASHBOARDS[name]
    assert dashboard["uid"] == f"broadaxe-{name}"
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        assert panel["description"]
        assert panel["targets"]
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, f"{panel['title']} lies over another panel"
        assert max(x for x, _ in cells) < 24
        taken |= cells
        for target in panel["targets"]:
            shown = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            grouped = {
                label.strip()
                for group in re.findall(r"by \(([^)]*)\)", target["expr"])
                for label in group.split(",")
            }
            assert shown <= grouped, f"{panel['title']} shows a label that its query drops"
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


def test_every_metric_worth_a_look_is_on_a_dashboard() -> None:
    """What is not is named here, with why."""
    elsewhere = {
        "hatchet.tasks.queued_to_assigned": "the count of hatchet.queue.wait",
        "hatchet.queue.invocations": "the count of hatchet.scheduling.latency",
        "hatchet.telemetry.doctor": "never sent by a server",
        **{m.name: "of one tenant" for m in METRICS if m.name.startswith("hatchet.tenant.")},
        **{
            m.name: "of one tenant"
            for m in METRICS
            if "slots" in m.name and m.name.startswith("hatchet.workers.")
        },
    }
    asked = " ".join(query for dashboard in DASHBOARDS.values() for _, query in queries(dashboard))
    shown = {
        m.name for m in METRICS if any(name in asked for name in (m.prometheus, *m.split_names.values()))
    }
    assert {metric.name for metric in METRICS} - shown - elsewhere.keys() == set()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_alert_asks_for_what_is_declared_and_has_a_runbook(rule: dict[str, Any]) -> None:
    name = rule["alert"]
    assert complaints(rule["expr"]) == []
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert rule["annotations"].keys() == {"summary", "description", "runbook"}
    page = ROOT / rule["annotations"]["runbook"]
    assert page == RUNBOOKS / f"{name}.md"
    text = page.read_text()
    assert text.startswith(f"# {name}\n")
    assert "## What to do\n" in text
    for link in re.findall(r"\]\(([^)#]+\.md)", text):
        assert (RUNBOOKS / link).exists(), link


def test_each_runbook_belongs_to_a_rule_and_is_listed() -> None:
    names = [rule["alert"] for rule in RULES]
    assert len(names) == len(set(names))
    assert {path.stem for path in RUNBOOKS.glob("*.md")} - {"README"} == set(names)
    listed = re.findall(r"\]\((\w+)\.md\)", (RUNBOOKS / "README.md").read_text())
    assert listed == names


def test_each_rule_has_a_unit_test_in_which_it_fires() -> None:
    tests = yaml.safe_load(UNIT_TESTS.read_text())["tests"]
    fires = {
        case["alertname"] for test in tests for case in test["alert_rule_test"] if case.get("exp_alerts")
    }
    assert fires == {rule["alert"] for rule in RULES}
    for test in tests:
        for series in test["input_series"]:
            text = series["series"]
            name, _, rest = text.partition("{")
            labels = set(re.findall(r'(\w+)="', rest))
            assert labels <= DECLARED[name] | {"namespace", "instance", "job"}, text


def test_promtool_finds_rules_good_and_their_tests_passing(promtool: Path) -> None:
    for arguments in (
        ["check", "rules", "--lint=all", "--lint-fatal", str(ALERTS)],
        ["test", "rules", str(UNIT_TESTS)],
    ):
        done = subprocess.run([str(promtool), *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_chart_carries_the_same_rules() -> None:
    assert (CHART / "files" / "alerts.yaml").read_text() == ALERTS.read_text()
