"""What a server's Prometheus page says, and what must add up there."""

import httpx

from broadaxe.testkit.conditions import until


async def samples(port: int) -> dict[str, float]:
    """The samples of the page on this port, by name with labels."""
    async with httpx.AsyncClient() as client:
        page = await client.get(f"http://127.0.0.1:{port}/metrics")
    lines = (line.rpartition(" ") for line in page.text.splitlines() if line and line[0] != "#")
    return {name: float(value) for name, _, value in lines}


async def check_spans_add_up(port: int) -> None:
    """created = exported + dropped in the process of this port, once nothing is pending."""

    async def sums() -> bool:
        found = await samples(port)
        total = {
            kind: sum(v for k, v in found.items() if k.startswith(f"hatchet_telemetry_spans_{kind}"))
            for kind in ("created", "exported", "dropped", "pending")
        }
        assert total["created"] == total["exported"] + total["dropped"] + total["pending"], total
        return total["pending"] == 0 and total["created"] > 0

    await until(sums, "all spans exported", 20.0, period=0.1)
