"""What is found beside the verdict: rules that are not as was set, an ENI that does not own what it sends, races lost. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from pathtap.collector import findings
from pathtap.collector.foreseeing.ways import placed
from pathtap.collector.inspections import kernel, relevant, stores, translation
from pathtap.collector.proving.depletion import EXHAUSTED_SHARE, Cause, LostPorts, lost_ports
from pathtap.collector.proving.subject import Subject
from pathtap.collector.telling import words
from pathtap.forwarding.fabric import Fabric, Whereto
from pathtap.model.address import protocol_name
from pathtap.model.node import Role
from pathtap.model.snat import Exposure, PortsInUse
from pathtap.model.trace import Evidence, Finding, Witness

# Users that are named in a finding.
MOST_USERS = 3
FAMILIES = (translation, stores, kernel)


def consequences(subject: Subject, exposure: Exposure, elsewhere: Sequence[PortsInUse]) -> Iterator[Finding]:
    """The defects that concern this traffic first, then whether the VPC takes what is translated, then what ports cost, be it
    `elsewhere`: the kernel counts what is lost, not towards whom.
    """
    defects = (each for family in FAMILIES for each in family.inspect(subject.view))
    outside = _is_outside(subject)
    for defect in relevant(defects, (subject.packet.five_tuple.source,), leaves_vpc=outside, to_service=False):
        yield defect.finding
    yield from _refused(subject)
    snat = subject.translators.prediction.snat
    rise = exposure.rise("insert_failed")
    # Where the fullest has ports enough, all have.
    crowded = (*exposure.ports, *elsewhere) if rise else exposure.ports
    fullest = max(crowded, key=lambda each: each.in_use / max(each.capacity, 1), default=None)
    if snat is None or fullest is None:
        return
    lost = lost_ports(in_use=fullest.in_use, capacity=fullest.capacity, lost=rise, random=snat.random)
    yield from _of_ports(subject.snapshot.node, lost, fullest, tuple(_proof(subject.snapshot.node, exposure, fullest)))


def _is_outside(subject: Subject) -> bool:
    """Whether the packet leaves for what the VPC CNI translates, as far as networks and the inventory tell."""
    towards, snapshot = subject.translators.prediction.packet.five_tuple.destination, subject.snapshot
    exempt = (*snapshot.vpc_networks, *(snapshot.settings.excluded_networks if snapshot.settings else ()))
    inventory = subject.view.inventory
    known = inventory.pod_at(towards) or inventory.node_at(towards)
    return known is None and not any(towards in network for network in exempt)


def _refused(subject: Subject) -> Iterator[Finding]:
    """What is translated, as set or not, and leaves by an ENI that does not own the address it was given."""
    prediction, given, node = subject.translators.prediction, subject.translators.translated_to, subject.snapshot.node
    way = prediction.routing
    device = subject.snapshot.interface(way.interface) if way and not way.local else None
    if way is None or device is None or given is None:
        return
    flow = replace(prediction.packet.five_tuple, source=given)
    carried = Fabric({node: subject.model}, placed(subject.view.inventory)).carry(flow, node, device.name, way.gateway)
    if carried.whereto is not Whereto.REFUSED:
        return
    owner, snat = carried.owner, prediction.snat
    named = f"{owner.name} {owner.eni_id}".rstrip() if owner else "no ENI of the node"
    claim = f"the VPC's source check: {given} belongs to {named}"
    proof = [Evidence(witness=Witness.ASSUMED, claim=claim, source="the VPC")]
    # What is translated is to leave by the primary ENI: there it is the rule that is wrong, elsewhere the way.
    wrong = words.netfilter_words(snat.rule) if snat and snat.rule and device.role is Role.PRIMARY_ENI else ""
    if wrong:
        proof.insert(0, Evidence(witness=Witness.EXPECTED, claim=wrong, source=f"{node} netfilter"))
    chose, name = words.rule_words(way.rule) if way.rule else "", owner.name if owner else ""
    yield findings.source_not_owned(node, device.name, str(given), name, chose, wrong, tuple(proof))


def _of_ports(node: str, lost: LostPorts, ports: PortsInUse, proof: tuple[Evidence, ...]) -> Iterator[Finding]:
    towards = f"{ports.destination} ({protocol_name(ports.protocol)})"
    in_use = f"{ports.in_use} of {ports.capacity} ports of {ports.translated}"
    if lost.cause is Cause.RACE:
        yield findings.snat_race_lost(node, lost.lost, towards, in_use, lost.mended_by_flag, proof)
    elif lost.share >= EXHAUSTED_SHARE:
        users = ", ".join(f"{name} ({held})" for name, held in ports.users[:MOST_USERS])
        yield findings.snat_ports_exhausted(node, lost.lost, towards, in_use, users, proof)


def _proof(node: str, exposure: Exposure, ports: PortsInUse) -> Iterator[Evidence]:
    where = f"{node} conntrack"
    rise, total = exposure.rise("insert_failed"), exposure.total("insert_failed")
    claim = f"insert_failed rose by {rise} meanwhile, to {total} since the node's start"
    yield Evidence(witness=Witness.RECORDED, claim=claim, source=where)
    claim = f"{ports.in_use} of {ports.capacity} ports of {ports.translated} are in use towards {ports.destination}"
    claim += f" ({protocol_name(ports.protocol)})"
    yield Evidence(witness=Witness.RECORDED, claim=claim, source=where)
