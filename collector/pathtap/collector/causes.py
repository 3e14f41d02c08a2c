"""Why a packet that came to a node did not leave it, or left it and did not arrive: the cause, with its proof. Pure."""

from ipaddress import ip_network

from pathtap.collector import findings, words
from pathtap.collector.expect import ExpectedPassage
from pathtap.collector.fate import Fate, interface_of
from pathtap.collector.inventory import Inventory
from pathtap.collector.resolve import owner_of
from pathtap.forwarding.prediction import Outcome
from pathtap.model.address import Address
from pathtap.model.node import Interface, NodeSnapshot, Role
from pathtap.model.packet import PacketObservation
from pathtap.model.trace import Evidence, Finding, Witness

STRICT_REFUSALS = ("EXDEV", "EINVAL")


def direction_words(expected: ExpectedPassage) -> str:
    return "reply" if expected.reply else "packet"


def sighting(seen: PacketObservation | None) -> tuple[Evidence, ...]:
    if seen is None:
        return ()
    claim = f"last seen {seen.direction.value} on {seen.interface}: {seen.headers.five_tuple}"
    return (
        Evidence(witness=Witness.OBSERVED, claim=claim, source=f"{seen.node} {seen.interface}", at=seen.captured_at),
    )


def cause_of_stop(expected: ExpectedPassage, inventory: Inventory) -> Finding:
    """The packet came in, or conntrack knows of it, and it was not seen going out."""
    proof = sighting(expected.passage.arrival) or _recorded(expected)
    return (
        _filtered(expected, proof)
        or _refused_by_filter_path(expected, proof)
        or _not_forwarded(expected, proof)
        or _misrouted(expected, inventory, proof)
        or _neighbour(expected, proof)
        or _unexplained(expected, proof)
    )


def cause_of_local_drop(expected: ExpectedPassage) -> Finding | None:
    """A rule that keeps the packet from the node itself, to which it came: the INPUT hook says nothing to a capture."""
    return _filtered(expected, sighting(expected.passage.arrival)) if expected.passage.departure is None else None


def cause_of_leaving(expected: ExpectedPassage, inventory: Inventory) -> Finding | None:
    """The packet left the very node whose pod it was going to."""
    return _misrouted(expected, inventory, sighting(expected.passage.departure))


def _recorded(expected: ExpectedPassage) -> tuple[Evidence, ...]:
    """The entry of an answer that no capture saw."""
    passage = expected.passage
    if passage.entry is None or not expected.reply:
        return ()
    claim = f"an answer was seen: {words.conntrack_words(passage.entry)}"
    return (Evidence(witness=Witness.RECORDED, claim=claim, source=f"{passage.node} conntrack"),)


def _unexplained(expected: ExpectedPassage, proof: tuple[Evidence, ...]) -> Finding:
    node, arrival = expected.passage.node, expected.passage.arrival
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
    return make(node, rule, (*proof, says))


def _refused_by_filter_path(expected: ExpectedPassage, proof: tuple[Evidence, ...]) -> Finding | None:
    """The FIB itself refuses: a blackhole and its like, no route, or the reverse path filter."""
    expectation, passage = expected.expectation, expected.passage
    if expectation is None or expectation.prediction.routing is None:
        return None
    decision, answer = expectation.prediction.routing, expectation.answer
    if answer is not None:
        claim = words.kernel_answer_words(answer)
        proof = (*proof, Evidence(witness=Witness.EXPECTED, claim=claim, source=f"{passage.node} RTM_GETROUTE"))
    if decision.refused and decision.route is not None:
        return findings.refusing_route(passage.node, decision.route, proof)
    if decision.refused and decision.rule is not None:
        return findings.refusing_rule(passage.node, decision.rule, proof)
    if decision.refused:
        return findings.no_route(passage.node, str(passage.after.destination), proof)
    if answer is not None and answer.error in STRICT_REFUSALS and passage.arrival is not None:
        return findings.reverse_path(passage.node, passage.arrival.interface, str(passage.before.source), proof)
    return None


def _not_forwarded(expected: ExpectedPassage, proof: tuple[Evidence, ...]) -> Finding | None:
    """No rule and no route: the node does not forward what comes in there, and drops it silently (ip_error, net/ipv4/route.c)."""
    prediction, arrival, node = expected.prediction, expected.passage.arrival, expected.passage.node
    if prediction is None or arrival is None or prediction.outcome is not Outcome.DROPPED:
        return None
    says = Evidence(witness=Witness.EXPECTED, claim=prediction.reason, source=f"{node} sysctl")
    family = expected.passage.before.family
    return findings.forwarding_disabled(node, arrival.interface, family, (*proof, says))


def _misrouted(expected: ExpectedPassage, inventory: Inventory, proof: tuple[Evidence, ...]) -> Finding | None:
    """A pod of this node that the routes do not lead to."""
    prediction, passage = expected.prediction, expected.passage
    if prediction is None or prediction.routing is None or not prediction.routing.interface:
        return None
    owner = owner_of(passage.after.destination, 0, inventory)
    interface = interface_of(expected, prediction.routing.interface)
    if owner.kind != "pod" or owner.node != passage.node or interface is None or interface.role is Role.POD_VETH:
        return None
    if prediction.routing.route is not None:
        claim = words.route_words(prediction.routing.route)
        proof = (*proof, Evidence(witness=Witness.EXPECTED, claim=claim, source=f"{passage.node} ip route"))
    return findings.pod_route_missing(
        passage.node, owner.name, str(owner.socket.address), prediction.routing.interface, proof
    )


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
    passage, snapshot = fate.last.passage, fate.last.snapshot
    seen = passage.departure
    assert seen is not None  # noqa: S101 - tested above
    interface = snapshot.interface(seen.interface)
    owner = eni_of(seen.headers.five_tuple.source, snapshot)
    if interface is None or interface == owner or not (owner or interface.eni_addresses):
        return None
    named = f"{owner.name} {owner.eni_id}".rstrip() if owner else "no ENI of the node"
    claim = f"{passage.after.source} belongs to {named}"
    assumed = Evidence(witness=Witness.ASSUMED, claim=f"the VPC's source check: {claim}", source="the VPC")
    source = str(passage.after.source)
    name = owner.name if owner else ""
    decision = fate.last.prediction.routing if fate.last.prediction else None
    rule = words.rule_words(decision.rule) if decision and decision.rule and not decision.unknown else ""
    return findings.source_not_owned(snapshot.node, seen.interface, source, name, rule, (*sighting(seen), assumed))


def eni_of(address: Address, snapshot: NodeSnapshot) -> Interface | None:
    """The ENI that owns an address, by what IMDS or ipamd say, by its own addresses, else by the pod's from-rule."""
    for interface in snapshot.interfaces:
        own = any(address == own.ip for own in interface.addresses)
        if interface.role.is_eni and (own or any(address in network for network in interface.eni_addresses)):
            return interface
    return _eni_of_rule(address, snapshot)


def _eni_of_rule(address: Address, snapshot: NodeSnapshot) -> Interface | None:
    """`1536 from 192.168.1.116 lookup 2` gives the pod's address to the ENI that table 2 leads to."""
    tables = {rule.table for rule in snapshot.rules if rule.source is not None and rule.source == ip_network(address)}
    names = {
        hop.interface
        for route in snapshot.routes
        if route.table in tables and not route.destination.prefixlen
        for hop in route.next_hops
    }
    enis = [interface for interface in snapshot.interfaces if interface.name in names and interface.role.is_eni]
    return enis[0] if len(enis) == 1 else None
