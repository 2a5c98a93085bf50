"""Several engines on one database: the partition of a tenant, and who hands which partition to whom."""

from collections.abc import Collection
from dataclasses import dataclass

from broadaxe.domain.ids import EngineId, TenantId


@dataclass(frozen=True, slots=True)
class Member:
    """An engine that is alive."""

    id: EngineId
    schedules: bool
    """It takes leases; one that does not serves calls only."""
    fresh: bool = True
    """It was heard of within the last sweeps: partitions are handed to no other."""


@dataclass(frozen=True, slots=True)
class Held:
    """A partition and whose it is."""

    partition: int
    engine_id: EngineId
    epoch: int
    offered_to: EngineId | None = None
    """Its owner lets go of it for this engine."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """What a sweep saw: the engines that are alive, and the leases as their rows say."""

    members: tuple[Member, ...] = ()
    leases: tuple[Held, ...] = ()

    def alive(self, engine_id: EngineId) -> bool:
        """Whether an engine was heard of lately."""
        return any(member.id == engine_id for member in self.members)


def partition_of(tenant_id: TenantId, partitions: int) -> int:
    """The partition of a tenant. The database computes the same (`tenant_partition`)."""
    return int.from_bytes(tenant_id.bytes[14:]) % partitions


def owners_to_be(fleet: Fleet) -> dict[int, EngineId]:
    """Whose each partition is, or will be once an offer is taken; those of dead engines are left out."""
    found: dict[int, EngineId] = {}
    for lease in fleet.leases:
        owner = lease.offered_to if lease.offered_to is not None else lease.engine_id
        if fleet.alive(owner):
            found[lease.partition] = owner
    return found


def hand_over(fleet: Fleet, me: EngineId, mine: Collection[int]) -> tuple[int, EngineId] | None:
    """The next partition that this engine should give away, and to whom; None when the shares are even.

    Shares are even when no two engines differ by more than one. One partition at a time: what was offered
    counts as the other's already, so that two owners never both fill the same gap beyond its share.
    """
    owners = owners_to_be(fleet)
    counts: dict[EngineId, int] = {
        member.id: 0 for member in fleet.members if member.schedules and (member.fresh or member.id == me)
    }
    for owner in owners.values():
        if owner in counts:
            counts[owner] += 1
    kept = [partition for partition in mine if owners.get(partition) == me]
    if me not in counts or len(counts) < 2 or not kept:
        return None
    least = min(counts, key=lambda engine: (counts[engine], engine))
    if len(kept) - counts[least] < 2:
        return None
    return max(kept), least


def free_to_take(fleet: Fleet, me: EngineId, mine: Collection[int], partitions: int) -> list[int]:
    """The partitions this engine may try to take: all but those offered to another engine that lives."""
    offers = {lease.partition: lease.offered_to for lease in fleet.leases}
    found = []
    for partition in range(partitions):
        offered = offers.get(partition)
        waits = offered is not None and offered != me and fleet.alive(offered)
        if partition not in mine and not waits:
            found.append(partition)
    return found
