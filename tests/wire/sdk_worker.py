"""A worker with the official SDK, a process of its own: `sdk_worker.py NAME [--slots N] GROUP[.WORKFLOW]...`.

It says as JSON lines what its lifespan did.
"""

import argparse
import json
import logging
from collections.abc import AsyncGenerator
from typing import Any

from hatchet_sdk import Hatchet
from sdk_workflows import declare


def say(**facts: object) -> None:
    """One JSON line for the test."""
    print(json.dumps(facts), flush=True)


async def lifespan() -> AsyncGenerator[dict[str, str], None]:
    """Something that tasks see, and that must be cleaned up."""
    say(lifespan="begun")
    yield {"from": "the lifespan"}
    say(lifespan="ended")


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("workflows", nargs="+")
    parser.add_argument("--slots", type=int, default=100)
    parser.add_argument("--label", action="append", default=[])
    wanted = parser.parse_args()
    logging.basicConfig(level=logging.INFO)
    hatchet = Hatchet()
    groups = declare(hatchet)
    workflows: list[Any] = []
    for name in wanted.workflows:
        group, _, workflow = name.partition(".")
        members = vars(groups[group])
        workflows += [members[workflow]] if workflow else members.values()
    labels = dict(label.split("=", 1) for label in wanted.label)
    worker = hatchet.worker(
        wanted.name,
        slots=wanted.slots,
        labels={key: int(value) if value.isdigit() else value for key, value in labels.items()},
        workflows=workflows,
        lifespan=lifespan,
    )
    say(workflows=[one.name for one in workflows])
    worker.start()


if __name__ == "__main__":
    main()
