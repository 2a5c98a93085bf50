"""`broadaxe doctor`."""

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from broadaxe.cli.options import ConfigDir, Json, settings
from broadaxe.cli.output import as_json, console

if TYPE_CHECKING:
    from broadaxe.app.doctor.findings import Finding

AREAS = ("settings", "database", "ports", "certificates", "collector")
"""What `--only` takes; the enum itself is loaded only when the command runs."""


def doctor(
    config: ConfigDir = None,
    json_output: Json = False,
    only: Annotated[
        list[str] | None,
        typer.Option(help=f"Look at this alone: {', '.join(AREAS)}; may be repeated.", show_default=False),
    ] = None,
    within: Annotated[
        float, typer.Option("--timeout", min=0.1, max=300, help="Seconds to wait for the collector.")
    ] = 5.0,
) -> None:
    """Look at settings, database, clocks, ports and certificates, and send a test span and a test metric.

    Exit code 0: healthy (warnings included); 1: something does not work; 2: a setting is wrong. It changes
    nothing and may run beside a server.
    """
    if unknown := set(only or ()) - set(AREAS):
        raise typer.BadParameter(
            f"{', '.join(sorted(unknown))} is none of {', '.join(AREAS)}", param_hint="--only"
        )
    from broadaxe.app.doctor.examination import examine, refused
    from broadaxe.app.doctor.findings import Area, exit_code
    from broadaxe.config.errors import SettingsError

    try:
        loaded = settings(config)
    except SettingsError as error:
        findings = refused(error)
    else:
        findings = asyncio.run(examine(loaded, within, [Area(name) for name in only or AREAS]))
    code = exit_code(findings)
    if json_output:
        as_json({"healthy": code == 0, "findings": [_fields(finding) for finding in findings]})
    else:
        _print(findings)
    raise typer.Exit(code)


def _fields(finding: "Finding") -> dict[str, str]:
    return {
        "area": finding.area,
        "name": finding.name,
        "level": finding.level.value,
        "text": finding.text,
    }


def _print(findings: "list[Finding]") -> None:
    from rich.markup import escape

    from broadaxe.app.doctor.findings import Level

    marks = {
        Level.OK: "[green]ok     [/green]",
        Level.WARNING: "[yellow]warning[/yellow]",
        Level.PROBLEM: "[red]problem[/red]",
        Level.SETTING: "[red]setting[/red]",
    }
    width = max(len(finding.area) for finding in findings)
    for finding in findings:
        console.print(f"{marks[finding.level]} {finding.area:<{width}}  {escape(finding.text)}")
