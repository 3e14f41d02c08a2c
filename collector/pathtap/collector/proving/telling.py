"""The sentences of a proof: what it comes to, and why. Pure; says what was judged and adds nothing to it."""

from collections import Counter
from collections.abc import Iterator

from pathtap.collector.proving.evidence import SAME_FOR_BOTH, Evidence, Ports, release
from pathtap.collector.proving.owners import EGRESS_CNI, VPC_CNI, owner_of_chain
from pathtap.collector.proving.statistics import NatRange, PortsSay, needed_for_kept
from pathtap.model.netfilter import Backend, Random
from pathtap.model.snat import SnatVerdict, Standing
from pathtap.model.trace import RuleReference

FLAGS = {Random.NONE: "no flag", Random.RANDOM: "--random", Random.FULLY: "--random-fully"}
NATIVE_FLAGS = {Random.NONE: "no flag", Random.RANDOM: "random", Random.FULLY: "fully-random"}
# Those whose setting the intent is.
WITH_SETTINGS = (VPC_CNI, EGRESS_CNI)


def statement(verdict: SnatVerdict, evidence: Evidence, ports: Ports, effective: tuple[RuleReference, ...]) -> str:
    """One sentence; `effective` are the rules of which one translates."""
    way = way_words(evidence)
    match verdict:
        case SnatVerdict.NOT_TRANSLATED:
            return f"{way} is not translated: {_why_not(evidence)}."
        case SnatVerdict.INCONCLUSIVE:
            return (
                f"What becomes of the ports of {way} cannot be told: {_why_inconclusive(evidence, ports, effective)}."
            )
        case SnatVerdict.NOT_IN_EFFECT:
            return f"{way} is to get fully random ports and does not: {_translation(evidence, effective)}."
        case SnatVerdict.CONTRADICTORY if not effective:
            return f"No rule translates {way}, and {len(ports.translated)} connections were translated all the same."
        case SnatVerdict.CONTRADICTORY if ports.untouched:
            told = f"{len(ports.untouched)} of {len(evidence.pairs)} connections kept their source all the same"
            return f"{way} is to be translated{_by(evidence, effective)}, and {told}."
        case SnatVerdict.CONTRADICTORY:
            return f"{way} is translated{_by(evidence, effective)}, and the ports contradict it: {ports_words(ports)}."
        case _:
            return f"{way} is translated{_by(evidence, effective)}, and {_agreement(evidence, ports)}."


def reasons(
    verdict: SnatVerdict, evidence: Evidence, ports: Ports, effective: tuple[RuleReference, ...]
) -> tuple[str, ...]:
    """Sentences that say why it is so, or what to do about it."""
    return tuple(_reasons(verdict, evidence, ports, effective))


def way_words(evidence: Evidence) -> str:
    """`shop/search to 198.51.100.8:443`."""
    return f"{evidence.source} to {evidence.destination or 'what lies outside of the VPC'}"


def rule_words(rule: RuleReference) -> str:
    """`nat AWS-SNAT-CHAIN-0 #2 (VPC CNI, iptables-nft)`."""
    number = f" #{rule.position}" if rule.position else ""
    return f"{rule.table} {rule.chain}{number} ({owner_of_chain(rule)}, {rule.backend.value})"


def flag_words(rule: RuleReference) -> str:
    """As its own tool writes it: `--random-fully`, `fully-random`, `no flag`."""
    return (NATIVE_FLAGS if rule.backend is Backend.NFTABLES else FLAGS)[rule.random]


def ports_words(ports: Ports) -> str:
    """What the pairs that count show."""
    figures, noun = ports.statistics, "identifier" if ports.are_identifiers else "port"
    spread = f"they spread over {figures.lowest} to {figures.highest}"
    match ports.says:
        case PortsSay.PRESERVED if figures.preserved == figures.counted:
            return f"all {figures.counted} kept their {noun}"
        case PortsSay.PRESERVED:
            return f"{figures.preserved} of {figures.counted} kept their {noun}, and collisions explain the rest"
        case PortsSay.SCATTERED:
            return f"{_kept(figures.preserved)} kept, {spread}"
        case PortsSay.SUCCESSIVE:
            return f"{figures.successive} of {figures.counted} {noun}s follow closely on the one before"
        case PortsSay.UNEVEN:
            off = f"{figures.distance:.2f} off an even choice of {figures.first} to {figures.last}"
            return f"{spread}, which is {off}, where chance explains {figures.distance_limit:.2f}"
        case PortsSay.MIXED:
            more = "more than a random choice keeps, and fewer than a rule without a flag"
            return f"{figures.preserved} of {figures.counted} kept their {noun}, {more}"
        case _:
            return f"{figures.counted} tell nothing yet"


def _kept(preserved: int) -> str:
    return f"{preserved} of them {'was' if preserved == 1 else 'were'}" if preserved else "none was"


def _by(evidence: Evidence, effective: tuple[RuleReference, ...]) -> str:
    """` to 192.168.1.29 on eth0 by nat AWS-SNAT-CHAIN-0 #2 (VPC CNI, iptables-nft) with --random-fully`."""
    to = f" to {evidence.translated_to}" if evidence.translated_to else ""
    on = f" on {evidence.interface}" if evidence.interface else ""
    by = " or ".join(f"{rule_words(rule)} with {flag_words(rule)}" for rule in effective)
    return f"{to}{on} by {by}"


def _agreement(evidence: Evidence, ports: Ports) -> str:
    figures = ports.statistics
    return f"{figures.counted} of {len(evidence.pairs)} {_noun(ports)} agree: {ports_words(ports)}"


def _noun(ports: Ports) -> str:
    return "identifiers" if ports.are_identifiers else "ports"


def _translation(evidence: Evidence, effective: tuple[RuleReference, ...]) -> str:
    return f"it is translated{_by(evidence, effective)}"


def _why_not(evidence: Evidence) -> str:
    intent = evidence.intent
    if evidence.why_not_translated:
        return evidence.why_not_translated
    if intent is None:
        return "no rule of the node does that"
    if not intent.translated:
        return f"{intent.says} ({intent.source})"
    return f"{intent.says} ({intent.source}), but the rule is missing"


def _why_inconclusive(evidence: Evidence, ports: Ports, effective: tuple[RuleReference, ...]) -> str:
    if evidence.gaps:
        gap = evidence.gaps[0]
        return f"{gap.part} of {gap.node} could not be read: {gap.why}"
    if evidence.unknown:
        return evidence.unknown[0]
    if not effective:
        return f"no rule translates them, and whether one did could not be read: {evidence.pairs_unread}"
    if ports.says is not PortsSay.TOO_FEW:
        either = " or ".join(rule_words(rule) for rule in effective)
        return f"whether {either} comes first cannot be read, and with either the ports look like these"
    return _why_too_few(evidence, ports)


def _why_too_few(evidence: Evidence, ports: Ports) -> str:
    figures, total, noun = ports.statistics, len(evidence.pairs), _noun(ports)
    if figures.first == figures.last:
        return f"the rule leaves the single port {figures.first} to choose"
    if needed_for_kept(NatRange(figures.first, figures.last), evidence.in_use_share) is None:
        return f"{evidence.in_use_share:.0%} of {figures.first} to {figures.last} are in use, so that too many collide"
    if not total:
        seen = "was opened" if evidence.opened and not evidence.opened.total else "was recorded"
        return evidence.pairs_unread or f"no connection of it {seen}"
    if not figures.counted:
        return f"none of {total} {noun} counts"
    return f"{figures.counted} {noun} count, and it takes {figures.needed}"


def _reasons(
    verdict: SnatVerdict, evidence: Evidence, ports: Ports, effective: tuple[RuleReference, ...]
) -> Iterator[str]:
    match verdict:
        case SnatVerdict.RANDOM_NOT_FULLY:
            yield _both_flags(evidence)
        case SnatVerdict.NOT_IN_EFFECT:
            yield from _not_in_effect(evidence, effective)
        case SnatVerdict.CONTRADICTORY if evidence.opened is None:
            yield "The connections may be older than the rules."
        case SnatVerdict.INCONCLUSIVE:
            yield from _what_to_do(evidence, ports)
        case _:
            return


def _both_flags(evidence: Evidence) -> str:
    known = release(evidence.kernel)
    if known is not None and known < SAME_FOR_BOTH:
        return f"Linux {evidence.kernel} counts up from a start of each destination's own with --random."
    here = f" (here {evidence.kernel})" if known else ""
    return f"From Linux 5.0 on{here} ports cannot tell --random from --random-fully: the rule's text does."


def _not_in_effect(evidence: Evidence, effective: tuple[RuleReference, ...]) -> Iterator[str]:
    rule, intent = effective[0], evidence.intent
    owner = owner_of_chain(rule)
    for each in evidence.rules:
        if each.standing is Standing.BEHIND and each.rule.random is Random.FULLY:
            yield f"{rule_words(each.rule)} has {flag_words(each.rule)}, and comes behind it{_stale(rule, each.rule)}."
    if intent is None or not intent.translated or intent.random is not Random.FULLY:
        return
    set_by = f"{intent.says} ({intent.source})"
    if owner not in WITH_SETTINGS:
        yield f"{set_by}, which is not {owner}'s to heed: its rule translates first."
    elif rule.random is Random.RANDOM:
        yield f"{set_by}: an iptables before 1.6.2 does not know --random-fully, and the CNI then writes --random."
    else:
        yield f"{set_by}, but the rule was not written anew since."


def _stale(first: RuleReference, behind: RuleReference) -> str:
    if owner_of_chain(first) != owner_of_chain(behind) or first.backend is behind.backend:
        return ""
    return f": that of {first.backend.value} is left from before {owner_of_chain(first)} went over to {behind.backend.value}"


def _what_to_do(evidence: Evidence, ports: Ports) -> Iterator[str]:
    discounted = Counter(pair.discounted for pair in evidence.pairs if pair.discounted)
    for why, count in discounted.most_common(2):
        yield f"{count} of {len(evidence.pairs)} tell nothing: {why}."
    if ports.says is not PortsSay.TOO_FEW or evidence.gaps or evidence.unknown:
        return
    if evidence.opened is not None:
        if evidence.opened.failed:
            yield f"{evidence.opened.failed} connections could not be opened: {evidence.opened.failure}."
        yield "Open more with --connections."
    elif evidence.live:
        yield "Watch for longer, or name a destination without --live, so that connections are opened to it."
    else:
        yield "Name a destination, so that connections are opened to it, or watch the source's own with --live."
