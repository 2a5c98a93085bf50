"""The graph of a workflow's steps."""

from collections.abc import Iterator, Mapping, Sequence


def find_cycle(parents: Mapping[str, Sequence[str]]) -> list[str] | None:
    """A cycle as the names along it, each followed by one that waits for it, the first again at the end.

    None if there is none. Names that are not keys are ignored. Works without recursion: a chain may be long.
    """
    done: set[str] = set()
    for root in parents:
        if root in done:
            continue
        path: list[str] = [root]
        on_path = {root}
        pending: list[Iterator[str]] = [iter(parents[root])]
        while pending:
            parent = next(pending[-1], None)
            if parent is None:
                pending.pop()
                finished = path.pop()
                on_path.discard(finished)
                done.add(finished)
            elif parent in on_path:
                # The path goes from a step to what it waits for; the other way round is the order of work.
                return [parent, *reversed(path[path.index(parent) :])]
            elif parent in parents and parent not in done:
                path.append(parent)
                on_path.add(parent)
                pending.append(iter(parents[parent]))
    return None
