"""Write every generated page and module anew, or with `--check` fail when one is stale."""

import importlib.util
import subprocess
import sys

GENERATORS = [
    "broadaxe.telemetry.generate",
    "broadaxe.config.document",
    "broadaxe.domain.diagram",
    "broadaxe.rest_api.openapi",
    "broadaxe.cli.document",
    "broadaxe.grpc_api.generate",
]


def main() -> int:
    """Run each generator in a process of its own; the number of those that failed."""
    failed = 0
    for module in GENERATORS:
        if importlib.util.find_spec(module) is None:
            print(f"{module}: missing", file=sys.stderr)
            failed += 1
            continue
        failed += subprocess.run([sys.executable, "-m", module, *sys.argv[1:]], check=False).returncode != 0
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
