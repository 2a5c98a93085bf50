"""Python's cyclic garbage collector, set for a process that stays."""

import gc

YOUNG = 20_000
"""New objects before a young collection; Python's own figure is in the hundreds."""
MIDDLE, OLD = 20, 50
"""Young collections before a middle one, middle ones before a full one."""


def settle_collector() -> None:
    """Call once everything is loaded and built.

    Modules, classes, settings and message types live as long as the process does: some seventy thousand
    objects that every full collection would walk, with the event loop standing still meanwhile. Frozen, they
    are left out. What a task allocates is nearly all freed by its reference count, so a high threshold loses
    little and spares the loop the many young collections that would find nothing.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, MIDDLE, OLD)
