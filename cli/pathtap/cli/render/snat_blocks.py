"""What was set, which rules translate, what the ports show: three of the four blocks of a Snat. Knows no widths."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from rich.cells import cell_len

from pathtap.cli.render.page import Style, pad
from pathtap.cli.render.snat_words import (
    Snat,
    counted,
    flag_text,
    pair_text,
    place_text,
    port_word,
    set_text,
    untold_text,
)
from pathtap.cli.render.words import witness_text
from pathtap.v1 import snat_pb2, trace_pb2

_S = snat_pb2.Snat.Rule
_STANDINGS = {
    _S.FIRST: "first",
    _S.BEHIND: "behind",
    _S.PASSED_BY: "passed by",
    _S.UNDECIDED: "undecided",
}
# Without every statement: so many pairs, reasons of discounted ones, and rules that the packet passes by.
SAMPLE = 5
REASONS = 3
PASSED_BY = 6
EXPECTED, RECORDED = "expected", "recorded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One line of a block, which may wrap. `key` is empty where the text goes on under the line before.

    `one_line` is text of which the middle may be left out to keep it to one line.
    """

    text: str
    key: str = ""
    witnesses: str = ""
    style: Style = Style.PLAIN
    one_line: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """`witnesses` are those of every line that has none of its own."""

    name: str
    witnesses: str
    items: tuple[Item, ...]


def intent_block(snat: Snat) -> Block:
    told = tuple(_settings(snat))
    if not snat.HasField("intent"):
        untold = Item(key="gap", text=untold_text(snat), style=Style.DOUBT)
        return Block(name="intent", witnesses=EXPECTED if told else "", items=(untold, *told))
    intent = snat.intent
    source = f" [{intent.source}]" if intent.source else ""
    says = f": {intent.says}{source}" if intent.says else source
    item = Item(key="set", text=f"{set_text(intent)}{says}")
    return Block(name="intent", witnesses=EXPECTED, items=(item, *told))


def _settings(snat: Snat) -> Iterator[Item]:
    """Everything that was set, a line for each who told it."""
    by_source: dict[str, list[str]] = {}
    for setting in snat.settings:
        by_source.setdefault(setting.source, []).append(f"{setting.name} {setting.value}")
    for number, (source, told) in enumerate(by_source.items()):
        yield Item(key="" if number else "settings", text=f"{', '.join(told)} [{source}]", style=Style.FAINT)


def rules_block(snat: Snat, *, every_statement: bool) -> Block:
    """Each rule with its standing, owner, flag, place and store; its text below, cut unless every statement is wanted."""
    rules = list(snat.rules)
    if not every_statement:
        rules = [rule for rule in rules if rule.standing != _S.PASSED_BY]
        rules += [rule for rule in snat.rules if rule.standing == _S.PASSED_BY][:PASSED_BY]
    owner = max((cell_len(rule.owner) for rule in rules), default=0)
    place = max((cell_len(place_text(rule.rule)) for rule in rules), default=0)
    flag = max((cell_len(flag_text(rule.rule)) for rule in rules), default=0)
    items: list[Item] = []
    for rule in rules:
        columns = (pad(rule.owner, owner), pad(flag_text(rule.rule), flag), pad(place_text(rule.rule), place))
        style = Style.STRONG if rule.standing == _S.FIRST else Style.PLAIN
        text = "  ".join((*columns, rule.rule.backend)).rstrip()
        items.append(Item(key=_STANDINGS.get(rule.standing, "rule"), text=text, style=style))
        if rule.rule.text and (every_statement or rule.standing != _S.PASSED_BY):
            items.append(Item(text=rule.rule.text, style=Style.FAINT, one_line=not every_statement))
    if left := len(snat.rules) - len(rules):
        items.append(Item(text=f"and {left:,} more that it passes by: --evidence", style=Style.FAINT))
    if not rules:
        items.append(Item(key="none", text="no rule that translates sources was found in what could be read"))
    return Block(name="rules", witnesses=EXPECTED, items=(*items, *_outcome(snat)))


def _outcome(snat: Snat) -> Iterator[Item]:
    if snat.translated_to:
        yield Item(key="gives", text=snat.translated_to)
    egress: trace_pb2.Egress = snat.egress
    ways = (egress.interface, egress.eni_id, f"table {egress.table}" if egress.table else "", egress.route)
    if egress.interface:
        yield Item(key="leaves by", text=", ".join(part for part in (" ".join(ways[:2]).strip(), *ways[2:]) if part))


def ports_block(snat: Snat, *, every_statement: bool) -> Block:
    witnesses = witness_text(witness for pair in snat.pairs for witness in pair.witnesses)
    items = (
        _opened(snat),
        _pairs(snat),
        *_statistics(snat),
        *_sample(snat, every_statement=every_statement),
    )
    return Block(name="ports", witnesses=witnesses, items=items)


def _opened(snat: Snat) -> Item:
    """How many connections were opened, and what became of them."""
    if not snat.HasField("opened"):
        return Item(key="opened", text="none, the source's own were watched" if snat.live else "none, nothing was sent")
    opened = snat.opened
    ends = {name: getattr(opened, name) for name in ("answered", "refused", "unreachable", "silent", "failed")}
    said = [f"{count:,} {name}" for name, count in ends.items() if count]
    failure = f" ({opened.failure})" if opened.failure else ""
    well = opened.answered == sum(ends.values())
    text = f"{sum(ends.values()):,}: {', '.join(said)}{failure}" if said else f"none{failure}"
    return Item(key="opened", text=text, style=Style.PLAIN if well and said else Style.DOUBT)


def _opened_count(opened: snat_pb2.Snat.Opened) -> int:
    """Those that were really opened."""
    return opened.answered + opened.refused + opened.unreachable + opened.silent


def _pairs(snat: Snat) -> Item:
    """How many pairs are known, count and are needed, and where the translated packets were seen."""
    if not snat.pairs:
        return Item(key="pairs", text="none: of no connection is the translation known", style=Style.DOUBT)
    text, style = f"{len(snat.pairs):,}", Style.PLAIN
    if snat.HasField("opened") and (unknown := _opened_count(snat.opened) - len(snat.pairs)) > 0:
        text += f" (of {unknown:,} nothing was recorded)"
    if snat.HasField("statistics") and snat.verdict != Snat.NOT_TRANSLATED:
        few = snat.statistics.counted < snat.statistics.needed
        style = Style.DOUBT if few else style
        text += f", of which {snat.statistics.counted:,} count; {snat.statistics.needed:,} are needed"
    interfaces = dict.fromkeys(pair.interface for pair in snat.pairs if pair.interface)
    return Item(key="pairs", text=text + (f"; observed on {', '.join(interfaces)}" if interfaces else ""), style=style)


def _statistics(snat: Snat) -> Iterator[Item]:
    """The three questions that are asked of the pairs that count (docs/snat.md), and their chance of a wrong answer."""
    said = snat.statistics
    if not snat.HasField("statistics") or not said.counted:
        return
    what = port_word(pair.protocol for pair in snat.pairs)
    yield Item(key="preserved", text=f"{said.preserved:,} of {said.counted:,} kept their {what}")
    if snat.verdict == Snat.NOT_TRANSLATED:
        # Nobody chose these ports but the source itself.
        return
    if said.HasField("lowest") and said.HasField("highest"):
        within = f", of {said.first} to {said.last}" if said.last else ""
        yield Item(key="range", text=f"{said.lowest} to {said.highest}{within}")
    if said.preserved * 2 <= said.counted:
        # Ports that were kept are spread and ordered as their source chose them: nothing is asked of that.
        yield from _of_drawn(said)
    if said.false_alarm > 0:
        once = f"{round(1 / said.false_alarm):,}"
        yield Item(key="error", text=f"by chance all of this together misleads at most once in {once}")


def _of_drawn(said: snat_pb2.Snat.Statistics) -> Iterator[Item]:
    yield Item(
        key="spread",
        text=f"{said.distance:.3f} from an even choice; chance explains at most {said.distance_limit:.3f}",
    )
    follow = "none follows" if not said.successive else f"{said.successive:,} follow{'s' * (said.successive == 1)}"
    yield Item(
        key="order",
        text=f"{follow} closely on the one before; chance explains at most {said.successive_limit:,}",
    )


def _sample(snat: Snat, *, every_statement: bool) -> Iterator[Item]:
    """Some pairs that count, and why others do not; all of them where every statement is wanted."""
    towards = not snat.HasField("destination")
    pairs = list(snat.pairs) if every_statement else [pair for pair in snat.pairs if not pair.discounted][:SAMPLE]
    for number, pair in enumerate(pairs):
        on = f" on {pair.interface}" if every_statement and pair.interface else ""
        yield Item(
            key="" if number else "such as" if len(pairs) < len(snat.pairs) else "all",
            text=pair_text(pair, towards=towards),
            witnesses=witness_text(pair.witnesses) + on,
        )
        if pair.discounted:
            yield Item(text=f"does not count: {pair.discounted}", style=Style.FAINT)
    if every_statement:
        return
    reasons = Counter(pair.discounted for pair in snat.pairs if pair.discounted).most_common()
    for number, (reason, count) in enumerate(reasons[:REASONS]):
        yield Item(key="" if number else "discount", text=f"{counted(count, 'pair')}: {reason}")
    if left := sum(count for _, count in reasons[REASONS:]):
        yield Item(text=f"and {counted(left, 'pair')} for other reasons: --evidence", style=Style.FAINT)
