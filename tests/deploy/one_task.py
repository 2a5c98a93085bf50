"""The official SDK in a process of its own: `one_task.py worker` serves a task, `one_task.py run` runs it."""

import sys

from hatchet_sdk import Context, Hatchet
from pydantic import BaseModel

hatchet = Hatchet()


class Name(BaseModel):
    """The task's input."""

    name: str


@hatchet.task(name="greet-container", input_validator=Name)
async def greet(given: Name, _: Context) -> dict[str, str]:
    """Greets."""
    return {"greeting": f"hello, {given.name}"}


if __name__ == "__main__":
    if sys.argv[1] == "worker":
        hatchet.worker("container-worker", workflows=[greet]).start()
    else:
        print(greet.run(Name(name=sys.argv[2])))
