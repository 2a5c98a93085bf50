"""Write every generated page and module anew, or with `--check` fail when one is stale."""

import subprocess
import sys
from pathlib import Path

from broadaxe.app.shared import VERSION
from broadaxe.cli import document as cli_page
from broadaxe.config import document as settings_page
from broadaxe.domain import diagram
from broadaxe.rest_api.openapi import encode_document
from broadaxe.telemetry.generate import load
from broadaxe.telemetry.reference_page import render_page

DOCS = Path(__file__).resolve().parent.parent / "docs"
MODULES = ("broadaxe.telemetry.generate", "broadaxe.grpc_api.generate")
"""Generators that write modules of their own room; each takes `--check`."""


def pages() -> dict[Path, str]:
    """The generated pages by their path."""
    return {
        DOCS / "configuration.md": settings_page.document(),
        DOCS / "cli.md": cli_page.page(),
        DOCS / "openapi.json": encode_document(VERSION).decode(),
        DOCS / "telemetry.md": render_page(load()),
        DOCS / "architecture" / "task-states.md": diagram.render_page(),
    }


def main() -> int:
    """1 when something is stale (`--check`) or could not be generated."""
    check = "--check" in sys.argv[1:]
    failed = 0
    for path, text in pages().items():
        if not check:
            path.write_text(text, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            print(f"{path.name} is stale: run `make docs`", file=sys.stderr)
            failed = 1
    programs = [["-m", module] for module in MODULES] + [[str(DOCS.parent / "deploy" / "generate.py")]]
    for program in programs:
        command = [sys.executable, *program, *sys.argv[1:]]
        failed |= int(subprocess.run(command, check=False).returncode != 0)
    return failed


if __name__ == "__main__":
    sys.exit(main())
