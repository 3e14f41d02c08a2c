"""What became of the packets that a capture saw: delivered, or lost at a stage that says so."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class LostAt:
    """`where` is the stage: docs/wire.md has them all."""

    where: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One capture on one interface, in packets.

    `accepted` by the filter is the kernel's count (PACKET_STATISTICS), None where the agent did not get to say it; `delivered`
    came to the collector; `lost` counts the rest. An account without interface holds losses that name none.
    """

    node: str
    interface: str
    accepted: int | None
    delivered: int
    lost: tuple[LostAt, ...] = ()
