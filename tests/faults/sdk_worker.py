"""A worker written with the official SDK, as it is; it notes each start of a task in the file NOTES.

Run as a program of its own. Tasks are told by their input what to do: fail once, or take some time.
"""

import asyncio
import json
import os

from hatchet_sdk import Context, Hatchet
from pydantic import BaseModel

WORKFLOW = "storm"


class Job(BaseModel):
    """What one task is to do."""

    number: int = 0
    fail_once: bool = False
    seconds: float = 0.0


def note(path: str, **fields: object) -> None:
    """Append one line; a single write, so that a kill leaves no half of it."""
    line = json.dumps(fields) + "\n"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


def main() -> None:
    """Serve until SIGTERM."""
    hatchet = Hatchet()
    path = os.environ["NOTES"]

    @hatchet.task(name=WORKFLOW, input_validator=Job, retries=3, execution_timeout="10s")
    async def storm(job: Job, ctx: Context) -> dict[str, object]:
        note(path, task=ctx.task_run_id, attempt=ctx.retry_count, worker=ctx.worker_id)
        if job.seconds:
            await asyncio.sleep(job.seconds)
        if job.fail_once and ctx.retry_count == 0:
            raise RuntimeError("fails once, as it was told")
        return {"number": job.number, "attempt": ctx.retry_count}

    hatchet.worker(os.environ["WORKER_NAME"], slots=int(os.environ["SLOTS"]), workflows=[storm]).start()


if __name__ == "__main__":
    main()
