"""Each verdict of `snat`, by rules, intent and ports, against the conditions of docs/snat.md; and the sentences that say why."""

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_address
from itertools import product

import pytest

from pathtap.collector.proving.evidence import Evidence
from pathtap.collector.proving.statistics import PortsSay
from pathtap.collector.proving.verdict import Judgement, judge
from pathtap.model.address import Protocol, Socket
from pathtap.model.netfilter import Backend, Random
from pathtap.model.node import PortRange
from pathtap.model.snat import Intent, Opened, PortPair, SnatVerdict, Standing, TranslatingRule
from pathtap.model.trace import Gap, RuleReference, Witness

NONE, RANDOM, FULLY = Random.NONE, Random.RANDOM, Random.FULLY
NEW, OLD = "6.1.112-122.189.amzn2023.x86_64", "4.14.355-275.570.amzn2.x86_64"
POD, NODE, FAR = ip_address("192.168.1.41"), ip_address("192.168.1.29"), ip_address("198.51.100.8")
SPREAD = tuple(1_500 + n * 997 for n in range(64))
# What the kernel did, by what the ports then say: the translated port of the n-th connection.
DONE = {
    PortsSay.PRESERVED: lambda n: 40_000 + n,
    PortsSay.SCATTERED: lambda n: SPREAD[n * 29 % 64],
    PortsSay.SUCCESSIVE: lambda n: 5_000 + n,
    PortsSay.UNEVEN: lambda n: 33_000 + (n * 29 % 64) * 400,
    PortsSay.MIXED: lambda n: SPREAD[n * 29 % 64] if n % 2 else 40_000 + n,
}
NAMES = {NONE: "none", RANDOM: "hashrandom", FULLY: "prng"}
VERDICTS = {
    NONE: SnatVerdict.NOT_RANDOM,
    RANDOM: SnatVerdict.RANDOM_NOT_FULLY,
    FULLY: SnatVerdict.FULLY_RANDOM,
}
EXEMPT = Intent(translated=False, random=NONE, says="AWS_VPC_K8S_CNI_EXTERNALSNAT is true", source="n1 ipamd")


def rule(random: Random, chain: str = "AWS-SNAT-CHAIN-0", backend: Backend = Backend.NFT) -> RuleReference:
    return RuleReference(backend=backend, table="nat", chain=chain, position=2, text="-j SNAT", random=random)


def standing(which: RuleReference, is_: Standing) -> TranslatingRule:
    return TranslatingRule(owner="", rule=which, standing=is_)


def wanted(random: Random) -> Intent:
    return Intent(
        translated=True, random=random, says=f"AWS_VPC_K8S_CNI_RANDOMIZESNAT is {NAMES[random]}", source="n1 ipamd"
    )


def pair(original: int, translated: int | None, protocol: int = Protocol.TCP, why: str = "") -> PortPair:
    """`translated` None leaves the source as it is."""
    return PortPair(
        protocol=protocol,
        original=Socket(POD, original),
        translated=Socket(POD, original) if translated is None else Socket(NODE, translated),
        destination=Socket(FAR, 443),
        witnesses=(Witness.RECORDED,),
        discounted=why,
    )


def pairs(done: PortsSay, count: int = 64, protocol: int = Protocol.TCP) -> tuple[PortPair, ...]:
    return tuple(pair(40_000 + n, DONE[done](n), protocol) for n in range(count))


def evidence(
    *candidates: RuleReference,
    seen: Sequence[PortPair] = (),
    behind: Sequence[RuleReference] = (),
    intent: Intent | None = None,
    kernel: str = NEW,
) -> Evidence:
    first = Standing.FIRST if len(candidates) == 1 else Standing.UNDECIDED
    rules = (*((each, first) for each in candidates), *((each, Standing.BEHIND) for each in behind))
    return Evidence(
        source="shop/search",
        destination="198.51.100.8:443",
        protocol=Protocol.TCP,
        kernel=kernel,
        candidates=candidates,
        rules=tuple(standing(each, is_) for each, is_ in rules),
        translated_to=NODE if candidates else None,
        interface="eth0" if candidates else "",
        intent=intent,
        pairs=tuple(seen),
        opened=Opened(answered=len(seen)),
    )


def expected(flag: Random, intent: Intent | None, done: PortsSay | None, kernel: str) -> SnatVerdict:
    """The table of docs/snat.md, read literally. `done` None stands for no pairs at all."""
    agreeing = {NONE: {PortsSay.PRESERVED}, RANDOM: {PortsSay.SCATTERED}, FULLY: {PortsSay.SCATTERED}}[flag]
    if kernel == OLD and flag is RANDOM:
        agreeing = {PortsSay.SUCCESSIVE}
    if done is not None and done not in agreeing:
        return SnatVerdict.CONTRADICTORY
    if intent is not None and intent.translated and intent.random is FULLY and flag is not FULLY:
        return SnatVerdict.NOT_IN_EFFECT
    return SnatVerdict.INCONCLUSIVE if done is None else VERDICTS[flag]


CASES = list(product(Random, (None, EXEMPT, *(wanted(each) for each in Random)), (None, *DONE), (NEW, OLD)))


@pytest.mark.parametrize(("flag", "intent", "done", "kernel"), CASES)
def test_every_rule_with_every_intent_and_all_that_ports_can_show(
    flag: Random, intent: Intent | None, done: PortsSay | None, kernel: str
) -> None:
    found = judge(evidence(rule(flag), seen=pairs(done) if done else (), intent=intent, kernel=kernel))
    assert found.verdict is expected(flag, intent, done, kernel), found.summary
    assert found.ports is (done or PortsSay.TOO_FEW)
    wish = FULLY if intent is None else intent.random if intent.translated else None
    assert found.as_intended is (found.verdict is VERDICTS[flag] and flag is wish)


def of(*candidates: RuleReference, done: PortsSay | None = None, **more: object) -> Judgement:
    return judge(evidence(*candidates, seen=pairs(done) if done else (), **more))  # type: ignore[arg-type]


def test_fully_random_is_said_with_rule_address_interface_and_ports() -> None:
    assert of(rule(FULLY), done=PortsSay.SCATTERED).summary == (
        "Traffic from shop/search to 198.51.100.8:443 is translated to 192.168.1.29 on eth0 by "
        "nat AWS-SNAT-CHAIN-0 #2 (VPC CNI, iptables-nft) "
        "with --random-fully, and 64 of 64 ports agree: none was kept, they spread over 1500 to 64311."
    )


def test_a_native_rules_flag_is_written_as_nft_does() -> None:
    native = RuleReference(
        backend=Backend.NFTABLES, table="kube-proxy", chain="masquerading", position=0, text="", random=FULLY
    )
    said = of(native, done=PortsSay.SCATTERED).summary
    assert "by kube-proxy masquerading (kube-proxy, nftables) with fully-random, and" in said


def test_a_kept_port_among_many_is_called_chance() -> None:
    seen = (pair(2_000, 2_000), *pairs(PortsSay.SCATTERED)[1:])
    found = judge(evidence(rule(FULLY), seen=seen))
    assert found.verdict is SnatVerdict.FULLY_RANDOM
    assert "1 was kept by chance" in found.summary


def test_random_says_that_ports_cannot_tell_it_from_fully_on_kernels_of_today() -> None:
    said = of(rule(RANDOM), done=PortsSay.SCATTERED).summary
    assert f"From Linux 5.0 on (here it is {NEW}) ports cannot tell --random from --random-fully: the rule's" in said
    assert "counts up" in of(rule(RANDOM), done=PortsSay.SUCCESSIVE, kernel=OLD).summary


@pytest.mark.parametrize(
    ("kernel", "flag", "verdict"),
    [
        ("4.20.17", RANDOM, SnatVerdict.RANDOM_NOT_FULLY),
        ("5.0.0", RANDOM, SnatVerdict.CONTRADICTORY),
        ("", RANDOM, SnatVerdict.RANDOM_NOT_FULLY),
        ("", FULLY, SnatVerdict.CONTRADICTORY),
        ("4.20.17", FULLY, SnatVerdict.CONTRADICTORY),
    ],
)
def test_successive_ports_are_those_of_random_on_kernels_that_count(
    kernel: str, flag: Random, verdict: SnatVerdict
) -> None:
    assert of(rule(flag), done=PortsSay.SUCCESSIVE, kernel=kernel).verdict is verdict


def test_one_connection_to_each_destination_shows_no_succession_on_any_kernel() -> None:
    """Each destination has a start of its own, at a hash: they scatter as drawn ones do."""
    seen = [replace(each, destination=Socket(FAR, 1_000 + n)) for n, each in enumerate(pairs(PortsSay.SCATTERED))]
    assert judge(evidence(rule(RANDOM), seen=seen, kernel=OLD)).verdict is SnatVerdict.RANDOM_NOT_FULLY
    assert judge(evidence(rule(FULLY), seen=seen, kernel=OLD)).verdict is SnatVerdict.FULLY_RANDOM


@pytest.mark.parametrize(("repeated", "verdict"), [(9, SnatVerdict.RANDOM_NOT_FULLY), (10, SnatVerdict.CONTRADICTORY)])
def test_ten_ports_compared_with_one_before_show_that_an_old_kernel_does_not_count(
    repeated: int, verdict: SnatVerdict
) -> None:
    seen = [
        replace(each, destination=Socket(FAR, 1_000 + n % (64 - repeated)))
        for n, each in enumerate(pairs(PortsSay.SCATTERED))
    ]
    assert judge(evidence(rule(RANDOM), seen=seen, kernel=OLD)).verdict is verdict


# Why fully random ports are not in effect.


def test_an_old_iptables_fell_back() -> None:
    said = of(rule(RANDOM), intent=wanted(FULLY)).summary
    assert said.endswith(
        "AWS_VPC_K8S_CNI_RANDOMIZESNAT is prng (n1 ipamd); with an iptables before 1.6.2, which lacks --random-fully, "
        "that becomes --random."
    )


def test_a_rule_was_never_written_anew() -> None:
    assert "the rule was not written anew when that was set" in of(rule(NONE), intent=wanted(FULLY)).summary


def test_anothers_rule_comes_first() -> None:
    aws, kube = rule(FULLY), rule(NONE, "KUBE-POSTROUTING")
    found = of(kube, done=PortsSay.PRESERVED, behind=[aws], intent=wanted(FULLY))
    assert found.verdict is SnatVerdict.NOT_IN_EFFECT
    assert (
        "by nat KUBE-POSTROUTING #2 (kube-proxy, iptables-nft) with no flag, and the ports show it: all"
        in found.summary
    )
    assert "which is for the VPC CNI's own rule, and kube-proxy's comes first" in found.summary
    assert "AWS-SNAT-CHAIN-0 #2 (VPC CNI, iptables-nft) has --random-fully and comes after it." in found.summary


def test_a_rule_of_the_same_owner_is_left_over_in_another_store() -> None:
    stale = rule(NONE, backend=Backend.LEGACY)
    found = of(stale, behind=[rule(FULLY)], intent=wanted(FULLY))
    assert found.verdict is SnatVerdict.NOT_IN_EFFECT
    assert found.summary.endswith("one of the two is left over from when VPC CNI wrote to the other store.")
    assert "written anew" not in found.summary


def test_a_rule_behind_alone_is_a_wish_that_is_not_in_effect() -> None:
    for intent in (None, wanted(NONE)):
        found = of(rule(NONE, "KUBE-POSTROUTING"), done=PortsSay.PRESERVED, behind=[rule(FULLY)], intent=intent)
        assert (found.verdict, found.as_intended) == (SnatVerdict.NOT_IN_EFFECT, False)


def test_a_rule_that_packets_pass_by_is_no_wish_for_them() -> None:
    passed = evidence(rule(NONE), seen=pairs(PortsSay.PRESERVED))
    passed = replace(passed, rules=(*passed.rules, standing(rule(FULLY, "KUBE-POSTROUTING"), Standing.PASSED_BY)))
    assert judge(passed).verdict is SnatVerdict.NOT_RANDOM


def test_ports_that_contradict_the_rule_go_before_what_was_set() -> None:
    assert of(rule(NONE), done=PortsSay.SCATTERED, intent=wanted(FULLY)).verdict is SnatVerdict.CONTRADICTORY


def test_few_ports_that_are_not_kept_contradict_a_rule_without_a_flag() -> None:
    found = judge(evidence(rule(NONE), seen=pairs(PortsSay.SCATTERED)[:30]))
    assert (found.verdict, found.ports) == (SnatVerdict.CONTRADICTORY, PortsSay.CHANGED)
    assert judge(evidence(rule(FULLY), seen=pairs(PortsSay.SCATTERED)[:30])).verdict is SnatVerdict.INCONCLUSIVE


# Effects that were set otherwise.


@pytest.mark.parametrize(
    ("flag", "done", "intent", "said"),
    [
        (NONE, PortsSay.PRESERVED, wanted(RANDOM), "is hashrandom (n1 ipamd), which asks for --random."),
        (RANDOM, PortsSay.SCATTERED, wanted(NONE), "is none (n1 ipamd), which asks for no flag."),
        (
            FULLY,
            PortsSay.SCATTERED,
            EXEMPT,
            "It is not meant to be translated: AWS_VPC_K8S_CNI_EXTERNALSNAT is true (n1 ipamd).",
        ),
    ],
)
def test_what_was_set_otherwise_is_said(flag: Random, done: PortsSay, intent: Intent, said: str) -> None:
    found = of(rule(flag), done=done, intent=intent)
    assert (found.verdict, found.as_intended) == (VERDICTS[flag], False)
    assert found.summary.endswith(said)


# The order of two rules that cannot be read.


@pytest.mark.parametrize(
    ("flags", "done", "verdict"),
    [
        ((NONE, FULLY), PortsSay.SCATTERED, SnatVerdict.FULLY_RANDOM),
        ((NONE, FULLY), PortsSay.PRESERVED, SnatVerdict.NOT_IN_EFFECT),
        ((NONE, FULLY), None, SnatVerdict.INCONCLUSIVE),
        ((NONE, FULLY), PortsSay.MIXED, SnatVerdict.CONTRADICTORY),
        ((NONE, RANDOM), PortsSay.PRESERVED, SnatVerdict.NOT_RANDOM),
        ((NONE, RANDOM), PortsSay.SCATTERED, SnatVerdict.RANDOM_NOT_FULLY),
        ((RANDOM, FULLY), PortsSay.SCATTERED, SnatVerdict.INCONCLUSIVE),
        ((RANDOM, FULLY), PortsSay.PRESERVED, SnatVerdict.CONTRADICTORY),
        ((FULLY, FULLY), PortsSay.SCATTERED, SnatVerdict.FULLY_RANDOM),
    ],
)
def test_ports_decide_which_of_two_rules_came_first(
    flags: tuple[Random, Random], done: PortsSay | None, verdict: SnatVerdict
) -> None:
    found = of(rule(flags[0], "KUBE-POSTROUTING"), rule(flags[1]), done=done)
    assert found.verdict is verdict, found.summary
    if verdict is VERDICTS.get(flags[1]) and flags[0] is NONE:
        assert found.rules == (rule(flags[1]),)


def test_an_old_kernel_tells_random_from_fully_by_ports_where_rules_do_not() -> None:
    two = rule(RANDOM, "KUBE-POSTROUTING"), rule(FULLY)
    assert of(*two, done=PortsSay.SUCCESSIVE, kernel=OLD).verdict is SnatVerdict.NOT_IN_EFFECT
    assert of(*two, done=PortsSay.SCATTERED, kernel=OLD).verdict is SnatVerdict.FULLY_RANDOM


def test_neither_of_two_rules_is_fully_so_that_it_is_not_in_effect_without_pairs() -> None:
    found = of(rule(NONE), rule(RANDOM, "KUBE-POSTROUTING"), intent=wanted(FULLY))
    assert found.verdict is SnatVerdict.NOT_IN_EFFECT


# Not translated.

UNTRANSLATED = tuple(pair(40_000 + n, None) for n in range(64))


@pytest.mark.parametrize("seen", [(), UNTRANSLATED])
@pytest.mark.parametrize(
    ("says", "source"),
    [
        ("192.168.0.0/16 is a CIDR of the VPC", "n1 imds"),
        ("AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS has 198.51.100.0/24", "n1 ipamd"),
        ("AWS_VPC_K8S_CNI_EXTERNALSNAT is true", "n1 ipamd"),
    ],
)
def test_not_translated_says_why(says: str, source: str, seen: Sequence[PortPair]) -> None:
    found = judge(evidence(seen=seen, intent=Intent(translated=False, random=NONE, says=says, source=source)))
    assert (found.verdict, found.as_intended) == (SnatVerdict.NOT_TRANSLATED, True)
    assert found.summary == f"Traffic from shop/search to 198.51.100.8:443 is not translated: {says} ({source})."
    assert found.statistics is None
    assert all(each.discounted for each in found.pairs)


def test_a_rule_is_missing() -> None:
    found = of(intent=wanted(FULLY))
    assert (found.verdict, found.as_intended) == (SnatVerdict.NOT_TRANSLATED, False)
    assert found.summary.endswith("RANDOMIZESNAT is prng (n1 ipamd), but the rule is missing.")


def test_nothing_is_known_but_that_no_rule_translates() -> None:
    found = of()
    assert (found.verdict, found.as_intended) == (SnatVerdict.NOT_TRANSLATED, False)
    local = judge(replace(evidence(), why_not_translated="it is for n1 itself"))
    assert local.summary.endswith("is not translated: it is for n1 itself.")


def test_entries_that_show_a_translation_contradict_that_there_is_none() -> None:
    found = judge(evidence(seen=pairs(PortsSay.SCATTERED), intent=EXEMPT))
    assert found.verdict is SnatVerdict.CONTRADICTORY
    assert "64 of its connections were translated" in found.summary
    older = judge(replace(evidence(seen=pairs(PortsSay.SCATTERED)), opened=None))
    assert older.summary.endswith("The connections may be older than the rules.")


def test_a_port_that_the_kernel_changes_without_a_rule_is_no_translation() -> None:
    """Where two connections come to one place by DNAT; a host's ports that all change are a rule's work."""

    def with_moved(count: int) -> tuple[PortPair, ...]:
        moved = (
            replace(each, translated=Socket(POD, 2_000 + each.original.port % 997)) for each in UNTRANSLATED[:count]
        )
        return (*moved, *UNTRANSLATED[count:])

    assert judge(evidence(seen=with_moved(1), intent=EXEMPT)).verdict is SnatVerdict.NOT_TRANSLATED
    assert judge(evidence(seen=with_moved(64), intent=EXEMPT)).verdict is SnatVerdict.CONTRADICTORY


def test_what_no_rule_translates_is_open_where_no_entry_could_be_read() -> None:
    found = judge(replace(evidence(intent=EXEMPT), pairs_unread="conntrack refuses: EPERM"))
    assert found.verdict is SnatVerdict.INCONCLUSIVE
    assert "How traffic from shop/search to 198.51.100.8:443 is translated cannot be told" in found.summary
    assert "conntrack refuses: EPERM" in found.summary


def test_connections_that_keep_their_source_contradict_a_rule() -> None:
    found = judge(evidence(rule(FULLY), seen=(*pairs(PortsSay.SCATTERED), *UNTRANSLATED[:2])))
    assert found.verdict is SnatVerdict.CONTRADICTORY
    assert "2 of 66 connections kept their source" in found.summary


def test_a_host_network_pod_is_translated_to_its_own_address() -> None:
    """Same address, and with no flag the same port: the rule is what says that it is translated."""
    host = tuple(replace(each, original=Socket(NODE, each.original.port)) for each in pairs(PortsSay.PRESERVED))
    assert judge(evidence(rule(NONE), seen=host)).verdict is SnatVerdict.NOT_RANDOM
    drawn = tuple(replace(each, original=Socket(NODE, each.original.port)) for each in pairs(PortsSay.SCATTERED))
    assert judge(evidence(rule(FULLY), seen=drawn)).verdict is SnatVerdict.FULLY_RANDOM


# Inconclusive, and what to do.


def test_what_could_not_be_evaluated_leaves_all_open_and_the_ports_are_told() -> None:
    gap = Gap(node="n1", part="nat (iptables-nft)", why="permission denied", decisive=True)
    for unread in ({"unknown": ("ipset cali40all of n1 could not be read",)}, {"gaps": (gap,)}):
        found = judge(replace(evidence(rule(FULLY), seen=pairs(PortsSay.SCATTERED), intent=wanted(FULLY)), **unread))
        assert (found.verdict, found.as_intended) == (SnatVerdict.INCONCLUSIVE, False)
        assert found.summary.startswith(
            "How traffic from shop/search to 198.51.100.8:443 is translated cannot be told: "
        )
        assert "none was kept, they spread over 1500 to 64311" in found.summary


def test_too_few_pairs_say_how_many_of_how_many_and_what_to_do() -> None:
    few = evidence(rule(FULLY), seen=pairs(PortsSay.SCATTERED)[:12])
    said = judge(few).summary
    assert "12 of 12 ports count, and it takes 54. So far 0 of 12 were kept." in said
    assert said.endswith("Open more with --connections.")
    assert "--timeout" in judge(replace(few, opened=None, live=True)).summary
    assert "name a destination" in judge(replace(few, opened=None)).summary


def test_no_connection_could_be_opened() -> None:
    failed = Opened(failed=64, failure="Network is unreachable")
    found = judge(replace(evidence(rule(FULLY)), opened=failed))
    assert found.verdict is SnatVerdict.INCONCLUSIVE
    assert "64 connections could not be opened: Network is unreachable." in found.summary
    unread = judge(replace(evidence(rule(FULLY)), pairs_unread="the agent of n1 did not answer"))
    assert "cannot be told: the agent of n1 did not answer." in unread.summary


@pytest.mark.parametrize(
    "why",
    [
        "192.168.1.117 held its port towards the destination",
        "its port is below 1024, of which the kernel keeps the class",
    ],
)
def test_pairs_that_do_not_count_say_why(why: str) -> None:
    found = judge(evidence(rule(NONE), seen=[replace(each, discounted=why) for each in pairs(PortsSay.PRESERVED)]))
    assert found.verdict is SnatVerdict.INCONCLUSIVE
    assert f"64 do not count: {why}." in found.summary


def test_identifiers_tell_nothing_before_linux_5_1() -> None:
    """0, 1, 2 with --random-fully too, and always 0 in 5.0."""
    counted = tuple(pair(300 + n, n, Protocol.ICMP) for n in range(64))
    for kernel in (OLD, "5.0.21"):
        found = judge(replace(evidence(rule(FULLY), seen=counted, kernel=kernel), protocol=Protocol.ICMP))
        assert found.verdict is SnatVerdict.INCONCLUSIVE
        assert "64 do not count: before Linux 5.1 identifiers are counted up, whatever the flag." in found.summary
    drawn = tuple(pair(n, SPREAD[n * 29 % 64], Protocol.ICMP) for n in range(64))
    today = judge(replace(evidence(rule(FULLY), seen=drawn), protocol=Protocol.ICMP))
    assert today.verdict is SnatVerdict.FULLY_RANDOM
    assert "64 of 64 identifiers agree" in today.summary


def test_a_single_port_and_a_full_range_tell_nothing_whatever_the_number() -> None:
    single = replace(evidence(rule(FULLY), seen=[pair(2_000, 2_000)] * 500), ports=PortRange(first=2_000, last=2_000))
    found = judge(single)
    assert found.verdict is SnatVerdict.INCONCLUSIVE
    assert "the rule leaves port 2000 alone to choose" in found.summary
    assert "--connections" not in found.summary
    full = judge(replace(evidence(rule(NONE), seen=pairs(PortsSay.PRESERVED)), unseen_share=0.99))
    assert full.verdict is SnatVerdict.INCONCLUSIVE
    assert "99% of 1024 to 65535 come into use and go" in full.summary
    assert "--connections" not in full.summary


def test_without_a_destination_it_is_what_lies_outside() -> None:
    found = judge(replace(evidence(rule(NONE), seen=pairs(PortsSay.PRESERVED)), destination="", opened=None))
    assert found.summary.startswith(
        "Traffic from shop/search to what lies outside of the VPC is translated to 192.168.1.29 on eth0"
    )


@pytest.mark.parametrize("intent", [wanted(FULLY), None])
def test_ports_that_may_be_older_than_the_rules_hide_no_rule_that_is_not_in_effect(intent: Intent | None) -> None:
    """Nothing was opened: what is there says nothing against what the rules' texts show."""
    seen = evidence(rule(NONE, "KUBE-POSTROUTING"), seen=pairs(PortsSay.SCATTERED), behind=[rule(FULLY)], intent=intent)
    opened, present = judge(seen), judge(replace(seen, opened=None))
    assert (opened.verdict, present.verdict) == (SnatVerdict.CONTRADICTORY, SnatVerdict.NOT_IN_EFFECT)
    assert "may be older than the rule: none was kept" in present.summary
    alone = judge(replace(seen, opened=None, intent=None, rules=()))
    assert alone.verdict is SnatVerdict.INCONCLUSIVE
    assert "contradict nat KUBE-POSTROUTING #2" in alone.summary
    assert "they may be older than the rules. Of the ports that count none was kept" in alone.summary
    assert "with --live" in alone.summary


OLD_KEPT, NEW_DRAWN = pairs(PortsSay.PRESERVED), pairs(PortsSay.SCATTERED)


@pytest.mark.parametrize(
    ("seen", "fresh", "verdict", "counted"),
    [
        ((*OLD_KEPT, *NEW_DRAWN), 64, SnatVerdict.FULLY_RANDOM, 64),
        ((*NEW_DRAWN, *OLD_KEPT), 64, SnatVerdict.CONTRADICTORY, 64),
        ((*NEW_DRAWN[:60], *NEW_DRAWN[60:]), 4, SnatVerdict.FULLY_RANDOM, 64),
        ((*OLD_KEPT, *NEW_DRAWN[:4]), 4, SnatVerdict.INCONCLUSIVE, 68),
        (OLD_KEPT, 0, SnatVerdict.INCONCLUSIVE, 64),
    ],
    ids=["young suffice", "young contradict", "old agree", "old contradict", "old alone"],
)
def test_while_watching_those_that_came_are_judged_and_older_ones_only_where_they_agree(
    seen: tuple[PortPair, ...], fresh: int, verdict: SnatVerdict, counted: int
) -> None:
    found = judge(replace(evidence(rule(FULLY), seen=seen), opened=None, live=True, fresh=fresh))
    assert found.verdict is verdict, found.summary
    assert found.statistics is not None
    assert found.statistics.counted == counted
    assert ("may be older than the rules" in found.summary) is (verdict is SnatVerdict.INCONCLUSIVE)


def test_few_that_came_and_were_not_kept_contradict_a_rule_without_a_flag() -> None:
    seen = (*OLD_KEPT, *NEW_DRAWN[:20])
    found = judge(replace(evidence(rule(NONE), seen=seen), opened=None, live=True, fresh=20))
    assert found.verdict is SnatVerdict.CONTRADICTORY


# Ports and identifiers of one rule.


@pytest.mark.parametrize("own", [None, PortRange(first=1_024, last=65_535)])
def test_ports_and_identifiers_are_judged_apart_and_either_may_contradict(own: PortRange | None) -> None:
    udp = tuple(pair(40_000 + n, 1024 + n * 641, Protocol.UDP) for n in (37 * m % 100 for m in range(100)))
    echoes = tuple(pair(2_000 + n, 2_000 + n, Protocol.ICMP) for n in range(60))
    drawn = tuple(pair(2_000 + n, SPREAD[n * 29 % 64], Protocol.ICMP) for n in range(60))
    told = replace(evidence(rule(FULLY), seen=(*udp, *echoes)), ports=own, protocol=0)
    found = judge(told)
    assert found.verdict is SnatVerdict.CONTRADICTORY
    assert "the identifiers contradict it: all were kept" in found.summary
    assert sum(each.discounted.endswith("is judged apart") for each in found.pairs) == 100
    agrees = judge(replace(told, pairs=(*udp, *drawn)))
    assert agrees.verdict is SnatVerdict.FULLY_RANDOM
    assert "the ports of those 100 of 160 connections that count agree" in agrees.summary
    few = judge(replace(told, pairs=(*udp[:60], *drawn[:8], *echoes[:1])))
    assert "the ports of those 60 of 69" in few.summary
    split = judge(replace(evidence(rule(NONE), rule(FULLY), seen=(*udp, *echoes)), ports=own, protocol=0))
    assert split.verdict is SnatVerdict.CONTRADICTORY


def test_a_rule_that_the_packet_does_not_come_to_is_not_called_missing() -> None:
    passed = TranslatingRule(owner="VPC CNI", rule=rule(FULLY), standing=Standing.PASSED_BY)
    untranslated = evidence(intent=wanted(FULLY))
    assert "does not come to nat AWS-SNAT-CHAIN-0" in judge(replace(untranslated, rules=(passed,))).summary
    assert "the rule is missing" in judge(untranslated).summary
