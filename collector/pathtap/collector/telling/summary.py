"""One sentence a person can act on. Pure: says what the verdict holds and adds nothing to it."""

from collections.abc import Sequence

from pathtap.collector.cluster.inventory import Inventory
from pathtap.collector.joining.expect import ExpectedPassage
from pathtap.collector.judging.case import Case
from pathtap.collector.judging.parting import parting
from pathtap.collector.telling.narrate import interface_words
from pathtap.collector.telling.words import milliseconds
from pathtap.model.trace import Disposition, Gap, Reply, Severity, Target, Trace


def summarise(trace: Trace, case: Case) -> str:
    """Trace's verdict has its findings and gaps but no summary yet."""
    verdict = trace.verdict
    errors = [finding for finding in verdict.findings if finding.severity is Severity.ERROR]
    if verdict.disposition is Disposition.INSUFFICIENT_EVIDENCE:
        return _insufficient(trace, case)
    if verdict.disposition in (Disposition.DELIVERED, Disposition.LEFT_CLUSTER):
        parts = [_arrived(trace, case) + _answered(trace)]
    else:
        parts = [f"{end_words(trace.source)} does not reach {end_words(trace.destination)}{_last_seen(case)}."]
    parts.extend(sentence(finding.text, case.record.inventory) for finding in errors[:2])
    if parted := _parting(trace):
        parts.append(f"Expectation and observation part: {parted}.")
    if note := other_eni(trace, case.forward_passages):
        parts.append(note)
    return " ".join(parts)


def _parting(trace: Trace) -> str:
    """On the way there; on the way back where the answer set out and was lost."""
    there = parting(trace.forward, trace.expected_forward)
    lost = trace.verdict.reply is Reply.LOST
    return there or (parting(trace.reply, trace.expected_reply) if lost and trace.reply.hops else "")


def end_words(target: Target) -> str:
    """`shop/cart (192.168.1.41)`, or the address alone."""
    where = str(target.socket) if target.socket.port else str(target.socket.address)
    return f"{target.name} ({where})" if target.name else where


def _arrived(trace: Trace, case: Case) -> str:
    left = way_out(trace, case.forward_passages)
    if trace.verdict.disposition is Disposition.LEFT_CLUSTER:
        return f"{end_words(trace.source)} leaves the cluster{left} towards {end_words(trace.destination)}"
    through = f", there {trace.dnat.backend_pod}," if trace.dnat.applied and trace.dnat.backend_pod else ""
    return f"{end_words(trace.source)} reaches {end_words(trace.destination)}{through}{left}"


def way_out(trace: Trace, passages: Sequence[ExpectedPassage]) -> str:
    """` by eth0 (primary ENI eni-0a1f) as 192.168.1.29:50712`, or nothing; `passages` are those of the way there."""
    if trace.egress is None or not passages:
        return ""
    role = interface_words(passages[0], trace.egress.interface)
    by = f" by {trace.egress.interface}{f' ({role})' if role else ''}"
    return f"{by} as {_translated(trace)}" if trace.snat.applied else by


def _translated(trace: Trace) -> str:
    """An ICMP identifier is no port, and is not written as one."""
    translated = trace.snat.translated
    if translated is None or not trace.protocol.startswith("icmp"):
        return str(translated)
    return f"{translated.address} id {translated.port}" if translated.port else str(translated.address)


def _answered(trace: Trace) -> str:
    match trace.verdict.reply:
        case Reply.ANSWERED:
            took = f" in {milliseconds(trace.round_trip)}" if trace.round_trip is not None else ""
            return f" and is answered{took}."
        case Reply.LOST:
            return "; its answer is lost on the way back."
        case Reply.UNANSWERED:
            return "; no answer comes back."
        case _:
            return "."


def _last_seen(case: Case) -> str:
    last = case.forward.last
    if last is None:
        return ""
    seen = last.passage.departure or last.passage.arrival
    if seen is None:
        return ""
    way = "leaving by" if last.passage.departure else "coming in on"
    return f": it was last seen on {seen.node}, {way} {seen.interface}"


def other_eni(trace: Trace, passages: Sequence[ExpectedPassage]) -> str:
    """Says why a pod's packet leaves by another ENI than the pod's own."""
    if trace.egress is None or not passages or not trace.snat.applied:
        return ""
    first = passages[0]
    source = first.passage.before.source
    own = next(
        (
            i
            for i in (first.snapshot.interfaces if first.snapshot else ())
            if i.role.is_eni and any(source in network for network in i.eni_addresses)
        ),
        None,
    )
    taken = first.snapshot.interface(trace.egress.interface) if first.snapshot else None
    if own is None or taken is None or not taken.role.is_eni or own.name == taken.name:
        return ""
    named = f"{own.name} ({own.eni_id})" if own.eni_id else own.name
    return (
        f"The pod's own ENI is {named}; {trace.egress.rule or 'a rule'} sends this packet by {trace.egress.interface}."
    )


def _insufficient(trace: Trace, case: Case) -> str:
    why = next((gap for gap in trace.verdict.gaps if gap.decisive), None)
    seen = _last_seen(case).removeprefix(": it was ")
    so_far = f" The packet was {seen}." if seen else ""
    answered = trace.round_trip is not None
    whole = (
        "An answer came, but not all of its way was seen." if answered else "What became of the packet cannot be said."
    )
    reason = gap_words(why, case.record.inventory) if why else "Nothing was seen."
    return f"{whole} {reason}{so_far}"


def gap_words(gap: Gap, inventory: Inventory) -> str:
    return sentence(f"{gap.node}: {gap.why}" if gap.node else gap.why, inventory)


def sentence(text: str, inventory: Inventory) -> str:
    """Begins with a capital, unless it begins with a name, which is written as it is: ip-192-168-1-29, shop/cart, worker."""
    first = text.partition(" ")[0]
    is_word = first.isalpha() and first not in inventory.nodes
    return (text[:1].upper() + text[1:] if is_word else text) + ("" if text.endswith(".") else ".")
