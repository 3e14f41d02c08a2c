"""Losses that no rule and no route explains, told from packets, conntrack entries, tc programs and the kernel's counters.

Pure. What configuration explains is in `causes`.
"""

from collections.abc import Iterator
from dataclasses import replace

from pathtap.collector import findings
from pathtap.collector.cluster.resolve import owner_of
from pathtap.collector.joining.expect import ExpectedPassage
from pathtap.collector.judging.case import Case
from pathtap.collector.judging.causes import direction_words, sighting
from pathtap.collector.judging.fate import interface_of
from pathtap.collector.telling import words
from pathtap.model.address import Protocol
from pathtap.model.node import Role, TcProgram
from pathtap.model.packet import PacketObservation
from pathtap.model.trace import Evidence, Finding, Witness

INSERT_FAILED = "conntrack.insert_failed"
REVERSE_PATH_FILTER = "TcpExtIPReversePathFilter"


def explained(case: Case, expected: ExpectedPassage, cause: Finding) -> Finding:
    """`cause` as configuration has it, with what the kernel counted; or what else explains the loss, where it does not."""
    node = expected.passage.node
    if cause.code == "RP_FILTER_DROP":
        return replace(cause, evidence=(*cause.evidence, *counted(case, node, REVERSE_PATH_FILTER)))
    if cause.code not in ("DROPPED_UNEXPLAINED", "NEVER_LEFT_NODE"):
        return cause
    return (
        _misaddressed(case, expected)
        or next(too_big(case), None)
        or _insert_failed(case, expected)
        or _swallowed(expected)
        or cause
    )


def counted(case: Case, node: str, counter: str) -> tuple[Evidence, ...]:
    """The kernel's own count of the drop; nothing where it did not rise."""
    risen = case.record.risen(node, counter)
    if not risen:
        return ()
    before = case.record.snapshots[node].counters[counter]
    claim = f"{counter} rose from {before} to {before + risen} while the trace ran"
    return (Evidence(witness=Witness.RECORDED, claim=claim, source=f"{node} counters"),)


def too_big(case: Case) -> Iterator[Finding]:
    """ICMP's fragmentation needed (RFC 1191) or packet too big (RFC 8201)."""
    for error in case.journey.errors:
        icmp = error.headers.icmp
        if icmp is None or not is_too_big(error):
            continue
        sender = error.headers.five_tuple.source
        owner = case.record.inventory.node_at(sender)
        first = case.journey.forward[0] if case.journey.forward else None
        seen = (first.arrival or first.departure) if first else None
        size = seen.headers.length if seen else 0
        node = owner.name if owner else case.record.question.source.node
        yield findings.too_big(node, owner.name if owner else str(sender), icmp.mtu, size, sighting(error))


def is_too_big(error: PacketObservation) -> bool:
    icmp, protocol = error.headers.icmp, error.headers.five_tuple.protocol
    if icmp is None:
        return False
    return icmp.type == 2 if protocol == Protocol.ICMPV6 else (icmp.type, icmp.code) == (3, 4)


def _misaddressed(case: Case, expected: ExpectedPassage) -> Finding | None:
    arrival = expected.passage.arrival
    if arrival is None or not arrival.for_another:
        return None
    interface = interface_of(expected, arrival.interface)
    if interface is None or interface.role is not Role.POD_VETH:
        return None
    owner = owner_of(expected.passage.before.source, 0, case.record.inventory)
    claim = f"its frame was addressed to another MAC than {interface.mac or 'that of the interface'}"
    says = Evidence(
        witness=Witness.OBSERVED, claim=claim, source=f"{arrival.node} {arrival.interface}", at=arrival.captured_at
    )
    name = owner.name or str(owner.socket.address)
    return findings.misaddressed(arrival.node, interface.name, name, (*sighting(arrival), says))


def _insert_failed(case: Case, expected: ExpectedPassage) -> Finding | None:
    node = expected.passage.node
    count = case.record.risen(node, INSERT_FAILED)
    if not count or expected.reply:
        return None
    proof = (*sighting(expected.passage.arrival), *counted(case, node, INSERT_FAILED))
    snat = expected.prediction.snat if expected.prediction else None
    if snat is None or snat.rule is None:
        return findings.insert_failed(node, count, "", "", proof)
    rule = words.netfilter_words(snat.rule)
    says = Evidence(witness=Witness.EXPECTED, claim=rule, source=f"{node} {snat.rule.backend.value}")
    ports = f"{snat.ports.first}-{snat.ports.last}" if snat.ports else ""
    return findings.insert_failed(node, count, rule, ports, (*proof, says))


def _swallowed(expected: ExpectedPassage) -> Finding | None:
    """A tap on a veth sees a packet before tc ingress and after tc egress (__netif_receive_skb_core, __dev_queue_xmit)."""
    program = next(_programs_passed(expected), None)
    if program is None:
        return None
    node = expected.passage.node
    claim = f"{program.interface} {program.hook}: {' '.join(part for part in (program.kind, program.name) if part)}"
    attached = Evidence(witness=Witness.EXPECTED, claim=claim, source=f"{node} tc")
    proof = (*sighting(expected.passage.arrival), attached)
    return findings.tc_program_drop(node, program, direction_words(expected), proof)


def _programs_passed(expected: ExpectedPassage) -> Iterator[TcProgram]:
    """Those between the tap that saw the packet and the tap that did not."""
    arrival, prediction = expected.passage.arrival, expected.prediction
    came_by = arrival.interface if arrival else ""
    goes_by = prediction.routing.interface if prediction and prediction.routing else ""
    for program in expected.snapshot.programs if expected.snapshot else ():
        if (program.hook == "ingress" and program.interface == came_by) or (
            program.hook == "egress" and program.interface == goes_by
        ):
            yield program


def asymmetries(case: Case) -> Iterator[Finding]:
    """Nodes where request and answer passed by different ENIs."""
    for there in case.forward_passages:
        node = there.passage.node
        back = [expected for expected in case.reply_passages if expected.passage.node == node]
        if len(back) != 1 or sum(each.passage.node == node for each in case.forward_passages) != 1:
            continue
        here = back[0]
        for went, came in (
            (there.passage.arrival, here.passage.departure),
            (there.passage.departure, here.passage.arrival),
        ):
            if went and came and went.interface != came.interface and _enis(there, went, came):
                proof = (*sighting(went), *sighting(came))
                yield findings.asymmetric_reply(node, went.interface, came.interface, proof)


def _enis(expected: ExpectedPassage, *seen: PacketObservation) -> bool:
    found = [interface_of(expected, each.interface) for each in seen]
    return all(interface is not None and interface.role.is_eni for interface in found)
