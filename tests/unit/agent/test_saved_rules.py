"""A table's text as iptables-save prints it, and what is asked of it without making every rule a value."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pathtap import wire
from pathtap.agent.readers.xtables import parse
from pathtap.model.netfilter import Backend, Chain, NetfilterRule, RuleSet
from pathtap.model.saved import SavedChains, SavedRules, SavedTextError
from pathtap.v1 import node_pb2

TEXT = """:PREROUTING DROP [5:300]
:OUTPUT ACCEPT [0:0]
:KUBE-A - [0:0]
:EMPTY - [0:0]
[1:60] -A PREROUTING -j KUBE-A
[2:120] -A KUBE-A -d 10.0.0.1/32 -m comment --comment "a b" -j ACCEPT
[0:0] -A KUBE-A
"""
RULES = (
    NetfilterRule(position=1, text='-d 10.0.0.1/32 -m comment --comment "a b" -j ACCEPT', packets=2, bytes=120),
    NetfilterRule(position=2, text="", packets=0, bytes=0),
)


def test_chains_are_found_by_name_in_the_order_of_their_declaration() -> None:
    chains = SavedChains("nat", TEXT)
    assert [chain.name for chain in chains] == ["PREROUTING", "OUTPUT", "KUBE-A", "EMPTY"]
    assert chains.named("KUBE-A") == chains[2] == Chain(name="KUBE-A", rules=RULES)
    assert (chains.named("EMPTY"), chains.named("absent")) == (Chain(name="EMPTY"), None)
    assert [(base.name, base.hook, base.kind, base.priority, base.policy) for base in chains.base()] == [
        ("PREROUTING", "prerouting", "nat", -100, "DROP"),
        ("OUTPUT", "output", "nat", -100, "ACCEPT"),
    ]
    assert chains.count_rules() == 3


def test_rules_are_a_sequence_like_any_other() -> None:
    rules = SavedChains("nat", TEXT)[2].rules
    assert isinstance(rules, SavedRules)
    assert (len(rules), rules[0], rules[-1], rules[:1]) == (2, RULES[0], RULES[1], RULES[:1])
    assert list(rules.texts()) == [rule.text for rule in RULES]
    assert all((rules == RULES, tuple(rules) == rules, hash(rules) == hash(RULES)))
    assert rules != RULES[:1]
    with pytest.raises(IndexError):
        rules[2]


def test_a_name_that_begins_like_another_is_another_chain() -> None:
    text = ":KUBE - [0:0]\n:KUBE-A - [0:0]\n[0:0] -A KUBE-A -j ACCEPT\n[0:0] -A KUBE -j DROP\n[0:0] -A KUBE-A -j DROP\n"
    found = {chain.name: [rule.text for rule in chain.rules] for chain in SavedChains("nat", text)}
    assert found == {"KUBE": ["-j DROP"], "KUBE-A": ["-j ACCEPT", "-j DROP"]}


@pytest.mark.parametrize(
    "comment", ['"one line"', r'"a quote \" in it"', '"two\nlines"', '"\n[9:9] -A OTHER -j DROP\n"']
)
def test_a_comment_ends_where_its_quote_does(comment: str) -> None:
    line = f"-m comment --comment {comment} -j ACCEPT"
    text = f":CHAIN - [0:0]\n:OTHER - [0:0]\n[1:1] -A CHAIN {line}\n[2:2] -A CHAIN -j DROP\n[3:3] -A OTHER {line}\n"
    found = {chain.name: list(chain.rules) for chain in SavedChains("nat", text)}
    assert [rule.text for rule in found["CHAIN"]] == [line, "-j DROP"]
    assert found["OTHER"] == [NetfilterRule(position=1, text=line, packets=3, bytes=3)]


@pytest.mark.parametrize(
    "text",
    [
        "[0:0] -A UNDECLARED -j DROP\n",
        ":A - [0:0]\n-A A -j DROP\n",
        ":A - [0:0]\n[0:0] -A A -j DROP",
        ":A\n",
        "nonsense\n",
    ],
    ids=["undeclared", "no counters", "cut", "no policy", "nonsense"],
)
def test_what_is_no_tables_text_is_refused(text: str) -> None:
    with pytest.raises(SavedTextError):
        SavedChains("nat", text)
    message = node_pb2.RuleSet(backend=node_pb2.RuleSet.NFT, family="ip", table="nat", saved=text)
    with pytest.raises(wire.WireError, match=r"^the text of table nat is none: "):
        wire.rule_set_from_wire(message)


def test_the_text_travels_as_it_is() -> None:
    sent = RuleSet(
        backend=Backend.LEGACY,
        family="ip",
        table="nat",
        chains=SavedChains("nat", TEXT),
        read_by="iptables-legacy-save",
    )
    message = wire.rule_set_to_wire(sent)
    assert (message.saved, list(message.chains)) == (TEXT, [])
    received = wire.rule_set_from_wire(message)
    assert received == sent
    assert received.chain("KUBE-A") == Chain(name="KUBE-A", rules=RULES)
    assert (received.part, received.count_rules()) == ("nat (iptables-legacy)", 3)


def test_chains_with_and_without_a_text_are_equal() -> None:
    saved = SavedChains("nat", TEXT)
    assert all((saved == tuple(saved), tuple(saved) == saved, hash(saved) == hash(tuple(saved))))
    assert saved != SavedChains("nat", TEXT.replace("DROP", "ACCEPT"))


@pytest.mark.parametrize("name", ['a"b', 'a"', "a\u00a0b", "\u65e5\u672c", "a\\b", "\u0085"])
def test_a_chain_is_named_by_anything_but_blanks(name: str) -> None:
    rules = f'[1:2] -A OTHER -j {name}\n[3:4] -A {name} -m comment --comment "x\ny" -j {name}\n[5:6] -A {name}\n'
    chains = SavedChains("nat", f":{name} - [0:0]\n:OTHER - [0:0]\n{rules}")
    found = {chain.name: [rule.text for rule in chain.rules] for chain in chains}
    assert found == {name: [f'-m comment --comment "x\ny" -j {name}', ""], "OTHER": [f"-j {name}"]}
    assert parse(f"*nat\n{chains.text}COMMIT\n", Backend.NFT, "ip").rule_sets[0].chains == chains


PIECES = (
    *(
        "[1:2] -A A",
        "[1:2] -A B ",
        '[0:0] -A a"',
        f"[{'9' * 5000}:1] -A A",
        ":A - [0:0]",
        ':a" - [0:0]',
        "# x",
        "COMMIT",
    ),
    *(" -j B", '"', "\\", "\n", "\r", "\x0b", "\u00a0", "\u0085", " ", "x", "*nat"),
)


@given(pieces=st.lists(st.sampled_from(PIECES), max_size=12))
def test_whatever_is_taken_for_a_tables_text_can_be_read_to_its_end(pieces: list[str]) -> None:
    text = f':A - [0:0]\n:B ACCEPT [0:0]\n:a" - [0:0]\n{"".join(pieces)}\n'
    message = node_pb2.RuleSet(backend=node_pb2.RuleSet.NFT, family="ip", table="nat", saved=text)
    try:
        received = wire.rule_set_from_wire(message)
    except wire.WireError:
        return
    assert received.count_rules() == sum(len(list(chain.rules)) for chain in received.chains)
    assert wire.rule_set_from_wire(wire.rule_set_to_wire(received)) == received
