"""The demo's worker: a process of its own, the official SDK unmodified."""

from tracing import set_up
from workflows import WORKFLOWS, hatchet


def main() -> None:
    """Serve the demo's workflows until SIGTERM."""
    set_up("demo-worker")
    hatchet.worker("demo-worker", slots=30, workflows=WORKFLOWS).start()


if __name__ == "__main__":
    main()
