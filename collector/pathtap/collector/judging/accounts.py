"""Whether every packet that a capture's filters accepted is accounted for: delivered, or lost at a stage that says so. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from pathtap.model.account import Account, LostAt
from pathtap.model.packet import Lost
from pathtap.model.request import CaptureEnded
from pathtap.model.trace import Gap

# What an agent counts is not believed beyond what the wire can carry.
MOST = 2**64 - 1


def accounts_of(
    capture: str,
    ended: Mapping[str, CaptureEnded],
    delivered: Mapping[tuple[str, str], int],
    lost: Sequence[Lost],
) -> tuple[Account, ...]:
    """One for each interface of each node, in the order of their names; one without interface for losses that name none.

    `ended` are the agents' last words by node, `delivered` counts packets by node and interface. Losses of all captures of an
    agent, which name none, are in no account: nobody knows how many of them were this one's.
    """
    accepted = {(node, each.interface): each.received for node, end in ended.items() for each in end.stats}
    losses: dict[tuple[str, str], Counter[str]] = {}
    for loss in lost:
        if loss.capture == capture and loss.count:
            losses.setdefault((loss.node, loss.interface), Counter())[loss.where] += loss.count
    places = sorted({*accepted, *delivered, *losses})
    return tuple(
        Account(
            node=node,
            interface=interface,
            accepted=accepted.get((node, interface)),
            delivered=delivered.get((node, interface), 0),
            lost=tuple(
                LostAt(where=where, count=min(count, MOST))
                for where, count in sorted(losses.get((node, interface), {}).items())
            ),
        )
        for node, interface in places
    )


def unaccounted(accounts: Iterable[Account]) -> tuple[Gap, ...]:
    """A gap for each node whose sum does not hold; none for one that did not say what its filters accepted."""
    by_node: dict[str, list[Account]] = {}
    for account in accounts:
        by_node.setdefault(account.node, []).append(account)
    return tuple(
        Gap(node=node, part="capture", why=why) for node, of_node in by_node.items() if (why := _difference(of_node))
    )


def _difference(accounts: Sequence[Account]) -> str:
    if all(account.accepted is None for account in accounts):
        return ""
    accepted = sum(account.accepted or 0 for account in accounts)
    delivered = sum(account.delivered for account in accounts)
    lost = sum(each.count for account in accounts for each in account.lost)
    missing = accepted - delivered - lost
    said = f"the filters accepted {accepted}, {delivered} were delivered, {lost} are known to be lost"
    if missing > 0:
        return f"{_packets(missing)} unaccounted for: {said}"
    return f"{_packets(-missing)} told of that no filter accepted: {said}" if missing else ""


def _packets(count: int) -> str:
    return "1 packet is" if count == 1 else f"{count} packets are"
