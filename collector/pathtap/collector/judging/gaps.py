"""What could not be read or seen, and which of it decides. Pure.

A gap is decisive when it could change the disposition, the reply or the claim. What blinds is such a gap: an agent, a capture,
the interfaces, lost packets, on a node that had to see the packet, unless an answer was followed all the way back. What
could not be read of a node's rules changes no disposition: packets tell that, and a refusal shows itself.
"""

from collections.abc import Iterator
from dataclasses import replace

from pathtap.collector.judging.accounts import unaccounted
from pathtap.collector.judging.case import Case
from pathtap.collector.judging.fate import End
from pathtap.model.node import Role
from pathtap.model.packet import Lost
from pathtap.model.request import ProbeOutcome
from pathtap.model.trace import Gap, Target

BLINDING = ("agent", "capture", "links", "probe", "snapshot")


def gaps_of(case: Case, *, answered: bool) -> tuple[Gap, ...]:
    """`answered`: an answer was followed all the way back, so nothing that was missed can change what happened."""
    needed = _needed_nodes(case)
    record = case.record
    losses = (*(loss_gap(lost) for lost in record.lost), *unaccounted(record.accounts))
    reported = (*record.gaps, *_unread(case), *losses)
    found = [
        *(_weighed(gap, case, needed, answered) for gap in reported),
        *_unknown(case),
        *_probe_failures(case),
        *(() if answered else _unseen(case)),
    ]
    return tuple(dict.fromkeys(found))


def loss_gap(lost: Lost) -> Gap:
    """The count is 0 where nobody knows it (docs/wire.md): a gap all the same."""
    counted = "1 packet was" if lost.count == 1 else f"{lost.count or 'an unknown number of'} packets were"
    why = f"{counted} lost at {lost.where}{f' ({lost.why})' if lost.why else ''}"
    return Gap(node=lost.node, part=f"capture ({lost.interface})" if lost.interface else "capture", why=why)


def is_blinding(gap: Gap) -> bool:
    """`capture (eth1)` as well as `capture`."""
    return gap.part.partition(" ")[0] in BLINDING


def _weighed(gap: Gap, case: Case, needed: frozenset[str], answered: bool) -> Gap:
    stopped_here = any(
        fate.end is End.STOPPED and fate.last is not None and fate.last.passage.node == gap.node
        for fate in (case.forward, case.reply)
    )
    # Without conntrack a translated packet may have left under a tuple that nobody knows again.
    blinds = is_blinding(gap) or (gap.part == "conntrack" and stopped_here)
    # An agent that went away is decisive even where its packets had come by then: who knows what else had not.
    return replace(gap, decisive=gap.node in needed and blinds and (gap.part == "agent" or not answered))


def _needed_nodes(case: Case) -> frozenset[str]:
    """Nodes whose sight decides: the source's, where the packet was last seen, and whose address it was then going to.

    So of a service's backends the one that was reached, not all of them; and nobody beyond the node where it stopped.
    """
    question = case.record.question
    nodes = {question.source.node}
    if case.forward.end not in (End.STOPPED, End.LOOPED):
        nodes.add(question.destination.node)
    for fate in (case.forward, case.reply):
        if fate.last is not None:
            nodes.add(fate.last.passage.node)
        if fate.owner is not None and fate.end not in (End.STOPPED, End.LOOPED):
            nodes.add(fate.owner.node)
    return frozenset(node for node in nodes if node)


def _unread(case: Case) -> Iterator[Gap]:
    for node, snapshot in case.record.snapshots.items():
        yield from (Gap(node=node, part=unread.part, why=unread.reason) for unread in snapshot.unread)


def _unknown(case: Case) -> Iterator[Gap]:
    for expected in case.passages:
        for why in expected.prediction.unknown if expected.prediction else ():
            yield Gap(node=expected.passage.node, part="expectation", why=why)


def _probe_failures(case: Case) -> Iterator[Gap]:
    for report in case.record.reports:
        if report.outcome is ProbeOutcome.FAILED:
            node = case.record.question.source.node
            yield Gap(
                node=node, part="probe", why=report.detail, decisive=not case.record.sent and case.forward.last is None
            )


def _unseen(case: Case) -> Iterator[Gap]:
    """Where nobody looked, though no agent said that it could not."""
    record, source = case.record, case.record.question.source
    if record.question.live and case.forward.end is End.NOT_SEEN:
        why = "no matching traffic came while it was waited for"
        yield Gap(node=source.node, part="live traffic", why=why, decisive=True)
    if case.report is not None and case.report.outcome is ProbeOutcome.ANSWERED:
        yield _answered_unseen(case)
    for end in dict.fromkeys(_ends_in_doubt(case)):
        if why := _not_watched(end, case):
            yield Gap(node=end.node, part="capture", why=why, decisive=True)


def _answered_unseen(case: Case) -> Gap:
    source, destination = case.record.question.source, case.record.question.destination
    address, own_node = destination.socket.address, not case.record.question.source_has_namespace
    if address.is_loopback or address == source.socket.address or (own_node and source.node == destination.node):
        why = "the probe was answered, but what one sends to oneself passes by lo, which is not captured"
        return Gap(node=source.node, part="loopback", why=why, decisive=True)
    why = "the probe was answered, but its answer was not seen on the way back"
    return Gap(node=source.node, part="capture", why=why, decisive=True)


def _ends_in_doubt(case: Case) -> Iterator[Target]:
    """Where the packet would have shown, had it come there."""
    if case.forward.end is End.NOT_SEEN:
        yield case.record.question.source
    for fate in (case.forward, case.reply):
        if fate.last is None or fate.owner is None:
            continue
        if fate.end is End.NOT_ARRIVED or (fate.end is End.STOPPED and fate.owner.node == fate.last.passage.node):
            yield fate.owner


def _not_watched(end: Target, case: Case) -> str:
    """Why an end's packets could not be seen, or nothing; what an agent said of it itself is a gap already."""
    if not end.node or any(gap.node == end.node and is_blinding(gap) for gap in case.record.gaps):
        return ""
    captured = case.record.captured.get(end.node, ())
    if not captured:
        return "none of its interfaces was captured"
    snapshot = case.record.snapshots.get(end.node)
    if end.kind != "pod" or end.host_network or snapshot is None:
        return ""
    veths = [i.name for i in snapshot.interfaces if i.role is Role.POD_VETH and end.socket.address in i.pod_addresses]
    if not veths and case.forward.end is not End.NOT_SEEN:
        # A veth is known by the routes that lead to it: without one the missing route is the cause, not the missing eye.
        return ""
    return "" if set(veths) & set(captured) else f"the veth of {end.name} was not captured"
