"""Walks a packet through the base chains of one hook, over all rule stores at once, in the kernel's order.

Knows no routing. Follows nf_hook_slow (net/netfilter/core.c), ipt_do_table, nft_do_chain and nf_nat_inet_fn
(net/netfilter/nf_nat_core.c): all nat chains run at the nat hook, for NEW connections, until one has set up a binding.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import permutations, product

from pathtap.forwarding.answer import Answer, every
from pathtap.forwarding.chains import CONNTRACK, INGRESS, OUTPUT, POSTROUTING, PREROUTING, CompiledChain, Stage
from pathtap.forwarding.evaluation import evaluate
from pathtap.forwarding.fields import read
from pathtap.forwarding.matches import Unmodelled, is_chance
from pathtap.forwarding.nat import still_bound, translate
from pathtap.forwarding.node import NodeModel
from pathtap.forwarding.packet import Packet, State
from pathtap.forwarding.prediction import MarkChange, Outcome
from pathtap.forwarding.routing import LOOPBACK
from pathtap.forwarding.targets import (
    Accept,
    Clause,
    Dnat,
    Drop,
    Jump,
    Lookup,
    Masquerade,
    Netmap,
    NoEffect,
    OneOf,
    Redirect,
    Reject,
    Return,
    SetConnmark,
    SetMark,
    SetTos,
    Snat,
    Target,
    Untrack,
)
from pathtap.forwarding.world import TooManyPossibilitiesError, World, merge
from pathtap.model.trace import RuleReference

# Both iptables and nft refuse deeper nesting (NFT_JUMP_STACK_SIZE is 16), so deeper means a broken snapshot.
DEEPEST = 64
# More chains of equal priority than this are not permuted.
PERMUTABLE = 4
# Rules at one hook, counted as often as they are come to, and so many more for each jump: the kernel refuses chains that lead
# back to themselves, an agent may send some.
MOST_RULES, JUMP = 250_000, 50


@dataclass(slots=True)
class Exits:
    """How worlds left a chain: past its end or by return, by accept, or for good."""

    fell: list[World] = field(default_factory=list)
    accepted: list[World] = field(default_factory=list)
    ended: list[World] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Place:
    """The rule that is being applied, and where its worlds go."""

    chain: CompiledChain
    index: int
    clauses: tuple[Clause, ...]
    depth: int
    onward: list[World]
    exits: Exits

    def reference(self, target: Target | None = None) -> RuleReference:
        return self.chain.reference(self.index, target)


def words(rule: RuleReference) -> str:
    """`nat AWS-SNAT-CHAIN-0 #2 (iptables-nft)`."""
    return f"{rule.table} {rule.chain} #{rule.position} ({rule.backend.value}): {rule.text}"


class Walk:
    """One packet at one hook of one node. Raises TooManyPossibilitiesError where it comes to more than MOST_RULES rules."""

    def __init__(self, model: NodeModel, hook: str) -> None:
        self._model = model
        self._hook = hook
        self._left = MOST_RULES

    def stage(self, stage: Stage, world: World) -> list[World]:
        """The worlds after the stage, those that ended in it included."""
        found = list(self._nat(stage, world) if stage.nat else self._groups(stage, world))
        unread = [
            replace(world.assuming(why, 1), outcome=Outcome.UNKNOWN, reason=why)  # what it holds might do anything
            for why in stage.unread
        ]
        if unread:
            found = [world.assuming(why, 0) for world in found for why in stage.unread]
        return merge([*found, *unread])

    def _nat(self, stage: Stage, world: World) -> Iterator[World]:
        packet = world.packet
        on_destination = self._hook in (PREROUTING, OUTPUT)
        if packet.state is not State.NEW or packet.translated is not None:
            known = replace(world, packet=_known(packet, on_destination))
            yield from still_bound(known, self._model) if self._hook == POSTROUTING else (known,)
        elif world.destination_bound if on_destination else world.source_bound:
            yield world
        else:
            for after in self._groups(stage, world):
                yield replace(after, destination_bound=True) if on_destination else replace(after, source_bound=True)

    def _groups(self, stage: Stage, world: World) -> Iterator[World]:
        """Every order that equal priorities allow: the kernel runs the chain that was registered last first, and nobody can
        read back which that was.
        """
        orders = [tuple(permutations(group)) if len(group) <= PERMUTABLE else (group,) for group in stage.groups]
        why = stage.unreadable_order
        for choice, order in enumerate(product(*orders)):
            chosen = world.assuming(why, choice, order=True) if why else world
            yield from self._sequence([chain for group in order for chain in group], stage, chosen)
        if any(len(group) > PERMUTABLE for group in stage.groups):
            yield world.assuming(why, -1, order=True).ended(Outcome.UNKNOWN, why)

    def _sequence(self, chains: list[CompiledChain], stage: Stage, world: World) -> list[World]:
        # What the node sends to itself keeps its entry, or that it has none, by the loopback interface (nf_conntrack_in).
        looped = self._hook == PREROUTING and world.packet.in_interface == LOOPBACK
        before_tracking = (stage.priority < CONNTRACK and not looped) or self._hook == INGRESS
        hidden = replace(world, packet=replace(world.packet, state=State.INVALID)) if before_tracking else world
        live, ended = [hidden], list[World]()
        for chain in chains:
            following: list[World] = []
            for each in live:
                following.extend([each] if _bound(each) != _bound(world) else self._base(chain, each))
            ended.extend(each for each in following if each.outcome)
            live = merge(each for each in following if not each.outcome)
        if before_tracking:
            live = [_tracked_again(each, world.packet.state) for each in live]
        return [*live, *ended]

    def _base(self, chain: CompiledChain, world: World) -> list[World]:
        exits = self._chain(chain, world, 0)
        survivors = exits.accepted
        if chain.chain.policy == "DROP":
            rule = chain.reference(-1)
            exits.ended.extend(each.ended(Outcome.DROPPED, words(rule), rule) for each in exits.fell)
        else:
            survivors = exits.accepted + exits.fell
        return [*survivors, *exits.ended]

    def _chain(self, chain: CompiledChain, world: World, depth: int) -> Exits:
        exits = Exits()
        live = [world]
        family = world.packet.family
        for index in chain.candidates(world.packet):
            onward: list[World] = []
            place = Place(chain, index, chain.clauses(index, family), depth, onward, exits)
            for each in live:
                self._rule(place, 0, each)
            live = merge(onward)
            if not live:
                break
        exits.fell.extend(live)
        return Exits(merge(exits.fell), merge(exits.accepted), merge(exits.ended))

    def _rule(self, place: Place, position: int, world: World) -> None:
        """Applies the rule's clauses from `position` on."""
        if position == len(place.clauses):
            place.onward.append(world)
            return
        self._spend(1)
        clause = place.clauses[position]
        known, packet = self._model.known, world.packet
        answer = every(evaluate(match, packet, known) for match in clause.matches)
        if answer is Answer.NO:
            place.onward.append(world)
            return
        if answer is Answer.UNKNOWN:
            doubtful = [match for match in clause.matches if evaluate(match, packet, known) is Answer.UNKNOWN]
            text, chance = words(place.reference()), all(is_chance(match) for match in doubtful)
            place.onward.append(world.assuming(text, 0, chance=chance))
            world = world.assuming(text, 1, chance=chance)
        for each in self._target(place, clause.target, world):
            self._rule(place, position + 1, each)

    def _target(self, place: Place, target: Target, world: World) -> Iterable[World]:
        """The worlds that go on within the rule; the others are put where they belong."""
        match target:
            case NoEffect():
                return (world,)
            case SetMark() | SetConnmark() | SetTos() | Untrack():
                return (self._changed(place, target, world),)
            case Accept():
                place.exits.accepted.append(world)
            case Return():
                place.exits.fell.append(world)
            case Jump():
                return self._jump(place, target, world)
            case Lookup() | OneOf():
                return self._chosen(place, target, world)
            case Snat() | Masquerade() | Dnat() | Redirect() | Netmap():
                rule = place.reference(target)
                if rule in self._model.set_aside:
                    return (world,)
                after = translate(target, rule, world, self._model, self._hook)
                for each in after:
                    (place.exits.ended if each.outcome else place.exits.accepted).append(each)
            case Drop() | Reject():
                rule = place.reference()
                outcome = Outcome.DROPPED if isinstance(target, Drop) else Outcome.REJECTED
                place.exits.ended.append(world.ended(outcome, words(rule), rule))
            case Unmodelled(text):
                why = f"{words(place.reference())}: {text} is not modelled"
                place.exits.ended.append(world.ended(Outcome.UNKNOWN, why))
        return ()

    def _spend(self, rules: int) -> None:
        self._left -= rules
        if self._left < 0:
            raise TooManyPossibilitiesError

    def _jump(self, place: Place, target: Jump, world: World) -> Iterable[World]:
        self._spend(JUMP)
        chain = place.chain.table.chain(target.chain)
        if chain is None or place.depth == DEEPEST:
            why = (
                f"{words(place.reference())}: {target.chain} is no chain that was read, and no target that is modelled"
            )
            place.exits.ended.append(world.ended(Outcome.UNKNOWN, why))
            return ()
        inner = self._chain(chain, world, place.depth + 1)
        place.exits.accepted.extend(inner.accepted)
        place.exits.ended.extend(inner.ended)
        if target.goto:
            place.exits.fell.extend(inner.fell)
            return ()
        return inner.fell

    def _chosen(self, place: Place, target: Lookup | OneOf, world: World) -> Iterable[World]:
        if isinstance(target, OneOf):
            text = words(place.reference())
            for choice, each in enumerate(target.targets):
                yield from self._target(place, each, world.assuming(text, choice, chance=True))
            return
        key = tuple(read(name, world.packet) for name in target.fields)
        if any(value is Answer.UNKNOWN for value in key):
            place.exits.ended.append(world.ended(Outcome.UNKNOWN, f"{words(place.reference())}: a field is not known"))
            return
        plain = tuple(value for value in key if not isinstance(value, Answer))
        found = target.chosen(plain) if len(plain) == len(key) else None
        if found is None:
            place.onward.append(world)
        else:
            yield from self._target(place, found, world)

    def _changed(self, place: Place, target: SetMark | SetConnmark | SetTos | Untrack, world: World) -> World:
        packet = world.packet
        if isinstance(target, Untrack):
            untracked = replace(packet, state=State.UNTRACKED)
            return replace(world, packet=untracked) if packet.state is State.INVALID else world
        if isinstance(target, SetTos):
            return replace(world, packet=replace(packet, tos=packet.tos & ~target.mask & 0xFF ^ target.value))
        on_connection = isinstance(target, SetConnmark)
        if not packet.tracked and (on_connection or target.value.connmark):
            return world
        before = packet.connmark if on_connection else packet.mark
        after = target.value.of(packet.mark, packet.connmark)
        if before == after:
            return world
        kind = "connmark" if on_connection else "fwmark"
        change = MarkChange(kind=kind, before=before, after=after, rule=place.reference())
        changed = replace(packet, connmark=after) if on_connection else replace(packet, mark=after)
        return replace(world, packet=changed, marks=(*world.marks, change))


def _bound(world: World) -> tuple[bool, bool]:
    return world.destination_bound, world.source_bound


def _tracked_again(world: World, state: State) -> World:
    """What raw chains cannot see yet, connection tracking then finds; unless a rule told it not to look."""
    if world.packet.state is State.UNTRACKED:
        return world
    return replace(world, packet=replace(world.packet, state=state))


def _known(packet: Packet, on_destination: bool) -> Packet:
    """A tracked packet after this hook's half of the translation that conntrack holds."""
    made = packet.translated
    if made is None or not packet.tracked:
        return packet
    flow = packet.five_tuple
    if on_destination:
        changed = replace(flow, destination=made.destination, destination_port=made.destination_port)
    else:
        changed = replace(flow, source=made.source, source_port=made.source_port)
    return replace(packet, five_tuple=changed)
