"""Write the files of `deploy/` that follow from others, or with `--check` fail when one is stale.

The charts `hatchet-stack` and `hatchet-ha` are written from `helm/source` (charts.py says how they differ):
helm takes a folder as it is, and reads no file outside of it. So each also carries copies of dashboards and
alert rules, a list of the settings that are secrets, and the tree of its own values.
"""

import json
import sys
from pathlib import Path

from broadaxe.config.settings import every_setting
from charts import CHARTS, HELM
from charts import files as chart_files
from dashboards import DASHBOARDS

HERE = Path(__file__).resolve().parent


def _secret_variables() -> str:
    names = {
        name
        for _, _, setting in every_setting()
        if setting.secret
        for name in (setting.variable, *setting.aliases)
    }
    return "\n".join(sorted(names)) + "\n"


def files() -> dict[Path, str]:
    """The generated files by their path."""
    alerts, secrets = (HERE / "prometheus" / "alerts.yaml").read_text(), _secret_variables()
    boards = {
        f"{name}.json": json.dumps(dashboard, indent=2, ensure_ascii=False) + "\n"
        for name, dashboard in DASHBOARDS.items()
    }
    made = {HERE / "grafana" / "dashboards" / name: text for name, text in boards.items()}
    for chart in CHARTS:
        extra = HELM / chart.name / "files"
        made |= chart_files(chart)
        made |= {extra / "secret-variables.txt": secrets, extra / "alerts.yaml": alerts}
        made |= {extra / "dashboards" / name: text for name, text in boards.items()}
    return made


def superfluous(made: dict[Path, str]) -> list[Path]:
    """Files of the charts that nothing makes any more."""
    there = [path for chart in CHARTS for path in (HELM / chart.name).rglob("*") if path.is_file()]
    return [path for path in there if path not in made]


def main() -> int:
    """1 when something is stale (`--check`)."""
    made = files()
    stale = [p for p, text in made.items() if not p.exists() or p.read_text(encoding="utf-8") != text]
    left = superfluous(made)
    for path in [*stale, *left]:
        if "--check" in sys.argv[1:]:
            print(f"{path.relative_to(HERE)} is stale: run `make docs`", file=sys.stderr)
        elif path in made:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(made[path], encoding="utf-8")
        else:
            path.unlink()
    return int("--check" in sys.argv[1:] and bool(stale or left))


if __name__ == "__main__":
    sys.exit(main())
