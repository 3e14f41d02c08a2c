"""Which of a node's rules translates a packet's source, which would if that one did not, and which do not concern it. Pure.

Asks the forwarding model what would happen without the rules that come first; knows nothing of ports that were seen.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from pathtap.collector.inspections.owners import owner_of_chain
from pathtap.forwarding.answer import Answer
from pathtap.forwarding.chains import POSTROUTING, CompiledChain, Stage
from pathtap.forwarding.fields import Field, read
from pathtap.forwarding.matches import Is, Match
from pathtap.forwarding.node import NodeModel
from pathtap.forwarding.packet import Packet
from pathtap.forwarding.predict import predict
from pathtap.forwarding.prediction import Prediction
from pathtap.forwarding.targets import Jump, Lookup, Masquerade, Netmap, OneOf, Snat, Target
from pathtap.model.address import Address, Socket
from pathtap.model.node import PortRange
from pathtap.model.snat import Standing, TranslatingRule
from pathtap.model.trace import RuleReference

# So often what translates is taken away: no node has so many who would, but an agent may send anything.
ROUNDS = 16
# Tables of iptables that only let packets through or refuse them: unread, they hide nobody who translates.
REFUSING = re.compile(r"(ip6 )?(filter|security) \(iptables-(legacy|nft)\)\Z")
# Backends of a Service that are asked one by one, and those that are named.
MOST_BACKENDS, MOST_NAMED = 64, 3
HOSTS = {Field.IP_SOURCE: 32, Field.IP_DESTINATION: 32, Field.IP6_SOURCE: 128, Field.IP6_DESTINATION: 128}


@dataclass(frozen=True, slots=True, kw_only=True)
class Translators:
    """What the rules make of one packet's source. `prediction` is that of the packet as things are.

    `candidates` are the rules of which one comes first: one, several where that cannot be told, none where nothing translates.
    `first` is None where there is none or it cannot be told. `ports` is its own range of ports, `translated_to` the address
    that it gives; None where it has none or that cannot be told. `rules` has all that translate sources: FIRST or UNDECIDED,
    those BEHIND in their order, those PASSED_BY in the kernel's. `unknown` are sentences on what could not be evaluated and
    might change who translates.
    """

    prediction: Prediction
    first: RuleReference | None
    candidates: tuple[RuleReference, ...]
    rules: tuple[TranslatingRule, ...]
    ports: PortRange | None
    translated_to: Address | None
    unknown: tuple[str, ...]


def translators(model: NodeModel, packet: Packet, chosen: Socket | None = None) -> Translators:
    """`packet` opens a connection: from a pod's veth, or without one from the node itself. `chosen` is where DNAT led it, where
    that was seen.
    """
    prediction = predict(model, packet, chosen)
    candidates, certain = _translating(prediction)
    unknown = _unknown(model, packet, prediction)
    first = candidates[0] if len(candidates) == 1 and certain and not unknown else None
    standing = Standing.FIRST if first else Standing.UNDECIDED
    behind, others = _behind(model, packet, candidates, chosen)
    known = [*((rule, standing) for rule in candidates), *behind]
    listed = {rule for rule, _ in known}
    known += [(rule, others) for rule in _that_translate(model, _leaving(packet, prediction)) if rule not in listed]
    snat = prediction.snat
    return Translators(
        prediction=prediction,
        first=first,
        candidates=candidates,
        rules=tuple(TranslatingRule(owner=owner_of_chain(rule), rule=rule, standing=is_) for rule, is_ in known),
        ports=snat.ports if snat else None,
        translated_to=snat.address if snat else None,
        unknown=unknown,
    )


def _translating(prediction: Prediction) -> tuple[tuple[RuleReference, ...], bool]:
    """The rules that may be the one, and whether one of them certainly is."""
    found = prediction.snat.candidates if prediction.snat else ()
    return tuple(rule for rule in found if rule is not None), None not in found


def _behind(
    model: NodeModel, packet: Packet, first: tuple[RuleReference, ...], chosen: Socket | None
) -> tuple[tuple[tuple[RuleReference, Standing], ...], Standing]:
    """What translates in turn once those before it do not, and how all other rules stand."""
    found: list[tuple[RuleReference, Standing]] = []
    rules = first
    for _ in range(ROUNDS):
        if not rules:
            return tuple(found), Standing.PASSED_BY
        model = model.without(rules)
        rules, certain = _translating(predict(model, packet, chosen))
        found.extend((rule, Standing.BEHIND if certain else Standing.UNDECIDED) for rule in rules)
    return tuple(found), Standing.UNDECIDED


def _unknown(model: NodeModel, packet: Packet, prediction: Prediction) -> tuple[str, ...]:
    """What the model could not follow to its end, and what decides between rules; but not the order of chains that translate:
    of that the candidates speak.
    """
    refusing = tuple(f"{each.part} of " for each in model.snapshot.unread if REFUSING.match(each.part))
    ended = [why for why in prediction.unknown if why in prediction.reason and not why.startswith(refusing)]
    orders = {stage.unreadable_order for stage in _stages(model, packet.family)}
    undecided = prediction.snat.undecided if prediction.snat else ()
    found = dict.fromkeys([*ended, *(why for why in undecided if why not in orders)])
    candidates, certain = _translating(prediction)
    if not undecided and (len(candidates) > 1 or not certain):
        return (*found, _by_chance(model, packet, prediction))
    return tuple(found)


def _by_chance(model: NodeModel, packet: Packet, prediction: Prediction) -> str:
    """A sentence on the dice that decide: those of DNAT, where each backend by itself leads to certain rules, or others."""
    which, backends = "which rule translates the source, if any, depends on", _backends(prediction)
    alone = [predict(model, packet, backend).snat for backend in backends[:MOST_BACKENDS]]
    if len(backends) > 1 and all(snat is None or len(snat.candidates) == 1 for snat in alone):
        named = " or ".join(map(str, backends[:MOST_NAMED]))
        others = f" or {len(backends) - MOST_NAMED} others" if len(backends) > MOST_NAMED else ""
        return f"{which} the backend that the kernel chooses: {named}{others}"
    return f"{which} what the kernel decides by chance"


def _backends(prediction: Prediction) -> tuple[Socket, ...]:
    return prediction.dnat.alternatives if prediction.dnat else ()


def _leaving(packet: Packet, prediction: Prediction) -> Packet:
    """The packet as POSTROUTING sees it: translated in its destination alone."""
    after = prediction.packet
    return replace(after, five_tuple=replace(after.five_tuple, source=packet.five_tuple.source))


def _stages(model: NodeModel, family: int) -> Iterator[Stage]:
    yield from (stage for stage in model.stages(family, POSTROUTING) if stage.nat)


def _that_translate(model: NodeModel, packet: Packet) -> tuple[RuleReference, ...]:
    """Every rule that translates sources, in the order in which a packet comes to them, but for those that name another
    source or destination alone, as the chains of other pods do. A chain is looked into once.
    """
    chains = (chain for stage in _stages(model, packet.family) for group in stage.groups for chain in group)
    seen: set[CompiledChain] = set()
    return tuple(dict.fromkeys(rule for chain in chains for rule in _of_chain(chain, packet, seen)))


def _of_chain(chain: CompiledChain, packet: Packet, seen: set[CompiledChain]) -> Iterator[RuleReference]:
    """Without recursion: an agent may send chains that lead on and on."""
    waiting = [_targets(chain, packet)]
    seen.add(chain)
    while waiting:
        found = next(waiting[-1], None)
        if found is None:
            waiting.pop()
            continue
        place, index, target = found
        if isinstance(target, Snat | Masquerade | Netmap):
            yield place.reference(index, target)
        further = place.table.chain(target.chain) if isinstance(target, Jump) else None
        if further is not None and further not in seen:
            seen.add(further)
            waiting.append(_targets(further, packet))


def _targets(chain: CompiledChain, packet: Packet) -> Iterator[tuple[CompiledChain, int, Target]]:
    for index in chain.candidates(packet):
        for clause in chain.clauses(index, packet.family):
            if any(_names_another(match, packet) for match in clause.matches):
                break
            yield from ((chain, index, target) for target in _spread(clause.target))


def _spread(target: Target) -> tuple[Target, ...]:
    match target:
        case Lookup():
            return (*target.targets.values(), *(each for _, each in target.ranged))
        case OneOf():
            return target.targets
        case _:
            return (target,)


def _names_another(match: Match, packet: Packet) -> bool:
    """Whether the match is on one single address that is not the packet's."""
    if not isinstance(match, Is) or match.field not in HOSTS:
        return False
    values, bits = match.values, HOSTS[match.field]
    single = len(values.exact) == 1 and not values.ranges and match.mask in (None, (1 << bits) - 1)
    address = read(match.field, packet)
    return single and (isinstance(address, Answer) or address not in values)
