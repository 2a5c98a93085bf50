"""The garbage collector of a process that stays."""

import gc
from collections.abc import Iterator

import pytest

from broadaxe.app.collection import MIDDLE, OLD, YOUNG, settle_collector


@pytest.fixture
def collector() -> Iterator[None]:
    """Puts Python's own settings back."""
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


@pytest.mark.usefixtures("collector")
def test_settle_collector_freezes_what_is_loaded_and_raises_thresholds() -> None:
    gc.collect()  # what other tests left is not loaded
    loaded = len(gc.get_objects())

    settle_collector()

    assert gc.get_freeze_count() > loaded / 2
    assert len(gc.get_objects()) < loaded / 2
    assert gc.get_threshold() == (YOUNG, MIDDLE, OLD)
