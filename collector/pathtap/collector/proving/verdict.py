"""What the rules, what was set and the ports that were seen come to together: docs/snat.md has each verdict's condition. Pure."""

from dataclasses import dataclass

from pathtap.collector.proving.evidence import Evidence, Ports, ports_of
from pathtap.collector.proving.statistics import PortsSay
from pathtap.collector.proving.telling import reasons, statement
from pathtap.model.netfilter import Random
from pathtap.model.snat import Intent, PortPair, SnatVerdict, Standing, Statistics
from pathtap.model.trace import RuleReference

OF_FLAG = {
    Random.FULLY: SnatVerdict.FULLY_RANDOM,
    Random.RANDOM: SnatVerdict.RANDOM_NOT_FULLY,
    Random.NONE: SnatVerdict.NOT_RANDOM,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """`summary` is what a person repeats to a colleague: a statement, and the `reasons` for it, a sentence each.

    `rules` are those of which one is in effect, as far as rules and ports tell. `pairs` are the evidence's, discounted where they
    count for nothing; `statistics` is None where there are none, or none is translated.
    """

    verdict: SnatVerdict
    as_intended: bool
    summary: str
    reasons: tuple[str, ...]
    rules: tuple[RuleReference, ...]
    ports: PortsSay
    pairs: tuple[PortPair, ...]
    statistics: Statistics | None


def judge(evidence: Evidence) -> Judgement:
    ports = ports_of(evidence)
    effective = tuple(rule for rule in evidence.candidates if rule.random in ports.fits) or evidence.candidates
    verdict = _verdict(evidence, ports, effective)
    why = reasons(verdict, evidence, ports, effective)
    return Judgement(
        verdict=verdict,
        as_intended=is_as_intended(verdict, evidence.intent),
        summary=" ".join((statement(verdict, evidence, ports, effective), *why)),
        reasons=why,
        rules=effective,
        ports=ports.says,
        pairs=ports.pairs,
        statistics=ports.statistics if ports.pairs and verdict is not SnatVerdict.NOT_TRANSLATED else None,
    )


def is_as_intended(verdict: SnatVerdict, intent: Intent | None) -> bool:
    """Where nobody told what was set, fully random ports are what is wanted."""
    if intent is None:
        return verdict is SnatVerdict.FULLY_RANDOM
    return verdict is (OF_FLAG[intent.random] if intent.translated else SnatVerdict.NOT_TRANSLATED)


def _verdict(evidence: Evidence, ports: Ports, effective: tuple[RuleReference, ...]) -> SnatVerdict:
    """`effective` are the candidates that the ports fit, or all of them where they fit none."""
    if evidence.gaps or evidence.unknown:
        return SnatVerdict.INCONCLUSIVE
    if not evidence.candidates:
        if ports.translated:
            return SnatVerdict.CONTRADICTORY
        return SnatVerdict.INCONCLUSIVE if evidence.pairs_unread else SnatVerdict.NOT_TRANSLATED
    flags = {rule.random for rule in effective}
    contradicts = not flags <= ports.fits or bool(ports.untouched and evidence.opened is not None)
    not_in_effect = Random.FULLY not in flags and is_fully_elsewhere(evidence)
    # Ports that may be older than the rules cast no doubt on what the rules' texts show.
    if contradicts and ports.is_dated:
        return SnatVerdict.CONTRADICTORY
    if not_in_effect:
        return SnatVerdict.NOT_IN_EFFECT
    if contradicts or len(flags) > 1 or ports.is_open:
        return SnatVerdict.INCONCLUSIVE
    return OF_FLAG[flags.pop()]


def is_fully_elsewhere(evidence: Evidence) -> bool:
    """Whether what was set, a rule that comes behind, or another that might have come first asks for fully random ports."""
    intent = evidence.intent
    if intent is not None and intent.translated and intent.random is Random.FULLY:
        return True
    behind = (each.rule for each in evidence.rules if each.standing is Standing.BEHIND)
    return any(rule.random is Random.FULLY for rule in (*behind, *evidence.candidates))
