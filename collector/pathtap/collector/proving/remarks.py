"""Sentences beside the verdict: that nobody answered, and what becomes of connections that it is not about. Pure."""

from collections.abc import Iterator, Sequence

from pathtap.collector.proving.meeting import Meeting, destinations_text
from pathtap.collector.proving.telling import flag_words, rule_words
from pathtap.model.snat import Opened, Snat, Standing

# Kinds of other traffic that are told one by one.
MOST_TOLD = 4


def unanswered(opened: Opened | None) -> Iterator[str]:
    """`opened` is None where nothing was sent."""
    if opened is not None and not opened.answered and not opened.refused and opened.total > opened.failed:
        yield f"None of the {opened.total - opened.failed} was answered: `pathtap trace` shows where they end."


def others(rest: Sequence[tuple[Meeting, Snat]]) -> Iterator[str]:
    """A sentence on each kind of traffic: how many connections meet which rule, and the verdict on these."""
    for meeting, snat in rest[:MOST_TOLD]:
        towards = destinations_text(meeting.entries) or "what lies outside of the VPC"
        count = len(meeting.entries)
        many = f"{count} other connection{'s' if count != 1 else ''}" if count else "None of the connections seen"
        meet = "meet" if count > 1 else "meets"
        as_set = ", as intended" if snat.as_intended else ""
        where = f", to {towards}," if count else ""
        what = _rule(snat) if count else f"{_rule(snat)}, as what goes to {towards} does"
        yield f"{many}{where} {meet} {what}: {snat.verdict.value}{as_set}."
    more = sum(len(meeting.entries) for meeting, _ in rest[MOST_TOLD:])
    if more:
        yield f"{more} more meet other rules."


def _rule(snat: Snat) -> str:
    """`nat POSTROUTING #1 (…) with no flag`."""
    if snat.rule is not None:
        return f"{rule_words(snat.rule)} with {flag_words(snat.rule)}"
    undecided = sum(each.standing is Standing.UNDECIDED for each in snat.rules)
    return f"one of {undecided} rules" if undecided else "no rule that translates"
