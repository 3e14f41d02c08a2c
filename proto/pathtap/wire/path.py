"""Steps, hops and paths with their evidence, towards the printed form. Knows no verdict."""

from pathtap.model.address import FiveTuple, Socket, protocol_name
from pathtap.model.trace import Action, Cause, CauseKind, Evidence, Hop, Path, Step, Witness
from pathtap.v1 import trace_pb2 as pb
from pathtap.wire.addresses import timestamp_to_wire
from pathtap.wire.errors import EnumTable

WITNESSES = EnumTable(
    "witness",
    {
        Witness.EXPECTED: pb.Step.EXPECTED,
        Witness.OBSERVED: pb.Step.OBSERVED,
        Witness.RECORDED: pb.Step.RECORDED,
        Witness.ASSUMED: pb.Step.ASSUMED,
    },
)
ACTIONS = EnumTable(
    "step's action",
    {
        Action.RECEIVED: pb.Step.RECEIVED,
        Action.SENT: pb.Step.SENT,
        Action.MARKED: pb.Step.MARKED,
        Action.ROUTED: pb.Step.ROUTED,
        Action.TRANSLATED: pb.Step.TRANSLATED,
        Action.FORWARDED: pb.Step.FORWARDED,
        Action.DELIVERED: pb.Step.DELIVERED,
        Action.DROPPED: pb.Step.DROPPED,
        Action.REJECTED: pb.Step.REJECTED,
        Action.TRACKED: pb.Step.TRACKED,
    },
)
CAUSES = EnumTable(
    "cause's kind",
    {
        CauseKind.PACKET: pb.Cause.PACKET,
        CauseKind.IP_RULE: pb.Cause.IP_RULE,
        CauseKind.ROUTE: pb.Cause.ROUTE,
        CauseKind.NETFILTER_RULE: pb.Cause.NETFILTER_RULE,
        CauseKind.CONNTRACK: pb.Cause.CONNTRACK,
        CauseKind.FABRIC: pb.Cause.FABRIC,
    },
)


def socket_to_wire(socket: Socket) -> pb.Socket:
    return pb.Socket(address=str(socket.address), port=socket.port)


def optional_socket_to_wire(socket: Socket | None) -> pb.Socket | None:
    return None if socket is None else socket_to_wire(socket)


def tuple_to_wire(five_tuple: FiveTuple) -> pb.Tuple:
    return pb.Tuple(
        protocol=protocol_name(five_tuple.protocol),
        source=socket_to_wire(five_tuple.source_socket),
        destination=socket_to_wire(five_tuple.destination_socket),
    )


def optional_tuple_to_wire(five_tuple: FiveTuple | None) -> pb.Tuple | None:
    return None if five_tuple is None else tuple_to_wire(five_tuple)


def evidence_to_wire(evidence: Evidence) -> pb.Evidence:
    return pb.Evidence(
        witness=WITNESSES.to_wire(evidence.witness),
        claim=evidence.claim,
        source=evidence.source,
        at=None if evidence.at is None else timestamp_to_wire(evidence.at),
    )


def path_to_wire(path: Path) -> pb.Path:
    return pb.Path(hops=[_hop_to_wire(hop) for hop in path.hops])


def _hop_to_wire(hop: Hop) -> pb.Hop:
    return pb.Hop(
        node=hop.node, ingress=hop.ingress, egress=hop.egress, steps=[_step_to_wire(step) for step in hop.steps]
    )


def _step_to_wire(step: Step) -> pb.Step:
    return pb.Step(
        action=ACTIONS.to_wire(step.action),
        before=optional_tuple_to_wire(step.before),
        after=optional_tuple_to_wire(step.after),
        cause=None if step.cause is None else _cause_to_wire(step.cause),
        witnesses=[WITNESSES.to_wire(witness) for witness in step.witnesses],
        evidence=[evidence_to_wire(evidence) for evidence in step.evidence],
        interface=step.interface,
        at=None if step.at is None else timestamp_to_wire(step.at),
        packet=step.packet,
    )


def _cause_to_wire(cause: Cause) -> pb.Cause:
    return pb.Cause(kind=CAUSES.to_wire(cause.kind), text=cause.text)
