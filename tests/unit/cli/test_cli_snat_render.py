"""A Snat's page and the table of all nodes: what they show of each verdict, widths, what is left out, hostile names."""

import unicodedata
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from pathtap.cli.escape import escaped
from pathtap.cli.render.page import Line, Style, cells, paint
from pathtap.cli.render.snat import snat_lines
from pathtap.cli.render.snat_table import snat_table_lines
from pathtap.v1 import snat_pb2, trace_pb2

PAGES = ("snat-fully", "snat-not-in-effect")
HOSTILE = "a\x1b[2J\x07\r\n\x00\x9b31m\u202e\u2066\u200f\u2028\u200b\U000e0041[red]b"
ASnat = Callable[[str], snat_pb2.Snat]
Golden = Callable[[str, list[Line]], None]


def text_of(lines: list[Line]) -> str:
    return "\n".join(paint(line, colour=False) for line in lines)


def flat(lines: list[Line]) -> str:
    """In one line, so that wrapped sentences are found."""
    return " ".join(text_of(lines).split())


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("name", PAGES)
def test_a_proof_as_a_person_reads_it(name: str, width: int, a_snat: ASnat, golden: Golden) -> None:
    golden(f"{name}.{width}", snat_lines(a_snat(name), width))


def test_every_statement_is_printed_on_demand(a_snat: ASnat, golden: Golden) -> None:
    golden("snat-not-in-effect.evidence.120", snat_lines(a_snat("snat-not-in-effect"), 120, every_statement=True))


@pytest.mark.parametrize("width", [80, 160])
def test_all_nodes_as_a_person_reads_them(width: int, a_snat_table: snat_pb2.SnatTable, golden: Golden) -> None:
    golden(f"snat-table.{width}", snat_table_lines(a_snat_table, width))


@pytest.mark.parametrize("width", range(40, 201))
def test_no_line_is_wider_than_the_terminal(width: int, a_snat: ASnat, a_snat_table: snat_pb2.SnatTable) -> None:
    pages = [snat_table_lines(a_snat_table, width), snat_lines(snat_pb2.Snat(), width)]
    for name in PAGES:
        snat = a_snat(name)
        live = a_snat(name)
        live.live = True
        live.protocol = ""
        live.ClearField("destination")
        live.ClearField("intent")
        pages += [snat_lines(each, width, every_statement=every) for each in (snat, live) for every in (False, True)]
    assert [paint(line, colour=False) for page in pages for line in page if cells(line) > width] == []


@pytest.mark.parametrize(
    ("verdict", "as_intended", "told", "word", "style"),
    [
        ("FULLY_RANDOM", True, True, "FULLY RANDOM, as set", Style.GOOD),
        ("FULLY_RANDOM", True, False, "FULLY RANDOM", Style.GOOD),
        ("FULLY_RANDOM", False, True, "FULLY RANDOM, and something else was set", Style.BAD),
        ("RANDOM_NOT_FULLY", True, True, "RANDOM NOT FULLY, as set", Style.GOOD),
        ("RANDOM_NOT_FULLY", False, False, "RANDOM NOT FULLY", Style.BAD),
        ("NOT_RANDOM", True, True, "NOT RANDOM, as set", Style.GOOD),
        ("NOT_RANDOM", False, True, "NOT RANDOM, and something else was set", Style.BAD),
        ("NOT_TRANSLATED", True, True, "NOT TRANSLATED, as set", Style.GOOD),
        ("NOT_TRANSLATED", False, True, "NOT TRANSLATED, and something else was set", Style.BAD),
        ("NOT_IN_EFFECT", False, True, "NOT IN EFFECT", Style.BAD),
        ("CONTRADICTORY", False, True, "CONTRADICTORY", Style.BAD),
        ("INCONCLUSIVE", False, True, "INCONCLUSIVE", Style.DOUBT),
        ("VERDICT_UNSPECIFIED", False, True, "NO VERDICT", Style.DOUBT),
    ],
)
def test_the_verdict_stands_at_the_right_edge_in_its_colour(
    verdict: str, as_intended: bool, told: bool, word: str, style: Style, a_snat: ASnat
) -> None:
    snat = a_snat("snat-fully")
    snat.ClearField("verdict")
    snat.MergeFrom(snat_pb2.Snat(verdict=verdict))
    snat.as_intended = as_intended
    if not told:
        snat.ClearField("intent")
    headline = snat_lines(snat, 120)[0]
    assert (headline[-1].text, headline[-1].style, cells(headline)) == (word, style, 120)


def test_colour_adds_nothing_but_sgr(a_snat: ASnat) -> None:
    for line in snat_lines(a_snat("snat-not-in-effect"), 100):
        coloured = paint(line, colour=True)
        for style in Style:
            coloured = coloured.replace(f"\x1b[{style.value}m", "")
        assert coloured.replace("\x1b[0m", "").rstrip() == paint(line, colour=False)


def test_what_nobody_told_is_a_gap_and_says_why(a_snat: ASnat) -> None:
    snat = a_snat("snat-fully")
    snat.ClearField("intent")
    assert "gap nobody told what was set rules" in flat(snat_lines(snat, 120))
    snat.gaps.add(node="n", part="ipamd", why="connection refused")
    snat.gaps.add(node="n", part="programs", why="EPERM")
    page = flat(snat_lines(snat, 120))
    assert "gap nobody told what was set (ipamd: connection refused) rules" in page
    assert "gap n, programs: EPERM" in page


@pytest.mark.parametrize(
    ("translated", "random", "said"),
    [
        (True, "fully", "set fully random: X=1 [n ipamd]"),
        (True, "random", "set random: X=1 [n ipamd]"),
        (True, "none", "set not random: X=1 [n ipamd]"),
        (False, "none", "set not translated: X=1 [n ipamd]"),
    ],
)
def test_what_was_set_names_its_setting_and_where_it_was_read(translated: bool, random: str, said: str) -> None:
    intent = snat_pb2.Snat.Intent(translated=translated, random=random, says="X=1", source="n ipamd")
    assert said in flat(snat_lines(snat_pb2.Snat(intent=intent), 120))


def test_each_rule_has_its_standing_and_those_that_matter_their_text(a_snat: ASnat) -> None:
    snat = a_snat("snat-not-in-effect")
    lines = text_of(snat_lines(snat, 120)).splitlines()
    rules = [line.split()[0] for line in lines if " #" in line and line.startswith("   ")]
    assert rules[:4] == ["first", "behind", "undecided", "passed"]
    assert not any("kubernetes service traffic" in line for line in lines)
    for target in ("dst -j MASQUERADE", "--to-source 192.168.1.29 --random-fully", "masquerade random"):
        assert any(line.endswith(target) for line in lines)
    every = flat(snat_lines(snat, 120, every_statement=True))
    assert all(" ".join(rule.rule.text.split()) in every for rule in snat.rules)


def test_many_rules_that_are_passed_by_are_counted(a_snat: ASnat) -> None:
    snat = a_snat("snat-fully")
    for number in range(40):
        rule = trace_pb2.RuleReference(backend="nftables", table="ip t", chain=f"c{number}", position=1, random="none")
        snat.rules.add(owner="Docker", standing=snat_pb2.Snat.Rule.PASSED_BY, rule=rule)
    page = flat(snat_lines(snat, 100))
    assert "and 35 more that it passes by: --evidence" in page
    assert "c39 #1" not in page
    assert "c39 #1" in flat(snat_lines(snat, 100, every_statement=True))


def test_no_rule_at_all_is_said_of_what_could_be_read() -> None:
    assert "no rule that translates sources was found in what could be read" in flat(snat_lines(snat_pb2.Snat(), 100))


@pytest.mark.parametrize(
    ("opened", "said"),
    [
        ({"answered": 64}, "opened 64: 64 answered pairs"),
        ({"refused": 64}, "opened 64: 64 refused"),
        ({"answered": 60, "silent": 4}, "opened 64: 60 answered, 4 silent"),
        ({"unreachable": 1, "failed": 2, "failure": "EPERM"}, "opened 3: 1 unreachable, 2 failed (EPERM)"),
        ({"failure": "no such namespace"}, "opened none (no such namespace)"),
    ],
)
def test_how_the_connections_ended_is_counted(opened: dict[str, Any], said: str) -> None:
    snat = snat_pb2.Snat(opened=snat_pb2.Snat.Opened(**opened))
    assert said in flat(snat_lines(snat, 100))


def test_where_nothing_is_sent_nothing_is_said_of_answers_or_of_a_rise(a_snat: ASnat) -> None:
    snat = a_snat("snat-fully")
    snat.ClearField("opened")
    snat.ClearField("destination")
    page = flat(snat_lines(snat, 120))
    assert page.startswith("shop/search 192.168.1.116 ─▶ outside of the VPC tcp")
    assert "opened none, nothing was sent" in page
    assert "counters insert_failed 12 since the node's start" in page
    assert "192.168.1.116:40000 → 192.168.1.29:1893 towards 198.51.100.8:443" in page
    snat.live = True
    page = flat(snat_lines(snat, 120))
    assert "tcp, live" in page
    assert "opened none, the source's own were watched" in page
    assert "insert_failed did not rise meanwhile" in page


def test_no_pair_is_said_to_be_none_and_too_few_stand_out(a_snat: ASnat) -> None:
    assert "pairs none: of no connection is the translation known" in flat(snat_lines(snat_pb2.Snat(), 100))
    snat = a_snat("snat-fully")
    snat.statistics.counted = 3
    (line,) = (line for line in snat_lines(snat, 100) if "are needed" in paint(line, colour=False))
    assert [span.style for span in line if "of which 3 count; 61 are needed" in span.text] == [Style.DOUBT]


def test_statistics_of_nothing_are_not_printed() -> None:
    snat = snat_pb2.Snat(statistics=snat_pb2.Snat.Statistics(needed=19, first=1024, last=65_535))
    page = flat(snat_lines(snat, 100))
    assert "preserved" not in page
    assert "chance explains" not in page


def test_five_pairs_stand_for_many_and_all_are_there_on_demand(a_snat: ASnat) -> None:
    snat = a_snat("snat-not-in-effect")
    page = flat(snat_lines(snat, 120))
    assert page.count(" → 192.168.1.29:4000") == 5
    assert "4 pairs: 192.168.1.90 held its port towards the destination" in page
    every = flat(snat_lines(snat, 120, every_statement=True))
    assert every.count(" → 192.168.1.29:400") == 24
    assert every.count("does not count: 192.168.1.90 held its port") == 4
    assert "recorded, observed on eth0" in every


def test_reasons_of_discounted_pairs_are_counted_and_the_rarest_together(a_snat: ASnat) -> None:
    snat = a_snat("snat-fully")
    for number, pair in enumerate(snat.pairs):
        pair.discounted = f"reason {min(number // 10, 6)}" if number < 61 else ""
    page = flat(snat_lines(snat, 120))
    assert "discount 10 pairs: reason 0" in page
    assert "and 31 pairs for other reasons: --evidence" in page


def test_of_icmp_the_identifier_stands_for_the_port(a_snat: ASnat) -> None:
    snat = a_snat("snat-fully")
    snat.protocol = snat.ports_in_use[0].protocol = "icmp"
    for pair in snat.pairs:
        pair.protocol = "icmp"
        pair.destination.port = 0
    page = flat(snat_lines(snat, 120))
    assert "preserved 0 of 64 kept their identifier" in page
    assert "192.168.1.116 id 40000 → 192.168.1.29 id 1893" in page
    assert "66 of 64,512 identifiers towards" in page


def test_a_source_that_is_left_alone_is_said_to_be_unchanged(a_snat: ASnat) -> None:
    snat = a_snat("snat-fully")
    snat.pairs[0].translated.CopyFrom(snat.pairs[0].original)
    assert "such as 192.168.1.116:40000, unchanged" in flat(snat_lines(snat, 120))


def test_of_ports_that_nobody_translates_no_choice_is_told(a_snat: ASnat) -> None:
    snat = a_snat("snat-not-in-effect")
    snat.verdict = snat_pb2.Snat.NOT_TRANSLATED
    page = flat(snat_lines(snat, 120))
    assert "pairs 24; observed on eth0 preserved 20 of 20 kept their port such as" in page
    assert "chance" not in page


def test_counters_that_were_not_read_are_no_zeros() -> None:
    page = flat(snat_lines(snat_pb2.Snat(), 100))
    assert "counters were not read" in page
    assert "insert_failed" not in page
    assert "in use" not in page


def test_a_counter_that_rose_is_shown_by_processor(a_snat: ASnat) -> None:
    snat = a_snat("snat-not-in-effect")
    page = flat(snat_lines(snat, 120))
    assert "insert_failed rose by 3 meanwhile; 1,007 since the node's start" in page
    assert "cpu insert_failed drop all 1,004 → 1,007 1,000 → 1,003 0 1,000 → 1,003 1,000 → 1,003 1 4 → 4 0 → 0" in page
    assert "early_drop, clash_resolve, search_restart 0 on all 2 processors" in page
    assert "0 → 0 0 → 0 0 → 0" in flat(snat_lines(snat, 120, every_statement=True))


def test_of_many_processors_those_are_shown_that_failed_most(a_snat: ASnat) -> None:
    snat = a_snat("snat-fully")
    del snat.cpus[:]
    for number in range(96):
        counters = snat_pb2.Snat.Cpu.Counters(insert_failed=number)
        snat.cpus.add(cpu=number, before=counters, after=counters)
    page = text_of(snat_lines(snat, 120)).splitlines()
    shown = [line.split() for line in page[page.index("   cpu        insert_failed") + 1 :]]
    assert shown[0] == ["all", "4,560"]
    assert [line[0] for line in shown[1:9]] == [str(number) for number in range(95, 87, -1)]
    assert shown[9][0] == "in"
    assert "   0          0 → 0" in text_of(snat_lines(snat, 120, every_statement=True))


def test_who_holds_the_ports_is_named_most_first(a_snat: ASnat) -> None:
    snat = a_snat("snat-not-in-effect")
    page = flat(snat_lines(snat, 120))
    assert "40,211 of 64,512 ports towards 198.51.100.8:443 (tcp) as 192.168.1.29" in page
    assert "by shop/search 40,000, shop/cart 200, 192.168.1.90 10 and 1 more" in page
    assert "192.168.1.29 1" in flat(snat_lines(snat, 120, every_statement=True))


def test_a_table_names_what_each_node_does_and_what_is_not_as_set(a_snat_table: snat_pb2.SnatTable) -> None:
    lines = text_of(snat_table_lines(a_snat_table, 200)).splitlines()
    first = " ".join(lines[1].split())
    assert first == (
        "ip-192-168-1-29 FULLY RANDOM VPC CNI nat AWS-SNAT-CHAIN-0 #2 fully fully 0/211 12 "
        "66/64,512 to 198.51.100.8:443"
    )
    assert " ".join(lines[2].split()).endswith("none not told 24/24 not read -")
    assert " ".join(lines[3].split()).endswith("INCONCLUSIVE one of 2 - not told - not read -")
    page = flat(snat_table_lines(a_snat_table, 200))
    assert "24 of 24 ports were kept" in page
    assert "as set" not in page
    assert page.count("ipamd: connection refused") == 1
    assert "gap ip-192-168-3-29, agent: no agent of ip-192-168-3-29 is connected decisive" in page


def test_findings_of_the_rows_follow_the_table_once(a_snat_table: snat_pb2.SnatTable) -> None:
    for snat in a_snat_table.nodes:
        snat.findings.add(
            code="SNAT_BY_ANOTHER_RULE", severity=trace_pb2.Finding.error, node="n", text="why", fix="how"
        )
    page = flat(snat_table_lines(a_snat_table, 120))
    assert page.count("error SNAT_BY_ANOTHER_RULE n why fix how") == 1


def test_no_node_is_told_apart_from_none_that_could_be_read() -> None:
    assert text_of(snat_table_lines(snat_pb2.SnatTable(), 80)).startswith("No node: no agent has connected")
    table = snat_pb2.SnatTable()
    table.gaps.add(node="n", part="agent", why="gone", decisive=True)
    assert flat(snat_table_lines(table, 80)) == "No node could be read. gap n, agent: gone decisive"


def string_fields(descriptor: Any, path: tuple[FieldDescriptor, ...] = ()) -> Iterator[tuple[FieldDescriptor, ...]]:
    for field in descriptor.fields:
        if field.type == FieldDescriptor.TYPE_STRING:
            yield (*path, field)
        elif field.type == FieldDescriptor.TYPE_MESSAGE and field.message_type not in [f.message_type for f in path]:
            yield from string_fields(field.message_type, (*path, field))


def poison(message: Message, path: tuple[FieldDescriptor, ...]) -> None:
    """Sets the field at `path` to HOSTILE in every message that is there, adding one where none is."""
    field, *rest = path
    if not rest:
        setattr(message, field.name, HOSTILE)
    elif field.is_repeated:
        inner = getattr(message, field.name)
        for each in [*inner] or [inner.add()]:
            poison(each, tuple(rest))
    else:
        poison(getattr(message, field.name), tuple(rest))


@pytest.mark.parametrize("kind", [snat_pb2.Snat, snat_pb2.SnatTable], ids=lambda kind: kind.DESCRIPTOR.name)
def test_no_string_lets_a_control_character_through(
    kind: type[Message], a_snat: ASnat, a_snat_table: snat_pb2.SnatTable
) -> None:
    shown = 0
    for path in string_fields(kind.DESCRIPTOR):
        message: Any = kind()
        message.CopyFrom(a_snat("snat-not-in-effect") if kind is snat_pb2.Snat else a_snat_table)
        poison(message, path)
        for width in (40, 100):
            lines = (
                snat_lines(escaped(message), width, every_statement=True)
                if kind is snat_pb2.Snat
                else snat_table_lines(escaped(message), width)
            )
            text = text_of(lines)
            dirty = {char for char in text if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp")} - {"\n"}
            assert not dirty, ".".join(field.name for field in path)
            assert not [line for line in lines if cells(line) > width], ".".join(field.name for field in path)
            shown += "[red]b" in text.replace("\n", "").replace(" ", "")
    # Most fields are printed, and none of them as markup.
    assert shown > 30
