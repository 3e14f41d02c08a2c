"""The answer where present connections meet several rules: each kind of traffic is judged, and the worst is the answer. Pure."""

from collections.abc import Sequence
from dataclasses import replace

from pathtap.collector.cluster.inventory import Inventory
from pathtap.collector.proving.meeting import Meeting, destinations_text, meetings, of_meeting, opened_entries
from pathtap.collector.proving.proof import opened_counts, prove
from pathtap.collector.proving.remarks import others
from pathtap.collector.proving.subject import Found, Subject, words_of_pod
from pathtap.model.conntrack import ConntrackEntry
from pathtap.model.snat import Snat, SnatVerdict, Standing
from pathtap.model.trace import Gap

Judged = tuple[Meeting, Snat]


def answer(subject: Subject, found: Found, inventory: Inventory) -> Snat:
    """What is not as intended goes first, then what was asked about, then that of which there are most connections. The
    summary says of the others how many connections there are, and what becomes of them.
    """
    opened = found.opened
    entries = opened_entries(opened.connections, subject.snapshot.node) if opened else found.seen.entries
    judged, left_out = _judged((subject,), found, entries, inventory)
    if opened is not None or (subject.asked.question is not None and not subject.asked.protocol):
        # The packet that was to stand for all need not do so where connections show which protocols or source ports there are.
        judged = [each for each in judged if each[0].entries] or judged
    chosen = min(judged, key=_weight)
    rest = [each for each in judged if each is not chosen]
    return replace(
        chosen[1],
        opened=opened_counts(opened) if opened else None,
        summary=" ".join((chosen[1].summary, *others(rest))),
        gaps=tuple(dict.fromkeys((*chosen[1].gaps, *left_out))),
    )


def rows(subjects: Sequence[Subject], found: Found, inventory: Inventory) -> tuple[Snat, ...]:
    """One for each of `subjects`, which are of one node, and for each further kind of traffic of its pods; what no rule
    translates, and was not to be, has none.
    """
    if not subjects:
        return ()
    view = subjects[0].view
    asked = {each.packet.five_tuple.source for each in subjects}
    sources = {each.original.source for each in found.seen.entries}
    own = {each for each in sources if view.veth(each) is not None or each in asked}
    entries = [each for each in found.seen.entries if each.original.source in own]
    judged, left_out = _judged(subjects, found, entries, inventory)
    kept = [snat for meeting, snat in judged if meeting.subject.is_asked or not _is_beside(snat)]
    return tuple(replace(snat, gaps=tuple(dict.fromkeys((*snat.gaps, *left_out)))) for snat in kept)


def _judged(
    subjects: Sequence[Subject], found: Found, entries: Sequence[ConntrackEntry], inventory: Inventory
) -> tuple[list[Judged], tuple[Gap, ...]]:
    met, left_out = meetings(subjects, entries, found.seen.fresh)
    found = replace(found, mappings=(*found.mappings, *found.seen.entries))
    judged = [(each, prove(_named(each), _of(found, each), inventory)) for each in met]
    return judged, (*left_out, *_left_off(subjects[0], found))


def _of(found: Found, meeting: Meeting) -> Found:
    if found.opened is not None:
        return replace(found, opened=of_meeting(found.opened, meeting))
    return replace(found, seen=replace(found.seen, entries=meeting.entries, fresh=meeting.fresh))


def _named(meeting: Meeting) -> Subject:
    """What present connections brought up is called by them."""
    subject, entries = meeting.subject, meeting.entries
    if subject.is_asked:
        return subject
    sources = () if subject.addresses else {each.original.source for each in entries}
    pods = {words_of_pod(subject.view, each) for each in sources}
    whose = next(iter(pods)) if len(pods) == 1 else ""
    return replace(subject, whose=whose, towards=destinations_text(entries))


def _weight(judged: Judged) -> tuple[bool, bool, int]:
    """The least is the answer. A few connections of another kind, too few to tell, leave open nothing that was asked about."""
    meeting, snat = judged
    asked = meeting.subject.is_asked
    told = snat.as_intended or snat.verdict is SnatVerdict.INCONCLUSIVE or (not asked and _is_beside(snat))
    return told, not asked, -len(meeting.entries)


def _is_beside(snat: Snat) -> bool:
    """Whether it is what no rule translates, and nobody told that one should: most of what a pod does inside the VPC."""
    none = snat.verdict is SnatVerdict.NOT_TRANSLATED and (snat.intent is None or snat.as_intended)
    may_be = any(each.standing in (Standing.FIRST, Standing.UNDECIDED) for each in snat.rules)
    return none or (snat.verdict is SnatVerdict.INCONCLUSIVE and not may_be)


def _left_off(subject: Subject, found: Found) -> tuple[Gap, ...]:
    count, off = len(found.seen.entries), found.seen.left_off
    if not off:
        return ()
    why = f"the newest {count:,} of {count + off:,} connections were looked at"
    return (Gap(node=subject.snapshot.node, part="conntrack", why=why),)
