"""The words and numbers of a message as a person reads them: sockets, tuples, times, witnesses. Knows no layout."""

from collections.abc import Iterable

from google.protobuf.timestamp_pb2 import Timestamp

from pathtap.cli.exit_codes import is_refused
from pathtap.v1 import trace_pb2

_R = trace_pb2.Verdict.Reply
_ICMP = frozenset({"icmp", "icmpv6"})


def address_port(address: str, port: int) -> str:
    """`192.0.2.1:443`, `[2001:db8::1]:443` (RFC 5952), or the address alone where there is no port."""
    if not port:
        return address
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def socket_text(socket: trace_pb2.Socket, protocol: str) -> str:
    """For ICMP the port is the identifier: `192.0.2.1 id 7`."""
    if protocol in _ICMP and socket.port:
        return f"{socket.address} id {socket.port}"
    return address_port(socket.address, socket.port)


def tuple_text(tuple_: trace_pb2.Tuple) -> str:
    """`a:1 → b:2`; for ICMP `a → b id 7`, once, since the identifier is neither end's."""
    source, destination = tuple_.source, tuple_.destination
    if tuple_.protocol in _ICMP:
        identifier = source.port or destination.port
        return f"{source.address} → {destination.address}" + (f" id {identifier}" if identifier else "")
    return f"{address_port(source.address, source.port)} → {address_port(destination.address, destination.port)}"


def target_text(target: trace_pb2.Target) -> str:
    """`shop/cart 192.168.1.116:80`, and an address without a name alone."""
    where = address_port(target.address, target.port)
    name = target.name if target.name != target.address else ""
    return " ".join(part for part in (name, where) if part) or "?"


def nanoseconds(at: Timestamp) -> int:
    return at.seconds * 10**9 + at.nanos


def since(at: Timestamp, first: Timestamp) -> str:
    """`+0.031 ms`. Negative between nodes whose clocks differ: hops are ordered by identity and not by clock."""
    return f"{(nanoseconds(at) - nanoseconds(first)) / 1e6:+.3f} ms"


def milliseconds(microseconds: float) -> str:
    """Two or three figures: 0.084 ms, 1.2 ms, 340 ms."""
    value = microseconds / 1000
    digits = 3 if value < 1 else 1 if value < 100 else 0
    return f"{value:.{digits}f} ms"


def witness_text(witnesses: Iterable[trace_pb2.Step.Witness]) -> str:
    """`recorded, observed`: each once, in the order given; one that this program does not know by its number."""
    names = trace_pb2.Step.Witness.DESCRIPTOR.values_by_number
    return ", ".join(dict.fromkeys(names[w].name.lower() if w in names else f"witness {w}" for w in witnesses if w))


def step_witnesses(step: trace_pb2.Step) -> list[trace_pb2.Step.Witness]:
    return list(step.witnesses) or [evidence.witness for evidence in step.evidence]


def rule_text(rule: trace_pb2.RuleReference) -> str:
    """`nat AWS-SNAT-CHAIN-0 #2 (iptables-nft, random fully)`."""
    where = f"{rule.table} {rule.chain}".strip()
    position = f" #{rule.position}" if rule.position else ""
    flag = {"fully": "random fully", "random": "random"}.get(rule.random, "")
    more = ", ".join(part for part in (rule.backend, flag) if part)
    return f"{where}{position}" + (f" ({more})" if more else "")


def verdict_text(trace: trace_pb2.Trace) -> str:
    """`LEFT CLUSTER, answered in 1.2 ms`; `refused in` where the answer is a refusal."""
    verdict, disposition = trace.verdict, _disposition_text(trace.verdict)
    answered = "refused" if is_refused(verdict) else "answered"
    if trace.HasField("round_trip_us"):
        answered += f" in {milliseconds(trace.round_trip_us)}"
    reply = {_R.ANSWERED: answered, _R.UNANSWERED: "no answer", _R.LOST: "the reply was lost"}.get(verdict.reply, "")
    return ", ".join(part for part in (disposition, reply) if part)


def expected_verdict_text(trace: trace_pb2.Trace) -> str:
    """`would be: LEFT CLUSTER, answered`."""
    verdict, disposition = trace.verdict, _disposition_text(trace.verdict)
    if verdict.disposition == trace_pb2.Verdict.INSUFFICIENT_EVIDENCE:
        return disposition
    reply = {_R.ANSWERED: "answered", _R.UNANSWERED: "no answer", _R.LOST: "the reply lost"}.get(verdict.reply, "")
    return f"would be: {', '.join(part for part in (disposition, reply) if part)}"


def _disposition_text(verdict: trace_pb2.Verdict) -> str:
    known = trace_pb2.Verdict.Disposition.DESCRIPTOR.values_by_number.get(verdict.disposition)
    return known.name.replace("_", " ") if known and known.number else "NO VERDICT"
