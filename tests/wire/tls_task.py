"""A worker with one task, all its settings from HATCHET_CLIENT_*: a process of its own."""

from typing import Any

from hatchet_sdk import Context, EmptyModel, Hatchet


def main() -> None:
    """Serve until SIGTERM."""
    hatchet = Hatchet()

    @hatchet.task(name="secret-greeting")
    async def greeting(input: EmptyModel, ctx: Context) -> dict[str, Any]:
        return {"greeting": "over TLS"}

    hatchet.worker("tls-worker", workflows=[greeting]).start()


if __name__ == "__main__":
    main()
