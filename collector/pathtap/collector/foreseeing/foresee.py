"""What the configuration will do wrong to a packet that nobody has sent: findings from a walk, EXPECTED and ASSUMED. Pure.

Why a node stops a packet is told in `causes`, for packets that were seen as well.
"""

from collections.abc import Iterator, Sequence

from pathtap.collector import findings
from pathtap.collector.cluster.inventory import Inventory
from pathtap.collector.cluster.resolve import owner_of
from pathtap.collector.foreseeing.prospect import Prospect, Stretch, prospect_of
from pathtap.collector.judging.causes import configured_cause, misrouted, refused_source
from pathtap.collector.telling import words
from pathtap.forwarding.fabric import Fabric, Whereto
from pathtap.forwarding.journey import Arrival, Leg, Walk
from pathtap.model.inventory import Service
from pathtap.model.trace import Evidence, Finding, Witness


def foresee(walk: Walk, fabric: Fabric, inventory: Inventory) -> tuple[Finding, ...]:
    """What would go wrong there, or on the way back; nothing where the way is clear or cannot be told."""
    return foreseen(prospect_of(walk, fabric, port_known=False), inventory)


def foreseen(prospect: Prospect, inventory: Inventory) -> tuple[Finding, ...]:
    """As `foresee`, with what the nodes' kernels said for proof."""
    walk, fabric = prospect.walk, prospect.fabric
    found = [*_wrong(prospect.forward, walk.arrival, fabric, inventory)]
    if walk.reply_arrival is not None:
        found += _wrong(prospect.reply, walk.reply_arrival, fabric, inventory)
    return tuple(dict.fromkeys(found))


def _wrong(stretches: Sequence[Stretch], arrival: Arrival, fabric: Fabric, inventory: Inventory) -> Iterator[Finding]:
    for stretch in stretches:
        if (astray := misrouted(stretch.expected, inventory)) is not None:
            yield astray
            return
    last = stretches[-1]
    gone = backend_gone([each.leg for each in stretches], inventory) if arrival is not Arrival.DELIVERED else None
    if gone is not None:
        yield gone
    elif arrival is Arrival.LOOPED:
        yield findings.looped(last.leg.node, last.leg.packet.in_interface, (_entering(last),))
    elif last.leg.carried is None:
        cause = configured_cause(last.expected)
        if cause is not None:
            yield without_endpoints(cause, stretches[0].leg, inventory) or cause
    elif last.leg.carried.whereto is Whereto.REFUSED:
        yield from _unowned(last, fabric)


def _entering(last: Stretch) -> Evidence:
    claim = f"the packet comes in as {last.expected.passage.before}, as it did before"
    return Evidence(witness=Witness.EXPECTED, claim=claim, source=f"{last.leg.node} configuration")


def _unowned(last: Stretch, fabric: Fabric) -> Iterator[Finding]:
    carried, routing = last.leg.carried, last.leg.prediction.routing
    snapshot = last.expected.snapshot
    interface = snapshot.interface(routing.interface) if snapshot and routing else None
    if carried is None or interface is None:
        return
    destination = last.leg.after.destination
    inside = fabric.is_inside(destination) or fabric.owner(destination) is not None
    yield refused_source(last.expected, interface, carried.owner, inside=inside)


def without_endpoints(cause: Finding, first: Leg, inventory: Inventory) -> Finding | None:
    """kube-proxy's refusal of a service without a ready endpoint goes by its own name."""
    flow = first.before
    service = inventory.service_at(flow.destination)
    if cause.code != "FILTER_REJECT" or service is None:
        return None
    names = {p.name for p in service.ports if (p.protocol, p.port) == (flow.protocol, flow.destination_port)}
    if not names or any(b.port_name in names and b.protocol == flow.protocol for b in service.backends):
        return None
    claim = f"the inventory has no ready address for {service.key}"
    says = Evidence(witness=Witness.RECORDED, claim=claim, source="inventory")
    return findings.service_without_endpoints(cause.node, service.key, (*cause.evidence, says))


def backend_gone(legs: Sequence[Leg], inventory: Inventory) -> Finding | None:
    """The DNAT that led the packet to what is no pod's, no node's and none of the service's endpoints."""
    for leg in legs:
        dnat = leg.prediction.dnat
        if dnat is None or leg.carried is None or leg.before.destination_socket == leg.after.destination_socket:
            continue
        service, backend = _service(leg, inventory), leg.after.destination_socket
        known = (
            any((b.address, b.port) == (backend.address, backend.port) for b in service.backends) if service else True
        )
        if service is None or known or owner_of(backend.address, 0, inventory).kind != "address":
            return None
        endpoints = ", ".join(f"{b.address}:{b.port}" for b in service.backends) or "none"
        proof = [Evidence(witness=Witness.RECORDED, claim=f"{service.key} has {endpoints}", source="inventory")]
        if dnat.rule is not None:
            claim, source = words.netfilter_words(dnat.rule), f"{leg.node} {dnat.rule.backend.value}"
            proof.insert(0, Evidence(witness=Witness.EXPECTED, claim=claim, source=source))
        return findings.service_backend_gone(leg.node, service.key, str(backend), proof)
    return None


def backends_gone(way: Walk, inventory: Inventory) -> Iterator[Finding]:
    """Of a Service's several backends those that are nobody's, whichever of them the packet follows."""
    for leg in way.forward:
        service = _service(leg, inventory) if len(leg.alternatives) > 1 else None
        if service is None:
            continue
        known = {(backend.address, backend.port) for backend in service.backends}
        for socket in leg.alternatives:
            if (socket.address, socket.port) in known or owner_of(socket.address, 0, inventory).kind != "address":
                continue
            choices = ", ".join(map(str, leg.alternatives))
            endpoints = ", ".join(f"{b.address}:{b.port}" for b in service.backends) or "none"
            proof = (
                Evidence(
                    witness=Witness.EXPECTED,
                    claim=f"{leg.before.destination_socket} becomes one of {choices}",
                    source=f"{leg.node} netfilter",
                ),
                Evidence(witness=Witness.RECORDED, claim=f"{service.key} has {endpoints}", source="inventory"),
            )
            yield findings.service_backend_gone(leg.node, service.key, str(socket), proof)


def _service(leg: Leg, inventory: Inventory) -> Service | None:
    """By its own address, or by the node port."""
    flow = leg.before
    if (service := inventory.service_at(flow.destination)) is not None:
        return service
    node_port = (flow.protocol, flow.destination_port)
    services = inventory.services.values() if inventory.node_at(flow.destination) else ()
    return next((s for s in services for p in s.ports if (p.protocol, p.node_port) == node_port), None)
