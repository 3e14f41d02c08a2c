"""The words of a Snat message: its verdict, a rule's flag and place, what was set, a port pair. Knows no layout."""

from collections.abc import Iterable

from pathtap.cli.exit_codes import BROKEN, INCONCLUSIVE, OK, snat_exit_code
from pathtap.cli.render.page import Style
from pathtap.cli.render.words import socket_text, target_text
from pathtap.v1 import snat_pb2, trace_pb2

Snat = snat_pb2.Snat
ANYWHERE = "outside of the VPC"
STYLES = {OK: Style.GOOD, BROKEN: Style.BAD, INCONCLUSIVE: Style.DOUBT}
# Verdicts that say themselves whether what was set is in effect.
_SAYS_ALL = frozenset({Snat.VERDICT_UNSPECIFIED, Snat.NOT_IN_EFFECT, Snat.CONTRADICTORY, Snat.INCONCLUSIVE})
# The parts of a node whose readers know what was set (docs/readers.md).
_PARTS_OF_INTENT = frozenset({"ipamd", "settings", "cni configuration", "intent"})
_SET = {"none": "not random", "random": "random", "fully": "fully random"}
_FLAGS = {"none": "no flag", "random": "random", "fully": "random fully"}


def verdict_text(snat: Snat) -> str:
    """`FULLY RANDOM, as set`; `NOT RANDOM, and something else was set`. Without intent the verdict alone."""
    name = verdict_name(snat)
    if snat.verdict in _SAYS_ALL or not snat.HasField("intent"):
        return name
    return f"{name}, as set" if snat.as_intended else f"{name}, and something else was set"


def verdict_name(snat: Snat) -> str:
    known = Snat.Verdict.DESCRIPTOR.values_by_number.get(snat.verdict)
    return known.name.replace("_", " ") if known and known.number else "NO VERDICT"


def verdict_style(snat: Snat) -> Style:
    return STYLES[snat_exit_code(snat)]


def ends_text(snat: Snat) -> str:
    destination = target_text(snat.destination) if snat.HasField("destination") else ANYWHERE
    return f"{target_text(snat.source)} ─▶ {destination}"


def how_text(snat: Snat) -> str:
    """The protocol, and whether it is the source's own traffic: `tcp`, `any protocol, live`."""
    return (snat.protocol or "any protocol") + (", live" if snat.live else "")


def flag_text(rule: trace_pb2.RuleReference) -> str:
    return _FLAGS.get(rule.random, rule.random)


def place_text(rule: trace_pb2.RuleReference) -> str:
    """`nat AWS-SNAT-CHAIN-0 #2`."""
    where = " ".join(part for part in (rule.table, rule.chain) if part)
    return f"{where} #{rule.position}" if rule.position else where


def set_text(intent: snat_pb2.Snat.Intent) -> str:
    """`fully random`, or that the source is to be kept."""
    return _SET.get(intent.random, intent.random or "translated") if intent.translated else "not translated"


def untold_text(snat: Snat) -> str:
    """That nobody told what was set, and why, as far as the gaps know."""
    why = dict.fromkeys(f"{gap.part}: {gap.why}" for gap in snat.gaps if gap.part in _PARTS_OF_INTENT)
    return "nobody told what was set" + (f" ({'; '.join(why)})" if why else "")


def pair_text(pair: snat_pb2.Snat.Pair, *, towards: bool) -> str:
    """`a:1 → b:2`; with `towards` the destination too."""
    ends = f"{socket_text(pair.original, pair.protocol)} → {socket_text(pair.translated, pair.protocol)}"
    if pair.original == pair.translated:
        ends = f"{socket_text(pair.original, pair.protocol)}, unchanged"
    return f"{ends} towards {socket_text(pair.destination, pair.protocol)}" if towards else ends


def port_word(protocols: Iterable[str]) -> str:
    """`port`, or `identifier` where all of it is ICMP."""
    said = set(protocols)
    return "identifier" if said and all(protocol.startswith("icmp") for protocol in said) else "port"


def counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
