"""The sentences of a proof: what it comes to, and why. Pure; says what was judged and adds nothing to it."""

from collections import Counter
from collections.abc import Iterator

from pathtap.collector.inspections.owners import EGRESS_CNI, UNKNOWN, VPC_CNI, owner_of_chain
from pathtap.collector.proving.chance import needed_for_changed
from pathtap.collector.proving.evidence import SAME_FOR_BOTH, Evidence, Ports, release
from pathtap.collector.proving.ranges import NatRange
from pathtap.collector.proving.statistics import PortsSay
from pathtap.model.netfilter import Backend, Random
from pathtap.model.snat import SnatVerdict, Standing
from pathtap.model.trace import RuleReference

FLAGS = {Random.NONE: "no flag", Random.RANDOM: "--random", Random.FULLY: "--random-fully"}
NATIVE_FLAGS = {Random.NONE: "no flag", Random.RANDOM: "random", Random.FULLY: "fully-random"}
# Whose rules the settings that pathtap reads are about.
WITH_SETTINGS = (VPC_CNI, EGRESS_CNI)
# Reasons for which pairs were discounted that are told one by one.
MOST_REASONS = 2

NAMED = "name a destination (pathtap snat POD to DST), to which connections are then opened"

Rules = tuple[RuleReference, ...]


def statement(verdict: SnatVerdict, evidence: Evidence, ports: Ports, effective: Rules) -> str:
    """One sentence; `effective` are the rules of which one translates."""
    way = f"traffic from {evidence.source} to {evidence.destination or 'what lies outside of the VPC'}"
    by, begins = _by(evidence, effective), way[:1].upper() + way[1:]
    match verdict:
        case SnatVerdict.NOT_TRANSLATED:
            return f"{begins} is not translated: {_why_not(evidence)}."
        case SnatVerdict.INCONCLUSIVE:
            unread = evidence.unknown or evidence.gaps or not effective
            what = f"How {way} is translated" if unread else f"Whether {way} gets random {ports.noun}s"
            return f"{what} cannot be told: {_why_open(evidence, ports, effective)}."
        case SnatVerdict.NOT_IN_EFFECT:
            shown = "" if ports.is_open else f"{_shown(ports, effective)}: {ports_words(ports)}"
            return f"{begins} is meant to get fully random {ports.noun}s and does not: it is translated{by}{shown}."
        case SnatVerdict.CONTRADICTORY if not effective:
            return f"No rule translates {way}, and yet {ports.translated} of its connections were translated."
        case SnatVerdict.CONTRADICTORY if ports.untouched:
            kept = f"{ports.untouched} of {len(ports.pairs)} connections kept their source"
            return f"{begins} is meant to be translated{by}, and yet {kept}."
        case SnatVerdict.CONTRADICTORY:
            return f"{begins} is translated{by}, and the {ports.noun}s contradict it: {ports_words(ports)}."
        case _:
            return f"{begins} is translated{by}, and {_who_agrees(ports)}: {ports_words(ports)}."


def reasons(verdict: SnatVerdict, evidence: Evidence, ports: Ports, effective: Rules) -> tuple[str, ...]:
    """Sentences that say why it is so, or what to do about it."""
    match verdict:
        case SnatVerdict.RANDOM_NOT_FULLY:
            return (_both_flags(evidence.kernel), *_set_otherwise(evidence, effective))
        case SnatVerdict.FULLY_RANDOM | SnatVerdict.NOT_RANDOM:
            return tuple(_set_otherwise(evidence, effective))
        case SnatVerdict.NOT_IN_EFFECT:
            return tuple(_why_not_in_effect(evidence, effective))
        case SnatVerdict.CONTRADICTORY:
            return tuple(_why_contradictory(evidence, ports))
        case SnatVerdict.INCONCLUSIVE:
            return tuple(_what_to_do(evidence, ports))
        case _:
            return ()


def rule_words(rule: RuleReference) -> str:
    """`nat AWS-SNAT-CHAIN-0 #2 (VPC CNI, iptables-nft)`."""
    number = f" #{rule.position}" if rule.position else ""
    return f"{rule.table} {rule.chain}{number} ({owner_of_chain(rule)}, {rule.backend.value})"


def flag_words(rule: RuleReference) -> str:
    """As its own tool writes it: `--random-fully`, `fully-random`, `no flag`."""
    return (NATIVE_FLAGS if rule.backend is Backend.NFTABLES else FLAGS)[rule.random]


def ports_words(ports: Ports) -> str:
    """What the pairs that count show: `none was kept, they spread over 1187 to 65102`."""
    figures = ports.statistics
    kept = f"{figures.preserved} of {figures.counted} were kept"
    spread = f"they spread over {figures.lowest} to {figures.highest}"
    match ports.says:
        case PortsSay.PRESERVED if figures.preserved == figures.counted:
            return "all were kept"
        case PortsSay.PRESERVED:
            return f"{kept}, and collisions explain the rest"
        case PortsSay.SCATTERED:
            return f"{_few_kept(figures.preserved)}, {spread}"
        case PortsSay.SUCCESSIVE:
            return (
                f"{figures.successive} of {figures.counted} follow closely on the one before, from {figures.lowest} on"
            )
        case PortsSay.UNEVEN:
            off = f"{figures.distance:.2f} off an even choice of {figures.first} to {figures.last}"
            return f"{spread}, {off}, where chance explains {figures.distance_limit:.2f}"
        case PortsSay.MIXED:
            return f"{kept}, more than a random choice keeps and fewer than a rule without a flag"
        case PortsSay.CHANGED | PortsSay.TOO_FEW:
            return kept


def _who_agrees(ports: Ports) -> str:
    counted, total = ports.statistics.counted, len(ports.pairs)
    if counted == total:
        return f"{counted} of {total} {ports.noun}s agree" if total > 1 else f"its {ports.noun} agrees"
    return f"the {ports.noun}s of those {counted} of {total} connections that count agree"


def _shown(ports: Ports, effective: Rules) -> str:
    if all(rule.random in ports.fits for rule in effective):
        return f", and the {ports.noun}s show it"
    return f"; its connections' {ports.noun}s are not chosen so, and may be older than the rule"


def _few_kept(preserved: int) -> str:
    return "none was kept" if not preserved else f"{preserved} {'was' if preserved == 1 else 'were'} kept by chance"


def _by(evidence: Evidence, effective: Rules) -> str:
    """` to 192.168.1.29 on eth0 by nat AWS-SNAT-CHAIN-0 #2 (VPC CNI, iptables-nft) with --random-fully`."""
    to = f" to {evidence.translated_to}" if evidence.translated_to else ""
    on = f" on {evidence.interface}" if evidence.interface else ""
    return f"{to}{on} by {_or(effective)}"


def _or(rules: Rules) -> str:
    return " or ".join(f"{rule_words(rule)} with {flag_words(rule)}" for rule in rules)


def _setting(evidence: Evidence) -> str:
    """`AWS_VPC_K8S_CNI_RANDOMIZESNAT is prng (ip-192-168-1-29 ipamd)`; only where there is an intent."""
    intent = evidence.intent
    return f"{intent.says} ({intent.source})" if intent is not None else ""


def _why_not(evidence: Evidence) -> str:
    intent = evidence.intent
    if evidence.why_not_translated:
        return evidence.why_not_translated
    if intent is None:
        return "no rule of the node does that"
    return f"{_setting(evidence)}, but {_what_lacks(evidence)}" if intent.translated else _setting(evidence)


def _what_lacks(evidence: Evidence) -> str:
    """A rule that is there and that no packet comes to is not missing."""
    passed = [each for each in evidence.rules if each.standing is Standing.PASSED_BY and each.owner in WITH_SETTINGS]
    return f"the packet does not come to {rule_words(passed[0].rule)}" if passed else "the rule is missing"


def _why_open(evidence: Evidence, ports: Ports, effective: Rules) -> str:
    if evidence.unknown:
        return evidence.unknown[0]
    if evidence.gaps:
        return f"{evidence.gaps[0].part} of {evidence.gaps[0].node}: {evidence.gaps[0].why}"
    if not effective:
        return f"no rule translates it, and whether one did so before could not be read: {evidence.pairs_unread}"
    if ports.contradicts(effective):
        return f"the {ports.noun}s contradict {_or(effective)}, and they may be older than the rules"
    if ports.is_open:
        return _why_too_few(evidence, ports)
    return f"which comes first, {_or(effective)}, cannot be read, and both choose such {ports.noun}s"


def _why_too_few(evidence: Evidence, ports: Ports) -> str:
    figures, total = ports.statistics, len(ports.pairs)
    if figures.first == figures.last:
        return f"the rule leaves {ports.noun} {figures.first} alone to choose"
    if not total:
        return evidence.pairs_unread or f"no connection of it was {'recorded' if evidence.opened is None else 'seen'}"
    if not ports.can_tell:
        return _why_never(evidence, ports)
    return f"{figures.counted} of {total} {ports.noun}s count, and it takes {figures.needed}"


def _why_never(evidence: Evidence, ports: Ports) -> str:
    """Why no number of connections would be enough."""
    figures = ports.statistics
    among, size = f"{figures.first} to {figures.last}", figures.last - figures.first + 1
    if figures.needed > size:
        return f"{among} are {size} {ports.noun}s, as many connections to one destination can be, and it takes more"
    if needed_for_changed(NatRange(figures.first, figures.last), evidence.unseen_share) is None:
        return f"{evidence.unseen_share:.0%} of {among} come into use and go, and too many collide"
    return f"too many of {among} that lie side by side are in use, which hides how the others are chosen"


def _set_otherwise(evidence: Evidence, effective: Rules) -> Iterator[str]:
    """Where the effect is not what was set."""
    intent = evidence.intent
    if intent is None:
        return
    if not intent.translated:
        yield f"It is not meant to be translated: {_setting(evidence)}."
    elif any(rule.random is not intent.random for rule in effective):
        yield f"{_setting(evidence)}, which asks for {FLAGS[intent.random]}."


def _both_flags(kernel: str) -> str:
    known = release(kernel)
    if known is not None and known < SAME_FOR_BOTH:
        return f"Linux {kernel} counts up with --random, from a place of each destination's own."
    here = f" (here it is {kernel})" if known else ""
    return f"From Linux 5.0 on{here} ports cannot tell --random from --random-fully: the rule's text does."


def _why_not_in_effect(evidence: Evidence, effective: Rules) -> Iterator[str]:
    first, intent = effective[0], evidence.intent
    owner = owner_of_chain(first)
    behind = [each.rule for each in evidence.rules if each.standing is Standing.BEHIND]
    fully = [rule for rule in dict.fromkeys((*behind, *evidence.candidates)) if rule.random is Random.FULLY]
    if intent is not None and intent.translated and intent.random is Random.FULLY:
        if owner not in WITH_SETTINGS:
            whose = "another" if owner == UNKNOWN else f"{owner}'s"
            yield f"{_setting(evidence)}, which is for the VPC CNI's own rule, and {whose} comes first."
        elif any(owner_of_chain(rule) == owner for rule in fully):
            yield f"{_setting(evidence)}."
        elif first.random is Random.RANDOM:
            yield f"{_setting(evidence)}; with an iptables before 1.6.2, which lacks --random-fully, that becomes --random."
        else:
            yield f"{_setting(evidence)}, and the rule was not written anew when that was set."
    for rule in fully:
        yield f"{rule_words(rule)} has {flag_words(rule)} and comes after it{_left_over(first, rule)}."


def _left_over(first: RuleReference, behind: RuleReference) -> str:
    owner = owner_of_chain(first)
    if owner != owner_of_chain(behind) or first.backend is behind.backend:
        return ""
    return f": one of the two is left over from when {owner} wrote to the other store"


def _why_contradictory(evidence: Evidence, ports: Ports) -> Iterator[str]:
    known = release(evidence.kernel)
    if ports.says is PortsSay.SUCCESSIVE and known is not None and known >= SAME_FOR_BOTH:
        yield f"From Linux 5.0 on (here it is {evidence.kernel}) no rule makes the kernel count {ports.noun}s up."
    yield (
        "The connections may be older than the rules."
        if not ports.is_dated
        else "Something else than these rules chooses, or they are not what the kernel has in force."
    )


def _what_to_do(evidence: Evidence, ports: Ports) -> Iterator[str]:
    why = Counter(pair.discounted for pair in ports.pairs if pair.discounted)
    for reason, count in why.most_common(MOST_REASONS):
        yield f"{count} {'does' if count == 1 else 'do'} not count: {reason}."
    undated = ports.contradicts(evidence.candidates)
    if not ports.is_open:
        yield f"Of the {ports.noun}s that count {ports_words(ports)}."
        if not undated:
            return
    elif ports.statistics.counted:
        yield f"So far {ports.statistics.preserved} of {ports.statistics.counted} were kept."
    if evidence.unknown or evidence.gaps or not ports.can_tell:
        return
    if evidence.opened is not None:
        if evidence.opened.failed:
            yield f"{evidence.opened.failed} connections could not be opened: {evidence.opened.failure}."
        yield "Open more with --connections."
    elif evidence.live:
        without = "leave out --live, and connections are opened" if evidence.destination else NAMED
        yield f"Watch for longer with --timeout, or {without}."
    else:
        yield f"Watch its own connections with --live, or {NAMED}."
