"""The time without the database, as the instrument tells it."""

from broadaxe.store.availability import Availability
from broadaxe.store.instruments import NoMetrics
from broadaxe.testkit.virtual_time import VirtualClock


def test_away_seconds_grow_while_it_lasts_and_add_up() -> None:
    clock = VirtualClock()
    availability = Availability(clock, NoMetrics())
    assert availability.away_seconds() == 0.0
    clock.advance(5)
    availability.lost(ConnectionResetError())
    clock.advance(7)
    availability.lost(ConnectionRefusedError())
    assert availability.away_seconds() == 7.0
    clock.advance(3)
    availability.found()
    clock.advance(100)
    assert availability.away_seconds() == 10.0
    availability.lost(ConnectionResetError())
    clock.advance(1)
    assert availability.away_seconds() == 11.0
