"""Stands in for programs while the documentation's commands run: `shim.py PROGRAM ARGUMENT...`

`broadaxe` and `python` are the real ones; what stays running goes to the background once it is ready.
What cannot run here (containers, clusters, installing) is held to what it names, and fails when that is not
there. The state of a page is the folder in DOCS_STATE: `pids` of what was started, `calls` of what was only
checked.
"""

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

import yaml

from tests.deploy.chart import ROOT
from tests.deploy.dockerfile import stages
from tests.judges import NotHere, find

STATE = Path(os.environ.get("DOCS_STATE", "."))
PATIENCE = 60.0
SERVERS = ("dev", "server", "engine", "api")
EXCLUSIVE = ("dev", "server")
"""What a person ends in its terminal before starting it anew: they want the same ports."""


def fail(text: str) -> NoReturn:
    """This command of the page is wrong."""
    print(f"documentation: {text}", file=sys.stderr)
    raise SystemExit(64)


def started() -> list[dict[str, Any]]:
    """What runs in the background, oldest first."""
    file = STATE / "pids"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def running(pid: int) -> bool:
    """Whether a process that is not ours to wait for still runs."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def end(pid: int) -> None:
    """As Ctrl-C in its terminal."""
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + PATIENCE
    while running(pid):
        if time.monotonic() > deadline:
            fail(f"process {pid} does not end")
        time.sleep(0.02)


def answers(port: int) -> bool:
    """Whether something listens."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def background(command: list[str], arguments: list[str], said: str, port: int | None = None) -> None:
    """Start it and wait until it says something, or until its port answers."""
    number = len(started())
    log = STATE / f"output-{number}"
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
        )
    with (STATE / "pids").open("a") as file:
        file.write(json.dumps({"pid": process.pid, "arguments": arguments, "log": str(log)}) + "\n")
    deadline = time.monotonic() + PATIENCE
    while not (answers(port) if port else said in log.read_text(errors="replace")):
        if process.poll() is not None or time.monotonic() > deadline:
            fail(f"{shlex.join(arguments)} is not ready:\n{log.read_text(errors='replace')[-3000:]}")
        time.sleep(0.05)


def broadaxe(arguments: list[str]) -> None:
    """The real one."""
    real = [sys.executable, "-c", "import sys; from broadaxe.cli.main import main; sys.exit(main())"]
    command = [*real, *arguments]
    if arguments[:2] == ["traces", "tail"]:
        background(command, arguments, "listening")
    elif arguments[0] not in SERVERS:
        os.execv(command[0], command)
    else:
        others = [one for one in started() if one["arguments"][0] in SERVERS and running(one["pid"])]
        if arguments[0] in EXCLUSIVE:
            for one in others:
                end(one["pid"])
            others = []
        # A second engine may have to wait for the first one: alive is what it can be.
        standby = arguments[0] == "engine" and any(one["arguments"][0] == "engine" for one in others)
        port = int(arguments[arguments.index("--health-port") + 1]) if standby else None
        background(command, arguments, "ready grpc" if arguments[0] != "api" else "ready rest", port)


def python(arguments: list[str]) -> None:
    """The real one."""
    if arguments[0] == "my_worker.py":
        background([sys.executable, *arguments], arguments, "waiting for tasks")
    else:
        os.execv(sys.executable, [sys.executable, *arguments])


def noted(program: str, arguments: list[str]) -> None:
    """Remember what was only checked."""
    with (STATE / "calls").open("a") as file:
        file.write(shlex.join([program, *arguments]) + "\n")


def options(arguments: list[str], with_value: set[str]) -> tuple[dict[str, str], list[str]]:
    """Options and the words that are none; an option that is not known ends it."""
    found: dict[str, str] = {}
    words: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        name, equals, value = argument.partition("=")
        if not argument.startswith("--"):
            words.append(argument)
        elif equals or name in with_value:
            found[name] = value if equals else next(rest, "")
        else:
            found[name] = ""
    return found, words


def docker(arguments: list[str]) -> None:
    """No container runs here: files, targets and services must exist."""
    if arguments[0] == "build":
        given, words = options(arguments[1:], {"--file", "--target", "--tag", "--format", "--ignorefile"})
        if not (ROOT / given.get("--ignorefile", ".")).exists():
            fail(f"docker build: there is no {given['--ignorefile']}")
        if given["--target"] not in stages(ROOT / given["--file"]) or not given["--tag"].startswith(
            "broadaxe-"
        ):
            fail(f"docker build: no target {given['--target']}")
        if words != ["."]:
            fail("docker build: the context is the checkout")
        return
    if arguments[0] != "compose":
        fail(f"docker {arguments[0]} is not known here")
    # Without a terminal, which podman-compose would otherwise give to `exec` whatever its output is.
    given, words = options([one for one in arguments[1:] if one != "-T"], {"--file"})
    services = yaml.safe_load((ROOT / given["--file"]).read_text())["services"]
    if words[0] not in ("up", "exec", "down", "logs"):
        fail(f"docker compose {words[0]} is not known here")
    if words[0] == "exec":
        if "-T" not in arguments:
            fail("docker compose exec without -T: podman-compose would end its lines with CR")
        if words[1] not in services:
            fail(f"{given['--file']} has no service {words[1]}")
        print("export IN_THE_CONTAINER=yes" if "client.env" in words[-1] else "token-of-the-container")


def kubectl(arguments: list[str]) -> None:
    """No cluster is here: only what the pages need is let through."""
    _, words = options(arguments, {"--namespace"})
    known = (
        ["create", "namespace"],
        ["create", "secret", "generic"],
        ["logs"],
        ["rollout", "status"],
        ["get"],
        ["scale"],
    )
    if not any(words[: len(start)] == start for start in known):
        fail(f"kubectl {' '.join(words)} is not known here")


def helm(arguments: list[str]) -> None:
    """Rendered by the real helm instead of installed."""
    if arguments[0] not in ("install", "upgrade"):
        fail(f"helm {arguments[0]} is not known here")
    given, (_, _, chart, *_) = options(arguments, {"--namespace", "--values"})
    if not (ROOT / chart / "Chart.yaml").exists():
        fail(f"there is no chart {chart}")
    try:
        program = find("helm", build=False)
    except NotHere:
        return
    command = [str(program), "template", "x", str(ROOT / chart), "--kube-version", "1.32.0"]
    if "--values" in given:
        command += ["--values", given["--values"]]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        fail(done.stderr)


def pip(arguments: list[str]) -> None:
    """Nothing is installed: what is named must be this project, or what it names itself."""
    if arguments[0] != "install":
        fail(f"pip {arguments[0]} is not known here")
    project = (ROOT / "pyproject.toml").read_text()
    for wanted in arguments[1:]:
        if wanted != "." and f'"{wanted}' not in project:
            fail(f"{wanted} is not among the project's requirements")


def make(arguments: list[str]) -> None:
    """Not run, but asked what it would do."""
    done = subprocess.run(
        ["/usr/bin/env", "-u", "MAKEFLAGS", os.environ["DOCS_MAKE"], "--dry-run", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        fail(done.stderr)


REAL = {"broadaxe": broadaxe, "python": python}
CHECKED = {"docker": docker, "podman": docker, "kubectl": kubectl, "helm": helm, "pip": pip, "make": make}
"""Programs that are not run: no container runtime, no cluster, nothing to be installed, or too long."""


def main() -> None:
    """Stand in for one call."""
    program, arguments = sys.argv[1], sys.argv[2:]
    if program in REAL:
        REAL[program](arguments)
    else:
        CHECKED[program](arguments)
        noted(program, arguments)


if __name__ == "__main__":
    main()
