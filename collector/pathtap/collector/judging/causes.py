"""Why a packet that came to a node did not leave it, or left it and did not arrive: the cause, with its proof. Pure."""

import re
from ipaddress import ip_network

from pathtap.collector import findings
from pathtap.collector.cluster.inventory import Inventory
from pathtap.collector.cluster.resolve import owner_of
from pathtap.collector.joining.expect import ExpectedPassage
from pathtap.collector.judging.fate import Fate, interface_of
from pathtap.collector.telling import words
from pathtap.forwarding.fabric import eni_of, refuses
from pathtap.forwarding.prediction import Outcome, Prediction
from pathtap.model.address import Address
from pathtap.model.node import Interface, Role, RouteKind, Rule
from pathtap.model.packet import PacketObservation
from pathtap.model.trace import Evidence, Finding, RuleReference, Witness

STRICT_REFUSALS = ("EXDEV", "EINVAL")
# The ip rules that the kernel makes itself, and nobody chose: lookup main, lookup default (net/ipv4/fib_rules.c).
# What takes packets; without a route or rule where several could be the one.
REFUSING = ("blackhole", "unreachable", "prohibit")
# Gives the packet its connection's mark, in iptables' words and in nftables'.
RESTORES = re.compile(r"--restore-mark|mark set ct mark")
KERNELS_OWN = (32766, 32767)


def direction_words(expected: ExpectedPassage) -> str:
    return "reply" if expected.reply else "packet"


def sighting(seen: PacketObservation | None, what: str = "last") -> tuple[Evidence, ...]:
    """`what` is what was seen, where that is another packet than the one that is followed: an answer, an error."""
    if seen is None:
        return ()
    claim = f"{what} seen {seen.direction.value} on {seen.interface}: {seen.headers.five_tuple}"
    return (
        Evidence(witness=Witness.OBSERVED, claim=claim, source=f"{seen.node} {seen.interface}", at=seen.captured_at),
    )


def cause_of_stop(expected: ExpectedPassage, inventory: Inventory) -> Finding:
    """The packet came in, or conntrack knows of it, and it was not seen going out."""
    proof = sighting(expected.passage.arrival) or _recorded(expected)
    return (
        configured_cause(expected, proof)
        or misrouted(expected, inventory, proof)
        or _neighbour(expected, proof)
        or _unexplained(expected, proof)
    )


def configured_cause(expected: ExpectedPassage, proof: tuple[Evidence, ...] = ()) -> Finding | None:
    """What the node's own configuration has that stops the packet there: a filter, a route, a sysctl."""
    return (
        _filtered(expected, proof)
        or _refused_by_route(expected, proof)
        or _refused_by_reverse_path(expected, proof)
        or _not_forwarded(expected, proof)
    )


def cause_of_local_drop(expected: ExpectedPassage) -> Finding | None:
    """A rule that keeps the packet from the node itself, to which it came: the INPUT hook says nothing to a capture."""
    return _filtered(expected, sighting(expected.passage.arrival)) if expected.passage.departure is None else None


def cause_of_leaving(expected: ExpectedPassage, inventory: Inventory) -> Finding | None:
    """The packet left the very node whose pod it was going to."""
    return misrouted(expected, inventory, sighting(expected.passage.departure))


def _recorded(expected: ExpectedPassage) -> tuple[Evidence, ...]:
    """The entry of an answer that no capture saw."""
    passage = expected.passage
    if passage.entry is None or not expected.reply:
        return ()
    claim = f"an answer was seen: {words.conntrack_words(passage.entry)}"
    return (Evidence(witness=Witness.RECORDED, claim=claim, source=f"{passage.node} conntrack"),)


def _unexplained(expected: ExpectedPassage, proof: tuple[Evidence, ...]) -> Finding:
    node, arrival = expected.passage.node, expected.passage.arrival
    if expected.prediction and expected.prediction.unknown:
        claim = f"what the rules do there cannot be told: {expected.prediction.unknown[0]}"
        proof = (*proof, Evidence(witness=Witness.EXPECTED, claim=claim, source=f"{node} netfilter"))
    if arrival is None:
        return findings.never_left_node(node, node, proof)
    return findings.unexplained(node, arrival.interface, direction_words(expected), proof)


def _filtered(expected: ExpectedPassage, proof: tuple[Evidence, ...]) -> Finding | None:
    prediction, node = expected.prediction, expected.passage.node
    if prediction is None or prediction.dropped_by is None:
        return None
    rule = prediction.dropped_by
    says = Evidence(witness=Witness.EXPECTED, claim=words.netfilter_words(rule), source=f"{node} {rule.backend.value}")
    make = findings.filter_reject if prediction.outcome is Outcome.REJECTED else findings.filter_drop
    return make(node, rule, _family(expected, rule), (*proof, says))


def _family(expected: ExpectedPassage, rule: RuleReference) -> str:
    """Of the table that has the rule: `ip`, `inet`, `netdev`."""
    rule_sets = expected.snapshot.rule_sets if expected.snapshot else ()
    found = (of for of in rule_sets if (of.backend, of.table) == (rule.backend, rule.table) and of.chain(rule.chain))
    return next((of.family for of in found), "")


def _refused_by_route(expected: ExpectedPassage, proof: tuple[Evidence, ...]) -> Finding | None:
    """A blackhole and its like, or no route."""
    prediction, passage = expected.prediction, expected.passage
    if prediction is None or prediction.routing is None:
        return None
    decision = prediction.routing
    says = Evidence(witness=Witness.EXPECTED, claim=decision.text, source=f"{passage.node} ip rule, ip route")
    proof = (*proof, says, *_kernel(expected))
    if decision.refused and decision.route is not None:
        return findings.refusing_route(passage.node, decision.route, proof)
    if decision.refused and decision.rule is not None:
        return findings.refusing_rule(passage.node, decision.rule, proof)
    if decision.refused in REFUSING:
        return findings.refusing_unknown(
            passage.node, RouteKind(decision.refused), str(passage.after.destination), proof
        )
    return findings.no_route(passage.node, str(passage.after.destination), proof) if decision.refused else None


def _refused_by_reverse_path(expected: ExpectedPassage, proof: tuple[Evidence, ...]) -> Finding | None:
    """Source validation, by our own lookup of the way back or by the kernel's refusal of the packet's source."""
    passage, prediction = expected.passage, expected.prediction
    if prediction is None or not expected.came_by:
        return None
    answer = expected.expectation.answer if expected.expectation else None
    by_kernel = answer is not None and answer.error in STRICT_REFUSALS and prediction.routing is not None
    if prediction.reverse_path is None and not by_kernel:
        return None
    if (path := prediction.reverse_path) is not None:
        claim = f"rp_filter is {path.mode}, and the way back to {passage.before.source} is {path.decision.text}"
        proof = (*proof, Evidence(witness=Witness.EXPECTED, claim=claim, source=f"{passage.node} sysctl"))
    proof = (*proof, *_kernel(expected))
    return findings.reverse_path(passage.node, expected.came_by, str(passage.before.source), proof)


def _kernel(expected: ExpectedPassage) -> tuple[Evidence, ...]:
    """What the kernel's own lookup said, where it was asked."""
    answer = expected.expectation.answer if expected.expectation else None
    if answer is None:
        return ()
    claim = words.kernel_answer_words(answer)
    return (Evidence(witness=Witness.EXPECTED, claim=claim, source=f"{expected.passage.node} RTM_GETROUTE"),)


def _not_forwarded(expected: ExpectedPassage, proof: tuple[Evidence, ...]) -> Finding | None:
    """No rule and no route: the node does not forward what comes in there, and drops it silently (ip_error, net/ipv4/route.c)."""
    prediction, node = expected.prediction, expected.passage.node
    if prediction is None or prediction.outcome is not Outcome.DROPPED or not expected.came_by:
        return None
    if prediction.routing is None or prediction.routing.refused or not prediction.reason.startswith("forwarding is"):
        return None
    says = Evidence(witness=Witness.EXPECTED, claim=prediction.reason, source=f"{node} sysctl")
    family, sysctls = expected.passage.before.family, expected.snapshot.sysctls if expected.snapshot else {}
    # ip_forward is that of all interfaces: 0 there is one cause, whatever the packet came by.
    everywhere = family == 4 and sysctls.get("net.ipv4.ip_forward") == "0"
    return findings.forwarding_disabled(node, "" if everywhere else expected.came_by, family, (*proof, says))


def misrouted(expected: ExpectedPassage, inventory: Inventory, proof: tuple[Evidence, ...] = ()) -> Finding | None:
    """A pod of this node without a route to its veth. What overrules such a route is for the inspections to say."""
    prediction, passage = expected.prediction, expected.passage
    if prediction is None or prediction.routing is None or not prediction.routing.interface:
        return None
    owner = owner_of(passage.after.destination, 0, inventory)
    interface = interface_of(expected, prediction.routing.interface)
    if owner.kind != "pod" or owner.node != passage.node or interface is None or interface.role is Role.POD_VETH:
        return None
    if _has_pod_route(expected, passage.after.destination):
        return None
    if prediction.routing.route is not None:
        claim = words.route_words(prediction.routing.route)
        proof = (*proof, Evidence(witness=Witness.EXPECTED, claim=claim, source=f"{passage.node} ip route"))
    return findings.pod_route_missing(
        passage.node, owner.name, str(owner.socket.address), prediction.routing.interface, proof
    )


def _has_pod_route(expected: ExpectedPassage, address: Address) -> bool:
    """Whether some table has a route for that address alone, to what is no ENI."""
    routes = expected.snapshot.routes if expected.snapshot else ()
    own = [route for route in routes if route.destination == ip_network(address) and route.kind is RouteKind.UNICAST]
    links = [interface_of(expected, hop.interface) for route in own for hop in route.next_hops]
    return any(link is not None and not link.role.is_eni for link in links)


def _neighbour(expected: ExpectedPassage, proof: tuple[Evidence, ...]) -> Finding | None:
    prediction, snapshot = expected.prediction, expected.snapshot
    if prediction is None or prediction.routing is None or snapshot is None:
        return None
    decision = prediction.routing
    next_hop = decision.gateway or expected.passage.after.destination
    for neighbour in snapshot.neighbours:
        wanted = neighbour.address == next_hop and neighbour.interface == decision.interface
        if wanted and neighbour.state in ("failed", "incomplete"):
            claim = f"{neighbour.address} is {neighbour.state}"
            says = Evidence(witness=Witness.RECORDED, claim=claim, source=f"{snapshot.node} neighbours")
            return findings.neighbour_failed(snapshot.node, str(neighbour.address), neighbour.interface, (*proof, says))
    return None


def source_check(fate: Fate) -> Finding | None:
    """Whether the VPC must have dropped the packet because the ENI it left by does not own its source."""
    if fate.last is None or fate.last.passage.departure is None or fate.last.snapshot is None:
        return None
    seen, snapshot = fate.last.passage.departure, fate.last.snapshot
    interface = snapshot.interface(seen.interface)
    owner = eni_of(seen.headers.five_tuple.source, snapshot)
    if interface is None or not refuses(interface, owner):
        return None
    inside = fate.owner is not None and fate.owner.kind in ("pod", "node")
    return refused_source(fate.last, interface, owner, inside=inside, proof=sighting(seen))


def refused_source(
    expected: ExpectedPassage,
    interface: Interface,
    owner: Interface | None,
    *,
    inside: bool,
    proof: tuple[Evidence, ...] = (),
) -> Finding:
    """Why the source check takes it: what somebody chose leads a pod's own packet out of another ENI than its own, or the
    source is not what that ENI's packets must have. `inside` says that it was going to an address of the VPC.
    """
    passage, prediction = expected.passage, expected.prediction
    source = str(passage.after.source)
    named = f"{owner.name} {owner.eni_id}".rstrip() if owner else "no ENI of the node"
    claim = f"the VPC's source check: {source} belongs to {named}"
    assumed = Evidence(witness=Witness.ASSUMED, claim=claim, source="the VPC")
    decision = prediction.routing if prediction else None
    led_here = decision is not None and not decision.unknown and decision.interface == interface.name
    rule = decision.rule if decision and led_here else None
    chosen = rule is not None and rule.priority not in KERNELS_OWN
    if owner and rule and prediction and chosen and inside and passage.before.source == passage.after.source:
        text = words.rule_words(rule)
        says = Evidence(witness=Witness.EXPECTED, claim=text, source=f"{passage.node} ip rule")
        whose, by = f"{source}, an address of {owner.name},", _marking(rule, prediction)
        family = _family(expected, by) if by else ""
        return findings.wrong_eni(passage.node, interface.name, whose, text, by, family, (*proof, says, assumed))
    name, rule_text = owner.name if owner else "", words.rule_words(rule) if rule else ""
    snat = _wrong_snat(expected, interface)
    if snat:
        says = Evidence(witness=Witness.EXPECTED, claim=snat, source=f"{passage.node} netfilter")
        proof = (*proof, says)
    return findings.source_not_owned(passage.node, interface.name, source, name, rule_text, snat, (*proof, assumed))


def _wrong_snat(expected: ExpectedPassage, interface: Interface) -> str:
    """The rule that translated a packet to an address which the primary ENI, the right one for what is translated, has not."""
    passage, snat = expected.passage, expected.prediction.snat if expected.prediction else None
    if passage.before.source == passage.after.source or interface.role is not Role.PRIMARY_ENI or expected.reply:
        return ""
    known = snat is not None and snat.rule is not None and snat.address == passage.after.source
    return words.netfilter_words(snat.rule) if known and snat and snat.rule else "a NAT rule that cannot be told"


def _marking(rule: Rule, prediction: Prediction) -> RuleReference | None:
    """The netfilter rule that gave the packet the mark by which the ip rule took it; None where that goes by no mark.

    Where a rule made it of the connection's mark, the one that gave the connection that mark.
    """
    if rule.mark is None:
        return None
    wanted = rule.mark & rule.mask
    made = [each for each in prediction.marks if each.after & rule.mask == wanted != each.before & rule.mask]
    marked = [each.rule for each in made if each.kind == "fwmark"][-1:]
    if marked and RESTORES.search(marked[0].text):
        marked = [each.rule for each in made if each.kind == "connmark"][-1:] or marked
    return marked[0] if marked else None
