"""Write every generated page and module anew, or with `--check` fail when one is stale."""

import importlib.util
import subprocess
import sys
from pathlib import Path

from broadaxe.domain import diagram

GENERATORS = [
    "broadaxe.telemetry.generate",
    "broadaxe.config.document",
    "broadaxe.rest_api.openapi",
    "broadaxe.cli.document",
    "broadaxe.grpc_api.generate",
]


STATES = Path(__file__).resolve().parent.parent / "docs" / "architecture" / "task-states.md"


def states(check: bool) -> int:
    """The page of the task's states; the domain does no I/O itself."""
    text = diagram.render_page()
    if not check:
        STATES.write_text(text)
    elif not STATES.exists() or STATES.read_text() != text:
        print(f"{STATES.name} is stale: run `make docs`", file=sys.stderr)
        return 1
    return 0


def main() -> int:
    """Run each generator in a process of its own; the number of those that failed."""
    failed = states("--check" in sys.argv[1:])
    for module in GENERATORS:
        if importlib.util.find_spec(module) is None:
            print(f"{module}: missing", file=sys.stderr)
            failed += 1
            continue
        failed += subprocess.run([sys.executable, "-m", module, *sys.argv[1:]], check=False).returncode != 0
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
