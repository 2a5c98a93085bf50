"""`broadaxe run ...`: list, get, trigger, cancel, replay, over the REST API."""

import json
from datetime import timedelta
from typing import Annotated, Any

import typer

from broadaxe.cli.client import Client
from broadaxe.cli.output import as_json, console, table
from broadaxe.clock import SystemClock

app = typer.Typer(no_args_is_help=True, help="Runs: list, get, trigger, cancel, replay.")

Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of a table.")]
Ids = Annotated[list[str], typer.Argument(help="Run ids.", show_default=False)]


@app.command("list")
def list_runs(
    since: Annotated[str, typer.Option(help="How far back: a duration such as 90m, 24h or 7d.")] = "24h",
    status: Annotated[
        list[str] | None,
        typer.Option(help="QUEUED, RUNNING, COMPLETED, FAILED or CANCELLED; may be repeated."),
    ] = None,
    workflow: Annotated[str | None, typer.Option(help="Only runs of the workflow with this id.")] = None,
    metadata: Annotated[
        list[str] | None, typer.Option(help="Only runs with this metadata, key:value; may be repeated.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many at most.")] = 50,
    json_output: Json = False,
) -> None:
    """The newest runs."""
    client = Client.from_environment()
    found = client.call(
        "GET",
        f"/api/v1/stable/tenants/{client.tenant}/workflow-runs",
        {
            "since": _ago(since),
            "only_tasks": "false",
            "limit": limit,
            "statuses": status or [],
            "workflow_ids": [workflow] if workflow else [],
            "additional_metadata": metadata or [],
            "include_payloads": "false",
        },
    )
    if json_output:
        as_json(found["rows"])
        return
    table(
        ("run", "name", "status", "attempt", "created", "took"),
        [
            (
                row["metadata"]["id"],
                row["displayName"],
                row["status"],
                str(row.get("attempt") or 1),
                str(row["createdAt"])[:19],
                _took(row),
            )
            for row in found["rows"]
        ],
    )


@app.command("get")
def get_run(
    run: Annotated[str, typer.Argument(help="Run id.", show_default=False)], json_output: Json = False
) -> None:
    """One run: its state, input, output and timeline."""
    client = Client.from_environment()
    found = client.call("GET", f"/api/v1/stable/workflow-runs/{run}")
    if json_output:
        as_json(found)
        return
    head = found["run"]
    console.print(f"[bold]{head['displayName']}[/bold]  {head['status']}  {head['metadata']['id']}")
    console.print("input   " + json.dumps(head["input"]), markup=False)
    console.print("output  " + json.dumps(head["output"]), markup=False)
    if head.get("errorMessage"):
        console.print("error   " + head["errorMessage"], markup=False)
    table(
        ("time", "event", "message"),
        [
            (str(event["timestamp"])[:23], event["eventType"], event["message"])
            for event in sorted(found["taskEvents"], key=lambda event: str(event["timestamp"]))
        ],
    )


@app.command("trigger")
def trigger_run(
    workflow: Annotated[str, typer.Argument(help="Name of the workflow.", show_default=False)],
    input_json: Annotated[str, typer.Option("--input", help="Input as a JSON object.")] = "{}",
    metadata: Annotated[str | None, typer.Option(help="Additional metadata as a JSON object.")] = None,
    priority: Annotated[int | None, typer.Option(min=1, max=3, help="1 low, 2 medium, 3 high.")] = None,
    json_output: Json = False,
) -> None:
    """Start a run and print its id."""
    body: dict[str, Any] = {"workflowName": workflow, "input": _object(input_json, "--input")}
    if metadata is not None:
        body["additionalMetadata"] = _object(metadata, "--metadata")
    if priority is not None:
        body["priority"] = priority
    client = Client.from_environment()
    found = client.call("POST", f"/api/v1/stable/tenants/{client.tenant}/workflow-runs/trigger", body=body)
    run_id = found["run"]["metadata"]["id"]
    if json_output:
        as_json({"id": run_id})
    else:
        typer.echo(run_id)


@app.command("cancel")
def cancel_runs(runs: Ids, json_output: Json = False) -> None:
    """Cancel runs."""
    _change("cancel", runs, json_output)


@app.command("replay")
def replay_runs(runs: Ids, json_output: Json = False) -> None:
    """Run final runs again."""
    _change("replay", runs, json_output)


def _change(verb: str, runs: list[str], json_output: bool) -> None:
    client = Client.from_environment()
    path = f"/api/v1/stable/tenants/{client.tenant}/tasks/{verb}"
    found = client.call("POST", path, body={"externalIds": runs})
    ids = found.get("ids") or []
    if json_output:
        as_json({"ids": ids})
    else:
        console.print(f"{len(ids)} of {len(runs)} affected")


def _object(text: str, option: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise typer.BadParameter(f"not JSON: {error}", param_hint=option) from None
    if not isinstance(value, dict):
        raise typer.BadParameter("not a JSON object", param_hint=option)
    return value


def _ago(text: str) -> str:
    units = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
    if not text[:-1].isdigit() or text[-1:] not in units:
        raise typer.BadParameter("not a duration such as 90m, 24h or 7d", param_hint="--since")
    moment = SystemClock().now() - timedelta(seconds=int(text[:-1]) * units[text[-1]])
    return moment.isoformat().replace("+00:00", "Z")


def _took(row: dict[str, Any]) -> str:
    took = row.get("duration")
    return "" if took is None else f"{took / 1000:.2f} s"
