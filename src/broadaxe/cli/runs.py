"""`broadaxe run ...`: list, get, trigger, cancel, replay, over the REST API."""

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any
from uuid import UUID

import typer

from broadaxe.cli.client import Client, ClientError
from broadaxe.cli.output import as_json, console, table
from broadaxe.clock import SystemClock

app = typer.Typer(no_args_is_help=True, help="Runs: list, get, trigger, cancel, replay.")

Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of a table.")]
Ids = Annotated[list[UUID], typer.Argument(help="Ids of runs or of their tasks.", show_default=False)]
FINAL = frozenset({"COMPLETED", "FAILED", "CANCELLED"})


@app.command("list")
def list_runs(
    since: Annotated[str, typer.Option(help="How far back: a duration such as 90m, 24h or 7d.")] = "24h",
    status: Annotated[
        list[str] | None,
        typer.Option(help="QUEUED, RUNNING, COMPLETED, FAILED or CANCELLED; may be repeated."),
    ] = None,
    workflow: Annotated[UUID | None, typer.Option(help="Only runs of the workflow with this id.")] = None,
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
    if workflow and not found["rows"] and client.find(f"/api/v1/workflows/{workflow}") is None:
        raise ClientError(f"no workflow {workflow}")
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
    run: Annotated[UUID, typer.Argument(help="Run id.", show_default=False)], json_output: Json = False
) -> None:
    """One run: its state, input, output and timeline."""
    client = Client.from_environment()
    found = client.find(f"/api/v1/stable/workflow-runs/{run}")
    if found is None:
        raise ClientError(f"no run {run}")
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
    """Cancel runs. Exit code 1 when one is not there; one that is over stays as it is."""
    changed = _change("cancel", runs)
    changed.tell(json_output, "not cancelled")
    if changed.unknown or not set(changed.unchanged.values()) <= FINAL:
        raise typer.Exit(1)


@app.command("replay")
def replay_runs(runs: Ids, json_output: Json = False) -> None:
    """Run final runs again. Exit code 1 when one is not there or not over."""
    changed = _change("replay", runs)
    changed.tell(json_output, "not run again")
    if changed.unknown or changed.unchanged:
        raise typer.Exit(1)


@dataclass(frozen=True, slots=True)
class _Changed:
    ids: list[str]
    unknown: list[str]
    unchanged: dict[str, str]
    """Status by id."""

    def tell(self, json_output: bool, why: str) -> None:
        """What was done on standard output; what was not, a line each on standard error."""
        if json_output:
            unchanged = [{"id": one, "status": status} for one, status in self.unchanged.items()]
            as_json({"ids": self.ids, "unknown": self.unknown, "unchanged": unchanged})
        else:
            asked = len(self.ids) + len(self.unknown) + len(self.unchanged)
            console.print(f"{len(self.ids)} of {asked} affected")
        for one, status in self.unchanged.items():
            typer.echo(f"broadaxe: {why}: {one} is {status}", err=True)
        for one in self.unknown:
            typer.echo(f"broadaxe: no run {one}", err=True)


def _change(verb: str, runs: list[UUID]) -> _Changed:
    client = Client.from_environment()
    asked = list(dict.fromkeys(str(run) for run in runs))
    path = f"/api/v1/stable/tenants/{client.tenant}/tasks/{verb}"
    ids = client.call("POST", path, body={"externalIds": asked}).get("ids") or []
    changed = _Changed(ids, [], {})
    # The server leaves out what it did not change: why is asked for these alone.
    for one in asked:
        if one in ids:
            continue
        status = _status(client, one)
        if status is None:
            changed.unknown.append(one)
        else:
            changed.unchanged[one] = status
    return changed


def _status(client: Client, one: str) -> str | None:
    """Of a run or a task; None when there is none."""
    status = client.find(f"/api/v1/stable/workflow-runs/{one}/status")
    if status is None:
        task = client.find(f"/api/v1/stable/tasks/{one}")
        status = None if task is None else task["status"]
    return None if status is None else str(status)


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
