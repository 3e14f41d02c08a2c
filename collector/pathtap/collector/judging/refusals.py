"""Who refused a packet: its destination, or a node in its place; and the proof. Pure; decides no disposition."""

from dataclasses import replace

from pathtap.collector import findings
from pathtap.collector.joining.correlate import packet_label
from pathtap.collector.joining.expect import ExpectedPassage
from pathtap.collector.judging.case import Case
from pathtap.collector.judging.causes import cause_of_local_drop, cause_of_stop, sighting
from pathtap.collector.judging.fate import End
from pathtap.collector.judging.losses import explained
from pathtap.collector.plan import opens
from pathtap.model.address import Protocol
from pathtap.model.packet import PacketObservation, TcpFlag
from pathtap.model.request import ProbeOutcome
from pathtap.model.trace import Evidence, Finding, Witness

# Causes that answer in the destination's place.
REJECTIONS = ("FILTER_REJECT", "SERVICE_WITHOUT_ENDPOINTS", "UNREACHABLE_ROUTE", "PROHIBIT_ROUTE")
# Causes of which the kernel itself tells the sender by an ICMP error, though no rule or route says so.
ANSWERED_BY_THE_KERNEL = ("NO_ROUTE_TO_DESTINATION", "POD_ROUTE_MISSING", "NEIGHBOUR_FAILED")


def rejection_of(case: Case) -> Finding | None:
    """A rule or a route of a node of ours answered in the destination's place, by an ICMP error or an RST."""
    last = case.forward.last
    if last is None:
        return None
    node, proof = _answer_of_a_node(case, last)
    if not proof:
        return None
    if case.forward.end is End.DELIVERED:
        cause = cause_of_local_drop(last)
        return replace(cause, evidence=(*cause.evidence, *proof)) if cause and cause.code in REJECTIONS else None
    if last.passage.departure is not None:
        return findings.rejected_by_node(node, proof)
    cause = cause_of(case, last)
    if cause.code in REJECTIONS:
        return replace(cause, evidence=(*cause.evidence, *proof))
    if cause.code in ANSWERED_BY_THE_KERNEL:
        return None
    return findings.rejected_by_node(node, (*cause.evidence, *proof))


def _answer_of_a_node(case: Case, last: ExpectedPassage) -> tuple[str, tuple[Evidence, ...]]:
    """Which node answered, and the proof: an ICMP error of a node's, an RST that left a node without having come to it.

    A node that refuses what it sends itself answers over lo, where only the probe hears it.
    """
    for error in refusing_errors(case):
        if (sender := case.record.inventory.node_at(error.headers.five_tuple.source)) is not None:
            return sender.name, sighting(error)
    first = case.journey.reply[0] if case.journey.reply else None
    if first is not None and first.arrival is None and first.departure is not None and _is_reset(first.departure):
        return first.node, sighting(first.departure)
    outcomes = {report.outcome for report in case.record.reports}
    if last.is_unseen and outcomes & {ProbeOutcome.REFUSED, ProbeOutcome.UNREACHABLE}:
        return last.passage.node, (probe_evidence(case),)
    return "", ()


def refusal_of(case: Case) -> Finding | None:
    """The destination's own RST or ICMP error."""
    if case.forward.last is None:
        return None
    reached = case.forward.last.passage.after
    destination, node = str(reached.destination_socket), case.forward.owner.node if case.forward.owner else ""
    first = case.journey.forward[0].arrival or case.journey.forward[0].departure
    for passage in case.journey.reply[:1]:
        seen = passage.arrival or passage.departure
        # An RST ends a conversation, too: only one that answers a SYN says that nobody listens.
        if seen is not None and _is_reset(seen) and (first is None or opens(first.headers)):
            return findings.connection_refused(node, destination, sighting(seen, "RST"))
    for error in refusing_errors(case):
        if error.headers.five_tuple.source == reached.destination:
            return findings.port_unreachable(
                node, destination, packet_label(error.headers), sighting(error, "ICMP error")
            )
    return None


def refusing_errors(case: Case) -> list[PacketObservation]:
    """ICMP errors that end a packet's way. Redirects, time exceeded and what tells an MTU are none (RFC 792, RFC 4443)."""
    return [error for error in case.journey.errors if _is_unreachable(error)]


def _is_unreachable(error: PacketObservation) -> bool:
    icmp = error.headers.icmp
    if icmp is None:
        return False
    if error.headers.five_tuple.protocol == Protocol.ICMPV6:
        return icmp.type == 1
    return icmp.type == 3 and icmp.code != 4


def _is_reset(seen: PacketObservation) -> bool:
    return seen.headers.tcp is not None and TcpFlag.RST in seen.headers.tcp.flags


def cause_of(case: Case, last: ExpectedPassage) -> Finding:
    """Why the packet stopped there; kube-proxy's refusal of a service without endpoints goes by its own name."""
    cause = explained(case, last, cause_of_stop(last, case.record.inventory))
    destination = case.record.question.destination
    if cause.code != "FILTER_REJECT" or destination.kind != "service" or case.record.question.backends:
        return cause
    claim = f"the inventory has no ready address for {destination.name}"
    says = Evidence(witness=Witness.RECORDED, claim=claim, source="inventory")
    return findings.service_without_endpoints(cause.node, destination.name, (*cause.evidence, says))


def probe_evidence(case: Case) -> Evidence:
    report, node = case.report or case.record.reports[0], case.record.question.source.node
    claim = f"{report.outcome.value.lower()}: {report.detail or report.five_tuple}"
    return Evidence(witness=Witness.OBSERVED, claim=claim, source=f"{node} probe", at=report.sent_at)
