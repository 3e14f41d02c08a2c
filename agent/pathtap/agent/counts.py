"""How many packets went which way, and what else an agent counts. Plain values, and the form in which the worker tells them."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Since the worker began, in packets: `accepted` by the filters of captures that have ended, `delivered` to the agent, who
    counts them, `lost` by stage (docs/wire.md). At present: `captures` that are armed, and `waiting`, the bytes of packets that
    are yet to be sent.

    Once no capture is armed and nothing waits, accepted = delivered + all that is lost.
    """

    accepted: int = 0
    delivered: int = 0
    lost: Mapping[str, int] = field(default_factory=dict)
    captures: int = 0
    waiting: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            accepted=self.accepted + other.accepted,
            delivered=self.delivered + other.delivered,
            lost=Counter(self.lost) + Counter(other.lost),
            captures=self.captures + other.captures,
            waiting=self.waiting + other.waiting,
        )

    def past(self) -> "Counts":
        """What is left of them when the worker is gone. What captures accepted that had ended and did not come is lost with it;
        captures that had not ended accepted what came of them, how much more nobody knows.
        """
        known = self.delivered + sum(self.lost.values())
        lost = Counter(self.lost) + Counter(worker=max(0, self.accepted - known))
        return Counts(accepted=max(self.accepted, known), delivered=self.delivered, lost=lost)


def to_bytes(counts: Counts) -> bytes:
    return json.dumps(asdict(counts)).encode()


def from_bytes(body: bytes) -> Counts:
    """Of what `to_bytes` made: the worker is a part of this agent."""
    return Counts(**json.loads(body))
