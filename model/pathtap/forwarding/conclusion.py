"""Turns the possible courses of events into one answer: what they agree on, and why they differ where they do."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TypeVar

from pathtap.forwarding.prediction import DnatPrediction, MarkChange, Outcome, Prediction, SnatPrediction
from pathtap.forwarding.routing import RoutingDecision, agree
from pathtap.forwarding.world import Binding, World
from pathtap.model.address import Socket
from pathtap.model.trace import RuleReference

T = TypeVar("T")


def conclude(worlds: Sequence[World], notes: tuple[str, ...] = ()) -> Prediction:
    """One prediction of at least one world. A world that was dropped has no say in what comes after."""
    outcomes = {world.outcome or Outcome.UNKNOWN for world in worlds}
    ends = [world for world in worlds if world.outcome not in (Outcome.FORWARDED, Outcome.LOCAL)]
    reasons = tuple(dict.fromkeys(world.reason for world in ends if world.reason))
    return Prediction(
        outcome=outcomes.pop() if len(outcomes) == 1 else Outcome.UNKNOWN,
        marks=_common_prefix([world.marks for world in worlds]),
        dnat=_dnat([world for world in worlds if world.destination_bound]),
        routing=_routing(worlds),
        dropped_by=_same(world.cause for world in worlds),
        snat=_snat([world for world in worlds if world.source_bound]),
        packet=worlds[0].packet,
        routed=_same(world.routed for world in worlds if world.routed is not None),
        reverse_path=_same(world.reverse_path for world in worlds if world.outcome is Outcome.DROPPED),
        reason="; ".join(reasons),
        unknown=_unknown(worlds, notes),
    )


def _unknown(worlds: Sequence[World], notes: tuple[str, ...]) -> tuple[str, ...]:
    """What was assumed on the way matters only where the worlds differ. The kernel's dice are no gap in themselves."""
    ended = [world.reason for world in worlds if world.outcome is Outcome.UNKNOWN]
    shared = frozenset.intersection(*(world.assumed for world in worlds))
    assumed = {each.text for world in worlds for each in world.assumed - shared if not each.chance}
    found = tuple(dict.fromkeys([*notes, *ended, *sorted(assumed - set(ended))]))
    if not found and len({world.outcome for world in worlds}) > 1:
        chances = sorted({each.text for world in worlds for each in world.assumed if each.chance})
        why = "the outcome depends on what the kernel decides by chance, or by packets that came before"
        return tuple(f"{why}: {text}" for text in chances) or (why,)
    return found


def _routing(worlds: Sequence[World]) -> RoutingDecision | None:
    decisions = tuple(dict.fromkeys(world.routing for world in worlds if world.routing is not None))
    undecided = tuple(world.reason for world in worlds if world.outcome is Outcome.UNKNOWN and world.routing is None)
    if not decisions:
        return None
    if undecided:
        return agree((*decisions, RoutingDecision(unknown=undecided)))
    return agree(decisions)


def _dnat(worlds: Sequence[World]) -> DnatPrediction | None:
    bindings = tuple(dict.fromkeys(world.dnat for world in worlds))
    if not any(bindings):
        return None
    sockets: dict[Socket, None] = {}
    for world in worlds:
        made = world.dnat.socket if world.dnat else None
        sockets[made or world.packet.five_tuple.destination_socket] = None
    return DnatPrediction(rule=_same(_rule(binding) for binding in bindings), alternatives=tuple(sockets))


def _snat(worlds: Sequence[World]) -> SnatPrediction | None:
    bindings = tuple(dict.fromkeys(world.snat for world in worlds))
    present = [binding for binding in bindings if binding]
    if not present:
        return None
    socket = _same(binding.socket for binding in present) if len(present) == len(bindings) else None
    rules = tuple(dict.fromkeys(_rule(binding) for binding in bindings))
    return SnatPrediction(
        rule=_same(rules),
        address=socket.address if socket else None,
        random=present[0].random,
        ports=_same(binding.ports for binding in present),
        candidates=rules,
        undecided=_undecided(worlds),
    )


def _undecided(worlds: Sequence[World]) -> tuple[str, ...]:
    """What was assumed and leads to other rules where it is assumed otherwise; each by itself."""
    texts = {each.text for world in worlds for each in world.assumed if not each.chance}
    return tuple(text for text in sorted(texts) if _decides(text, worlds))


def _decides(text: str, worlds: Sequence[World]) -> bool:
    found: dict[int, set[RuleReference | None]] = defaultdict(set)
    for world in worlds:
        for each in world.assumed:
            if each.text == text:
                found[each.choice].add(_rule(world.snat))
    rules = list(found.values())
    return any(each != rules[0] for each in rules)


def _rule(binding: Binding | None) -> RuleReference | None:
    return binding.rule if binding else None


def _same(items: Iterable[T | None]) -> T | None:
    """The one that all have, else None."""
    found = list(dict.fromkeys(items))
    return found[0] if len(found) == 1 else None


def _common_prefix(histories: Sequence[tuple[MarkChange, ...]]) -> tuple[MarkChange, ...]:
    common: list[MarkChange] = []
    for changes in zip(*histories, strict=False):
        if any(change != changes[0] for change in changes):
            break
        common.append(changes[0])
    return tuple(common)
