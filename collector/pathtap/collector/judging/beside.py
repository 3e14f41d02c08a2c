"""What configuration has to say beside what was seen: defects of the nodes on the way, and what would stop the packet further on.

Pure. What packets contradict is not said: a node that sent the packet on does not drop it, whatever its rules look like.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from pathtap.collector.foreseeing.foresee import foreseen
from pathtap.collector.foreseeing.further import would_also
from pathtap.collector.foreseeing.prospect import Prospect, prospect_of
from pathtap.collector.foreseeing.ways import fabric_of, way, way_beyond
from pathtap.collector.inspections import Defect
from pathtap.collector.joining.expect import ExpectedPassage
from pathtap.collector.judging.case import Case
from pathtap.collector.judging.fate import End
from pathtap.collector.judging.hurting import hurting
from pathtap.collector.plan import first_packet
from pathtap.model.address import Address
from pathtap.model.trace import Finding

ARRIVED = (End.DELIVERED, End.LEFT_CLUSTER)
# The node that redirects a packet to an address which nobody has sends it on; it is lost elsewhere.
UNSEEABLE = ("SERVICE_BACKEND_GONE",)


def expected_way(case: Case) -> Prospect | None:
    """The whole way of the packet that was followed, to the backend that was really chosen."""
    record, sent = case.record, case.journey.sent
    fabric = fabric_of(case.models, record.inventory)
    chosen = next((each.passage.after for each in case.forward_passages if _is_redirected(each)), None)
    flow = sent or first_packet(record.question)
    found = way(record.question, fabric, flow, chosen.destination_socket if chosen else None)
    return prospect_of(found, fabric, port_known=sent is not None and sent.source_port != 0) if found else None


def configured(case: Case, prospect: Prospect | None) -> tuple[Finding, ...]:
    """`prospect` is the way as it was expected; None where it could not be begun."""
    here, further = _further(case, prospect)
    found = [*here, *(defect.finding for defect in _defects(case, prospect)), *further]
    return tuple(dict.fromkeys(found))


def _further(case: Case, prospect: Prospect | None) -> tuple[list[Finding], list[Finding]]:
    """What stops the packet, or its answer, where nobody saw it pass; and what would, had it not been stopped before."""
    here: list[Finding] = []
    further: list[Finding] = []
    if prospect is None:
        return here, further
    reached = {each.passage.node for each in case.forward_passages}
    for finding, reply in _unseen(prospect, case):
        came = (case.forward.end in ARRIVED) if reply else (finding.node in reached or not reached)
        if came:
            here.append(finding)
        else:
            further.append(would_also(finding))
    fabric = prospect.fabric
    beyond = way_beyond(prospect.walk, fabric)
    if beyond is not None:
        stop = prospect.walk.forward[-1].node
        # Back at the node that stopped the packet, one cause would be told twice.
        rest = _unseen(prospect_of(beyond, fabric, port_known=False), case)
        further += [would_also(finding) for finding, _ in rest if finding.node != stop]
    return here, further


def _unseen(prospect: Prospect, case: Case) -> Iterator[tuple[Finding, bool]]:
    """With each whether it is of the way back."""
    inventory = case.record.inventory
    there = foreseen(replace(prospect, walk=replace(prospect.walk, reply_arrival=None)), inventory)
    back = [finding for finding in foreseen(prospect, inventory) if finding not in there]
    yield from ((finding, False) for finding in _uncontradicted(there, case, reply=False))
    yield from ((finding, True) for finding in _uncontradicted(back, case, reply=True))


def _uncontradicted(found: Sequence[Finding], case: Case, *, reply: bool) -> Iterator[Finding]:
    """Those that no packet shows to be wrong."""
    fate = case.reply if reply else case.forward
    passages = case.reply_passages if reply else case.forward_passages
    if fate.end in ARRIVED:
        yield from (finding for finding in found if finding.code in UNSEEABLE and case.reply.end is End.NOT_SEEN)
        return
    passed = {each.passage.node for each in passages if each.passage.departure is not None}
    for finding in found:
        if finding.node not in passed or finding.code in UNSEEABLE:
            yield finding


def _defects(case: Case, prospect: Prospect | None) -> Iterator[Defect]:
    """Of the nodes that the packet came to, or would have, those that can hurt this flow."""
    ends = _ends(case, prospect)
    record, question = case.record, case.record.question
    fabric = prospect.fabric if prospect else fabric_of(case.models, record.inventory)
    last = case.forward.last.passage.after.destination if case.forward.last else question.destination.socket.address
    translated = any(
        each.passage.before.destination != each.passage.after.destination for each in case.forward_passages
    )
    to_service = question.destination.kind == "service" or translated
    yield from hurting(_nodes(case, prospect), ends, last, fabric, record.inventory, to_service=to_service)


def _is_redirected(expected: ExpectedPassage) -> bool:
    return (
        expected.passage.before.destination_socket != expected.passage.after.destination_socket and not expected.reply
    )


def _ends(case: Case, prospect: Prospect | None) -> frozenset[Address]:
    """Every address that the packet had, as it was seen and as it was expected."""
    question = case.record.question
    flows = [flow for each in case.passages for flow in (each.passage.before, each.passage.after)]
    if prospect is not None:
        flows += [flow for stretch in prospect.stretches for flow in (stretch.leg.before, stretch.leg.after)]
    asked = (question.source.socket.address, question.destination.socket.address)
    return frozenset((*asked, *(address for flow in flows for address in (flow.source, flow.destination))))


def _nodes(case: Case, prospect: Prospect | None) -> tuple[str, ...]:
    legs = prospect.stretches if prospect else ()
    question = case.record.question
    named = (question.source.node, *(each.passage.node for each in case.passages), *(each.leg.node for each in legs))
    return tuple(dict.fromkeys(node for node in (*named, question.destination.node) if node))
