"""Who hands which partition to whom."""

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from broadaxe.domain.fleet import Fleet, Held, Member, free_to_take, hand_over, owners_to_be, partition_of
from broadaxe.domain.ids import EngineId, TenantId


def engine(number: int) -> EngineId:
    return EngineId(UUID(int=number))


def fleet(owners: dict[int, int], engines: int, offers: dict[int, int] | None = None) -> Fleet:
    members = tuple(Member(engine(number), True) for number in range(1, engines + 1))
    leases = tuple(
        Held(
            partition, engine(owner), 1, engine(offers[partition]) if offers and partition in offers else None
        )
        for partition, owner in owners.items()
    )
    return Fleet(members, leases)


def test_partition_of_is_of_the_last_two_bytes() -> None:
    assert partition_of(TenantId(UUID(int=0x1234_0105)), 4) == 0x0105 % 4
    assert {partition_of(TenantId(UUID(int=number)), 4) for number in range(16)} == {0, 1, 2, 3}


def test_hand_over_to_a_newcomer_one_at_a_time() -> None:
    seen = fleet(dict.fromkeys(range(4), 1), 2)
    assert hand_over(seen, engine(1), range(4)) == (3, engine(2))
    assert hand_over(seen, engine(2), ()) is None
    assert hand_over(fleet({0: 1, 1: 1, 2: 2, 3: 2}, 2), engine(1), (0, 1)) is None


def test_hand_over_counts_what_is_offered_and_leaves_out_who_is_not_fit() -> None:
    offered = fleet({0: 1, 1: 1, 2: 1}, 2, {2: 2})
    assert owners_to_be(offered) == {0: engine(1), 1: engine(1), 2: engine(2)}
    assert hand_over(offered, engine(1), (0, 1)) is None
    leases = fleet(dict.fromkeys(range(4), 1), 1).leases
    serving = Fleet((Member(engine(1), True), Member(engine(2), False)), leases)
    assert hand_over(serving, engine(1), range(4)) is None
    stale = Fleet((Member(engine(1), True), Member(engine(2), True, fresh=False)), leases)
    assert hand_over(stale, engine(1), range(4)) is None


def test_free_to_take_leaves_what_is_offered_to_one_who_lives() -> None:
    offered = fleet({0: 1, 1: 1, 2: 1}, 3, {1: 2, 2: 9})
    assert free_to_take(offered, engine(3), (), 3) == [0, 2]
    assert free_to_take(offered, engine(2), (), 3) == [0, 1, 2]
    assert free_to_take(offered, engine(1), (0,), 3) == [2]


@given(st.lists(st.integers(1, 5), min_size=1, max_size=12), st.integers(1, 5))
def test_hand_overs_end_with_even_shares(first: list[int], engines: int) -> None:
    owners = {partition: (owner - 1) % engines + 1 for partition, owner in enumerate(first)}
    for _ in range(50):
        moves = [
            hand_over(fleet(owners, engines), engine(one), [p for p, owner in owners.items() if owner == one])
            for one in range(1, engines + 1)
        ]
        found = [move for move in moves if move is not None]
        if not found:
            break
        for partition, heir in found[:1]:
            owners[partition] = heir.int
    counts = [sum(owner == one for owner in owners.values()) for one in range(1, engines + 1)]
    assert max(counts) - min(counts) <= 1
