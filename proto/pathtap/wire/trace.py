"""Traces and flows towards a person: what `-o json` prints. One direction only; addresses are strings here."""

from collections.abc import Mapping, Sequence

from pathtap.model.account import Account
from pathtap.model.trace import (
    DestinationNat,
    Disposition,
    Egress,
    Finding,
    Flow,
    Gap,
    Reply,
    RuleReference,
    Severity,
    SourceNat,
    Target,
    Trace,
    Verdict,
)
from pathtap.v1 import trace_pb2 as pb
from pathtap.wire.addresses import timestamp_to_wire
from pathtap.wire.errors import EnumTable, WireError
from pathtap.wire.path import (
    evidence_to_wire,
    optional_socket_to_wire,
    optional_tuple_to_wire,
    path_to_wire,
    tuple_to_wire,
)

TARGETS: Mapping[str, pb.Target.Kind] = {
    "pod": pb.Target.POD,
    "node": pb.Target.NODE,
    "service": pb.Target.SERVICE,
    "address": pb.Target.ADDRESS,
}
DISPOSITIONS = EnumTable(
    "disposition",
    {
        Disposition.DELIVERED: pb.Verdict.DELIVERED,
        Disposition.LEFT_CLUSTER: pb.Verdict.LEFT_CLUSTER,
        Disposition.DROPPED: pb.Verdict.DROPPED,
        Disposition.NO_ROUTE: pb.Verdict.NO_ROUTE,
        Disposition.LOOPED: pb.Verdict.LOOPED,
        Disposition.REJECTED: pb.Verdict.REJECTED,
        Disposition.INSUFFICIENT_EVIDENCE: pb.Verdict.INSUFFICIENT_EVIDENCE,
    },
)
REPLIES = EnumTable(
    "reply",
    {
        Reply.ANSWERED: pb.Verdict.ANSWERED,
        Reply.UNANSWERED: pb.Verdict.UNANSWERED,
        Reply.LOST: pb.Verdict.LOST,
        Reply.NOT_SEEN: pb.Verdict.NOT_SEEN,
    },
)
SEVERITIES = EnumTable(
    "severity",
    {Severity.ERROR: pb.Finding.error, Severity.WARNING: pb.Finding.warning, Severity.NOTE: pb.Finding.note},
)
MICROSECOND = 1000


def trace_to_wire(trace: Trace) -> pb.Trace:
    """The round trip turns from nanoseconds into microseconds."""
    return pb.Trace(
        id=trace.id,
        started_at=timestamp_to_wire(trace.started_at),
        finished_at=timestamp_to_wire(trace.finished_at),
        source=target_to_wire(trace.source),
        destination=target_to_wire(trace.destination),
        protocol=trace.protocol,
        live=trace.live,
        five_tuple=optional_tuple_to_wire(trace.five_tuple),
        verdict=_verdict_to_wire(trace.verdict),
        egress=egress_to_wire(trace.egress),
        snat=_source_nat_to_wire(trace.snat),
        dnat=_destination_nat_to_wire(trace.dnat),
        forward=path_to_wire(trace.forward),
        reply=path_to_wire(trace.reply),
        round_trip_us=None if trace.round_trip is None else trace.round_trip / MICROSECOND,
        expected_forward=path_to_wire(trace.expected_forward),
        expected_reply=path_to_wire(trace.expected_reply),
        accounts=[_account_to_wire(account) for account in trace.accounts],
    )


def flows_to_wire(
    source: Target, started_at: int, finished_at: int, flows: Sequence[Flow], gaps: Sequence[Gap]
) -> pb.Flows:
    """Times are nanoseconds since the Unix epoch."""
    return pb.Flows(
        source=target_to_wire(source),
        started_at=timestamp_to_wire(started_at),
        finished_at=timestamp_to_wire(finished_at),
        flows=[_flow_to_wire(flow) for flow in flows],
        gaps=[gap_to_wire(gap) for gap in gaps],
    )


def _flow_to_wire(flow: Flow) -> pb.Flow:
    return pb.Flow(
        five_tuple=tuple_to_wire(flow.five_tuple),
        source=target_to_wire(flow.source),
        destination=target_to_wire(flow.destination),
        initiated=flow.initiated,
        first_seen=timestamp_to_wire(flow.first_seen),
        last_seen=timestamp_to_wire(flow.last_seen),
        packets_forward=flow.packets_forward,
        packets_reply=flow.packets_reply,
        egress=egress_to_wire(flow.egress),
        snat=_source_nat_to_wire(flow.snat),
        dnat=_destination_nat_to_wire(flow.dnat),
        nodes=flow.nodes,
        evidence=[evidence_to_wire(evidence) for evidence in flow.evidence],
    )


def target_to_wire(target: Target) -> pb.Target:
    try:
        kind = TARGETS[target.kind]
    except KeyError:
        raise WireError(f"A target is a pod, node, service or address, not {target.kind!r}.") from None
    return pb.Target(
        kind=kind,
        name=target.name,
        node=target.node,
        address=str(target.socket.address),
        port=target.socket.port,
        host_network=target.host_network,
    )


def _verdict_to_wire(verdict: Verdict) -> pb.Verdict:
    return pb.Verdict(
        disposition=DISPOSITIONS.to_wire(verdict.disposition),
        reply=REPLIES.to_wire(verdict.reply),
        summary=verdict.summary,
        findings=[finding_to_wire(finding) for finding in verdict.findings],
        gaps=[gap_to_wire(gap) for gap in verdict.gaps],
    )


def finding_to_wire(finding: Finding) -> pb.Finding:
    return pb.Finding(
        code=finding.code,
        severity=SEVERITIES.to_wire(finding.severity),
        node=finding.node,
        text=finding.text,
        fix=finding.fix,
        evidence=[evidence_to_wire(evidence) for evidence in finding.evidence],
    )


def gap_to_wire(gap: Gap) -> pb.Gap:
    return pb.Gap(node=gap.node, part=gap.part, why=gap.why, decisive=gap.decisive)


def _account_to_wire(account: Account) -> pb.Account:
    return pb.Account(
        node=account.node,
        interface=account.interface,
        accepted=account.accepted,
        delivered=account.delivered,
        lost=[pb.Account.Loss(where=each.where, count=each.count) for each in account.lost],
    )


def egress_to_wire(egress: Egress | None) -> pb.Egress | None:
    if egress is None:
        return None
    return pb.Egress(
        node=egress.node,
        interface=egress.interface,
        eni_id=egress.eni_id,
        table=egress.table,
        rule=egress.rule,
        route=egress.route,
    )


def _source_nat_to_wire(nat: SourceNat) -> pb.SourceNat:
    return pb.SourceNat(
        applied=nat.applied,
        original=optional_socket_to_wire(nat.original),
        translated=optional_socket_to_wire(nat.translated),
        rule=reference_to_wire(nat.rule),
        conntrack=nat.conntrack,
    )


def _destination_nat_to_wire(nat: DestinationNat) -> pb.DestinationNat:
    return pb.DestinationNat(
        applied=nat.applied,
        original=optional_socket_to_wire(nat.original),
        translated=optional_socket_to_wire(nat.translated),
        service=nat.service,
        backend_pod=nat.backend_pod,
        rule=reference_to_wire(nat.rule),
        conntrack=nat.conntrack,
    )


def reference_to_wire(rule: RuleReference | None) -> pb.RuleReference | None:
    if rule is None:
        return None
    return pb.RuleReference(
        backend=rule.backend.value,
        table=rule.table,
        chain=rule.chain,
        position=rule.position,
        text=rule.text,
        random=rule.random.value,
    )
