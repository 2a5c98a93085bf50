"""Three workflows, written with the official SDK as any user would."""

import asyncio

from hatchet_sdk import Context, EmptyModel, Hatchet
from pydantic import BaseModel

hatchet = Hatchet()


class Name(BaseModel):
    """Input of `greet` and `square`."""

    value: str = "world"


class Number(BaseModel):
    """Input of one child."""

    value: int


@hatchet.task(name="greet", input_validator=Name)
async def greet(input: Name, ctx: Context) -> dict[str, str]:
    """One simple task."""
    return {"greeting": f"hello, {input.value}"}


@hatchet.task(name="flaky", retries=3)
async def flaky(input: EmptyModel, ctx: Context) -> dict[str, int]:
    """Fails twice, then succeeds."""
    if ctx.retry_count < 2:
        raise RuntimeError(f"attempt {ctx.retry_count} fails on purpose")
    return {"succeeded_on_attempt": ctx.retry_count}


@hatchet.task(name="square", input_validator=Number)
async def square(input: Number, ctx: Context) -> dict[str, int]:
    """The child of `gather`."""
    await asyncio.sleep(0.01)
    return {"square": input.value * input.value}


@hatchet.task(name="gather")
async def gather(input: EmptyModel, ctx: Context) -> dict[str, int]:
    """Spawns 20 children and adds up what they return."""
    results = await square.aio_run_many(
        [square.create_bulk_run_item(input=Number(value=n)) for n in range(20)]
    )
    return {"children": len(results), "sum_of_squares": sum(r["square"] for r in results)}


WORKFLOWS = [greet, flaky, square, gather]
