"""What a trace tells: hops and steps with their witnesses, the way out, what was translated, and the sentence on top."""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import ip_address

import pytest
from journeys import (
    CART_REDIS,
    CART_TO_REDIS,
    REDIS_TO_CART,
    answered,
    datagram,
    echo,
    entry,
    flow,
    handshake,
    question,
    record,
    reset,
    silent,
    syn,
    syn_ack,
    trace_of,
    travel,
)
from small_cluster import (
    CART,
    HOST_1,
    HOST_2,
    INTERNET,
    NODE_1,
    NODE_2,
    ORDERS,
    REDIS,
    SEARCH,
    SERVICE,
    cluster_items,
    filtering,
    inventory_of,
    node_1,
    node_2,
    node_item,
    pod_item,
    route,
    with_routes,
    without_routes,
)

from pathtap.collector.telling.assemble import Answers, lay_out
from pathtap.model.address import Socket
from pathtap.model.netfilter import Random
from pathtap.model.node import RouteAnswer
from pathtap.model.packet import Lost
from pathtap.model.trace import Action, CauseKind, DestinationNat, Gap, Hop, Path, Step, Trace, Witness

Scene = Callable[[], Trace]

TO_REDIS = question("shop/cart", "shop/redis", 6379)
OUTWARD, SNATTED = flow(SEARCH, INTERNET, 443), flow(HOST_1, INTERNET, 443, 50_712)
SNAT = entry("1", OUTWARD, source=f"{HOST_1}:50712", mark=0x80)
ASKED, CHOSEN = flow(CART, SERVICE, 80), flow(CART, ORDERS, 8080)
DNAT = entry("1", ASKED, to=f"{ORDERS}:8080")


def delivered() -> Trace:
    return trace_of(record(TO_REDIS, [answered(CART_REDIS)], handshake(), entries=[entry("1", CART_REDIS)]))


def translated_source() -> Trace:
    observations = [
        *travel(syn(OUTWARD), "1 enisearch in", ("1 eth0 out", SNATTED)),
        *travel(syn_ack(SNATTED), "1 eth0 in", ("1 enisearch out", OUTWARD.reversed), start=1),
    ]
    return trace_of(record(question("shop/search", INTERNET, 443), [answered(OUTWARD)], observations, entries=[SNAT]))


def translated_destination() -> Trace:
    observations = [
        *travel(syn(ASKED), "1 enicart in", ("1 eth0 out", CHOSEN), ("2 eth0 in", CHOSEN), ("2 eniorders out", CHOSEN)),
        *travel(
            syn_ack(CHOSEN),
            "2 eniorders in",
            "2 eth1 out",
            "1 eth0 in",
            ("1 enicart out", ASKED.reversed),
            start=1,
        ),
    ]
    asked = question("shop/cart", "svc/shop/web")
    return trace_of(record(asked, [answered(ASKED)], observations, entries=[DNAT, entry("2", CHOSEN)]))


def dropped_by_a_rule() -> Trace:
    snapshot = filtering(node_1(), "forward", f"-d {REDIS}/32 -j DROP")
    return trace_of(
        record(TO_REDIS, [silent(CART_REDIS)], travel(syn(CART_REDIS), "1 enicart in"), snapshots=[snapshot])
    )


def dropped_before_routing() -> Trace:
    snapshot = filtering(node_1(), "prerouting", f"-d {REDIS}/32 -j DROP")
    return trace_of(
        record(TO_REDIS, [silent(CART_REDIS)], travel(syn(CART_REDIS), "1 enicart in"), snapshots=[snapshot])
    )


def blackholed() -> Trace:
    snapshot = with_routes(node_1(), route(f"{REDIS}/32", kind="blackhole"))
    return trace_of(
        record(TO_REDIS, [silent(CART_REDIS)], travel(syn(CART_REDIS), "1 enicart in"), snapshots=[snapshot])
    )


def lost_in_the_vpc() -> Trace:
    return trace_of(record(TO_REDIS, [silent(CART_REDIS)], travel(syn(CART_REDIS), *CART_TO_REDIS[:2])))


def lost_answer() -> Trace:
    observations = [*travel(syn(CART_REDIS), *CART_TO_REDIS), *travel(syn_ack(CART_REDIS), *REDIS_TO_CART[:2], start=1)]
    return trace_of(record(TO_REDIS, [silent(CART_REDIS)], observations))


def unanswered() -> Trace:
    return trace_of(record(TO_REDIS, [silent(CART_REDIS)], travel(syn(CART_REDIS), *CART_TO_REDIS)))


def refused() -> Trace:
    observations = [*travel(syn(CART_REDIS), *CART_TO_REDIS), *travel(reset(CART_REDIS), *REDIS_TO_CART, start=1)]
    return trace_of(record(TO_REDIS, [silent(CART_REDIS)], observations))


def no_answer_from_outside() -> Trace:
    observations = travel(syn(OUTWARD), "1 enisearch in", ("1 eth0 out", SNATTED))
    return trace_of(record(question("shop/search", INTERNET, 443), [silent(OUTWARD)], observations, entries=[SNAT]))


def same_node() -> Trace:
    of = flow(CART, SEARCH, 0, 7, 1)
    observations = [
        *travel(echo(of), "1 enicart in", "1 enisearch out"),
        *travel(echo(of.reversed), "1 enisearch in", "1 enicart out", start=1),
    ]
    return trace_of(record(question("shop/cart", "shop/search"), [answered(of)], observations))


def between_nodes() -> Trace:
    of = flow(HOST_1, HOST_2, 9100)
    observations = [
        *travel(syn(of), "1 eth0 out", "2 eth0 in"),
        *travel(syn_ack(of), "2 eth0 out", "1 eth0 in", start=1),
    ]
    return trace_of(record(question(f"node/{NODE_1}", f"node/{NODE_2}", 9100), [answered(of)], observations))


def never_left_its_node() -> Trace:
    of = flow(HOST_1, REDIS)
    return trace_of(record(question(f"node/{NODE_1}", "shop/redis", 6379), [silent(of)]))


def never_left_its_pod() -> Trace:
    return trace_of(record(TO_REDIS, [silent(CART_REDIS)]))


def nobody_came() -> Trace:
    return trace_of(record(replace(TO_REDIS, live=True), sent=()))


def unread_nodes() -> Trace:
    """Packets without any snapshot: no role, no ENI, no rule can be told."""
    gaps = [Gap(node=node, part="snapshot", why="permission denied") for node in (NODE_1, NODE_2)]
    return trace_of(
        record(
            TO_REDIS,
            [answered(CART_REDIS)],
            handshake(),
            snapshots=[],
            captured={NODE_1: ("enicart", "eth0"), NODE_2: ("eth0", "eniredis")},
            gaps=gaps,
        )
    )


def lossy() -> Trace:
    lost = [Lost(node=NODE_2, where="stream", count=0)]
    return trace_of(record(TO_REDIS, [silent(CART_REDIS)], travel(syn(CART_REDIS), *CART_TO_REDIS[:2]), lost=lost))


def looping() -> Trace:
    rounds = ["1 enicart in", *["1 eth0 out", "2 eth0 in", "2 eth0 out", "1 eth0 in"] * 4]
    return trace_of(record(TO_REDIS, [silent(CART_REDIS)], travel(syn(CART_REDIS), *rounds)))


SCENES = [
    delivered,
    translated_source,
    translated_destination,
    dropped_by_a_rule,
    dropped_before_routing,
    blackholed,
    lost_in_the_vpc,
    lost_answer,
    unanswered,
    refused,
    no_answer_from_outside,
    same_node,
    between_nodes,
    never_left_its_node,
    never_left_its_pod,
    nobody_came,
    unread_nodes,
    lossy,
    looping,
]
every_scene = pytest.mark.parametrize("scene", SCENES, ids=lambda scene: str(scene.__name__))


def steps_of(path: Path | Hop) -> Iterator[Step]:
    hops = path.hops if isinstance(path, Path) else (path,)
    return (step for hop in hops for step in hop.steps)


def actions(hop: Hop) -> list[str]:
    return [step.action.value for step in hop.steps]


# What holds for every trace.


@every_scene
def test_every_step_has_a_witness_and_every_statement_says_who_and_where(scene: Scene) -> None:
    trace = scene()
    evidence = [each for path in (trace.forward, trace.reply) for step in steps_of(path) for each in step.evidence]
    assert all(step.evidence for path in (trace.forward, trace.reply) for step in steps_of(path))
    evidence += [each for finding in trace.verdict.findings for each in finding.evidence]
    assert all(each.claim and each.source for each in evidence)
    assert all(each.at is not None for each in evidence if each.witness is Witness.OBSERVED)


@every_scene
def test_every_finding_has_its_proof_and_its_mend(scene: Scene) -> None:
    trace = scene()
    for finding in trace.verdict.findings:
        assert finding.evidence
        assert finding.fix
        assert re.fullmatch(r"[A-Z][A-Z_]+", finding.code)


@every_scene
def test_summaries_are_sentences(scene: Scene) -> None:
    trace = scene()
    summary = trace.verdict.summary
    assert summary
    assert summary.endswith(".")
    for wrong in ("None", "  ", "..", " .", "()", "( ", "Ip-", "Shop/"):
        assert wrong not in summary, summary
    words = [sentence.split()[0] for sentence in re.split(r"(?<=\.) ", summary)]
    names = ("ip-192-168-", "shop/", "192.168.", "198.51.", "kube-system/")
    assert all(word[0].isupper() or word.startswith(names) for word in words), summary


@every_scene
def test_applied_is_false_and_never_absent(scene: Scene) -> None:
    trace = scene()
    assert trace.snat.applied is (scene in (translated_source, no_answer_from_outside))
    assert trace.dnat.applied is (scene is translated_destination)
    for nat in (trace.snat, trace.dnat):
        if not nat.applied:
            assert nat.original == nat.translated
            assert (nat.rule, nat.conntrack) == (None, "")


@every_scene
def test_an_inconclusive_trace_has_a_decisive_gap_and_no_other_has(scene: Scene) -> None:
    trace = scene()
    inconclusive = trace.verdict.disposition.value == "INSUFFICIENT_EVIDENCE"
    assert inconclusive is any(gap.decisive for gap in trace.verdict.gaps)


# Hops and steps.


def test_two_nodes_there_and_back() -> None:
    trace = delivered()
    assert [(hop.node, hop.ingress, hop.egress) for hop in trace.forward.hops] == [
        (NODE_1, "enicart", "eth0"),
        (NODE_2, "eth0", "eniredis"),
    ]
    assert [(hop.node, hop.ingress, hop.egress) for hop in trace.reply.hops] == [
        (NODE_2, "eniredis", "eth0"),
        (NODE_1, "eth0", "enicart"),
    ]
    assert actions(trace.forward.hops[0]) == ["RECEIVED", "TRACKED", "ROUTED", "ROUTED", "FORWARDED"]
    assert actions(trace.forward.hops[1])[-1] == "DELIVERED"
    assert actions(trace.reply.hops[1])[-1] == "DELIVERED"
    assert {step.packet for step in steps_of(trace.forward) if step.packet} == {"SYN"}
    assert {step.packet for step in steps_of(trace.reply) if step.packet} == {"SYN,ACK"}


def test_a_source_translation_is_expected_observed_and_recorded() -> None:
    hop = translated_source().forward.hops[0]
    assert actions(hop) == ["RECEIVED", "MARKED", "MARKED", "ROUTED", "ROUTED", "TRANSLATED", "FORWARDED", "FORWARDED"]
    (translated,) = [step for step in hop.steps if step.action is Action.TRANSLATED]
    assert (translated.before, translated.after) == (OUTWARD, SNATTED)
    assert set(translated.witnesses) == {Witness.EXPECTED, Witness.OBSERVED, Witness.RECORDED}
    connmark, fwmark = [step for step in hop.steps if step.action is Action.MARKED]
    assert set(connmark.witnesses) == {Witness.EXPECTED, Witness.RECORDED}
    assert set(fwmark.witnesses) == {Witness.EXPECTED}
    assert hop.steps[-1].witnesses == (Witness.ASSUMED,)


def test_a_destination_translation_comes_before_routing_and_its_undoing_after() -> None:
    trace = translated_destination()
    there, back = actions(trace.forward.hops[0]), actions(trace.reply.hops[-1])
    assert there.index("TRANSLATED") < there.index("ROUTED")
    assert back.index("TRANSLATED") > back.index("ROUTED")


def test_what_the_kernel_says_stands_beside_what_we_expect() -> None:
    gathered = record(TO_REDIS, [answered(CART_REDIS)], handshake())
    answers: Answers = {
        asked: RouteAnswer(table=254, interface="eth0", route="default via 192.168.1.1 dev eth0")
        for asked in lay_out(gathered).questions
        if asked[1].in_interface == "enicart"
    }
    routed = [step for step in trace_of(gathered, answers).forward.hops[0].steps if step.action is Action.ROUTED]
    assert [step.cause.kind for step in routed if step.cause] == [CauseKind.IP_RULE, CauseKind.ROUTE]
    assert [evidence.source for evidence in routed[1].evidence] == [
        f"{NODE_1} ip route",
        f"{NODE_1} RTM_GETROUTE",
        f"{NODE_1} eth0",
    ]
    # The lookup never tells the ip rule: for that our own evaluation stands alone.
    assert [evidence.source for evidence in routed[0].evidence] == [f"{NODE_1} ip rule"]


@pytest.mark.parametrize(
    ("scene", "kind"),
    [(dropped_by_a_rule, CauseKind.NETFILTER_RULE), (blackholed, CauseKind.ROUTE)],
)
def test_the_last_step_of_a_packet_that_stopped_names_what_stopped_it(scene: Scene, kind: CauseKind) -> None:
    trace = scene()
    last = trace.forward.hops[-1].steps[-1]
    assert last.action is Action.DROPPED
    assert last.cause is not None
    assert last.cause.kind is kind
    assert set(last.witnesses) == {Witness.OBSERVED, Witness.EXPECTED}


def test_a_loss_between_the_nodes_is_told_on_the_way_on_which_it_happened() -> None:
    there, back = lost_in_the_vpc(), lost_answer()
    assert there.forward.hops[-1].steps[-1].action is Action.DROPPED
    assert Action.DROPPED not in [step.action for step in steps_of(back.forward)]
    assert back.reply.hops[-1].steps[-1].action is Action.DROPPED
    unseen = [*travel(syn(CART_REDIS), *CART_TO_REDIS[:2]), *travel(syn_ack(CART_REDIS), *REDIS_TO_CART[:2], start=1)]
    lost = trace_of(record(TO_REDIS, [silent(CART_REDIS)], unseen))
    assert lost.verdict.reply.value == "LOST"
    assert Action.DROPPED not in [step.action for step in steps_of(lost.forward)]


def test_a_node_sends_and_receives_for_itself() -> None:
    trace = between_nodes()
    assert (trace.forward.hops[0].ingress, trace.forward.hops[-1].egress) == ("", "")
    assert actions(trace.forward.hops[0])[-1] == "SENT"
    assert actions(trace.forward.hops[-1])[-1] == "DELIVERED"
    assert actions(trace.reply.hops[0])[-1] == "SENT"


def test_a_node_that_reaches_its_own_pod_delivers_by_the_veth() -> None:
    of = flow(HOST_1, CART, 80)
    observations = [*travel(syn(of), "1 enicart out"), *travel(syn_ack(of), "1 enicart in", start=1)]
    trace = trace_of(record(question(f"node/{NODE_1}", "shop/cart", 80), [answered(of)], observations))
    assert actions(trace.forward.hops[0])[-1] == "DELIVERED"
    assert trace.egress is not None
    assert (trace.egress.interface, trace.egress.eni_id) == ("enicart", "")


# The way out.


def test_the_way_out_of_the_sources_node() -> None:
    egress = delivered().egress
    assert egress is not None
    assert (egress.node, egress.interface, egress.eni_id, egress.table) == (NODE_1, "eth0", "eni-1p", "main")
    assert egress.rule == "32766 from all lookup main"
    assert egress.route == "default via 192.168.1.1 dev eth0"


def test_the_way_out_by_the_mark_and_by_the_pods_own_eni() -> None:
    marked = translated_source().egress
    assert marked is not None
    assert (marked.eni_id, marked.rule) == ("eni-1p", "1024 from all fwmark 0x80/0x80 lookup main")
    of = flow(SEARCH, REDIS)
    seen = travel(syn(of), "1 enisearch in", "1 eth1 out", "2 eth0 in", "2 eniredis out")
    own = trace_of(record(question("shop/search", "shop/redis", 6379), [silent(of)], seen)).egress
    assert own is not None
    assert (own.eni_id, own.table, own.rule) == ("eni-1s", "2", f"1536 from {SEARCH} lookup 2")


def test_on_one_node_the_way_out_is_the_destinations_veth_and_no_eni() -> None:
    egress = same_node().egress
    assert egress is not None
    assert (egress.interface, egress.eni_id) == ("enisearch", "")


def test_dropped_after_routing_the_way_out_is_the_expected_one_and_before_routing_absent() -> None:
    after = dropped_by_a_rule().egress
    assert after is not None
    assert after.interface == "eth0"
    assert dropped_before_routing().egress is None
    assert blackholed().egress is None
    assert never_left_its_pod().egress is None


def test_the_way_out_of_another_node_is_not_told_as_the_sources() -> None:
    gaps = [Gap(node=NODE_1, part="agent", why="no agent")]
    seen = travel(syn(CART_REDIS), "2 eth0 in", "2 eniredis out")
    trace = trace_of(record(TO_REDIS, sent=[CART_REDIS], observations=seen, snapshots=[node_2()], gaps=gaps))
    assert trace.forward.hops
    assert trace.egress is None


def test_where_packets_and_configuration_part_the_packets_are_told_and_no_rule_for_them() -> None:
    of = flow(SEARCH, REDIS)
    seen = travel(syn(of), "1 enisearch in", "1 eth0 out", "2 eth0 in", "2 eniredis out")
    egress = trace_of(record(question("shop/search", "shop/redis", 6379), [silent(of)], seen)).egress
    assert egress is not None
    assert (egress.interface, egress.rule, egress.table, egress.route) == ("eth0", "", "", "")


# Translations.


def test_source_nat() -> None:
    snat = translated_source().snat
    assert snat.original == Socket(ip_address(SEARCH), 41_000)
    assert snat.translated == Socket(ip_address(HOST_1), 50_712)
    assert snat.rule is not None
    assert (snat.rule.chain, snat.rule.position, snat.rule.random) == ("AWS-SNAT-CHAIN-0", 2, Random.FULLY)
    assert f"dst={HOST_1}" in snat.conntrack


def test_for_icmp_the_port_is_the_identifier() -> None:
    of, after = flow(CART, INTERNET, 0, 7, 1), flow(HOST_1, INTERNET, 0, 38_540, 1)
    observations = [
        *travel(echo(of), "1 enicart in", ("1 eth0 out", after)),
        *travel(echo(after.reversed), "1 eth0 in", ("1 enicart out", of.reversed), start=1),
    ]
    trace = trace_of(record(question("shop/cart", INTERNET), [answered(of)], observations))
    assert (trace.snat.original, trace.snat.translated) == (
        Socket(ip_address(CART), 7),
        Socket(ip_address(HOST_1), 38_540),
    )


def test_destination_nat() -> None:
    trace = translated_destination()
    assert replace(trace.dnat, rule=None, conntrack="") == DestinationNat(
        applied=True,
        original=Socket(ip_address(SERVICE), 80),
        translated=Socket(ip_address(ORDERS), 8080),
        service="shop/web",
        backend_pod="shop/orders",
    )
    assert trace.dnat.rule is not None
    assert trace.dnat.rule.chain == "KUBE-SEP-2"
    assert trace.snat.original == Socket(ip_address(CART), 41_000)


def test_a_hairpin_has_both_translations_each_with_its_own_rule() -> None:
    of, inner = flow("192.168.1.42", SERVICE, 80), flow(HOST_1, "192.168.1.42", 8080, 60_001)
    observations = [
        *travel(syn(of), "1 eniweb in", ("1 eniweb out", inner)),
        *travel(syn_ack(inner), "1 eniweb in", ("1 eniweb out", of.reversed), start=1),
    ]
    entries = [entry("1", of, source=f"{HOST_1}:60001", to="192.168.1.42:8080")]
    trace = trace_of(record(question("shop/web", "svc/shop/web"), [answered(of)], observations, entries=entries))
    assert (trace.snat.applied, trace.dnat.applied) == (True, True)
    assert trace.snat.rule is not None
    assert trace.dnat.rule is not None
    assert (trace.snat.rule.chain, trace.dnat.rule.chain) == ("KUBE-POSTROUTING", "KUBE-SEP-1")
    assert trace.verdict.disposition.value == "DELIVERED"
    assert trace.egress is not None
    assert trace.egress.eni_id == ""


def test_what_was_neither_seen_nor_recorded_is_not_said_to_be_translated() -> None:
    """A packet to a service that was dropped before any backend was settled."""
    snapshot = filtering(node_1(), "forward", "-p tcp -j DROP")
    asked = question("shop/cart", "svc/shop/web")
    trace = trace_of(record(asked, [silent(ASKED)], travel(syn(ASKED), "1 enicart in"), snapshots=[snapshot]))
    assert not trace.dnat.applied
    assert trace.dnat.original == Socket(ip_address(SERVICE), 80)


def test_a_datagram_whose_sight_was_lost_on_the_pods_side_is_not_taken_for_the_nodes_own() -> None:
    of, after = flow(CART, INTERNET, 53, protocol=17), flow(HOST_1, INTERNET, 53, 50_712, 17)
    entries = [entry("1", of, source=f"{HOST_1}:50712")]
    seen = travel(datagram(after), "1 eth0 out")
    trace = trace_of(record(question("shop/cart", INTERNET, 53, 17), [silent(of)], seen, entries=entries))
    assert "SENT" not in actions(trace.forward.hops[0])
    assert trace.snat.applied


# Summaries, word for word where a word counts.


@pytest.mark.parametrize(
    ("scene", "parts"),
    [
        (
            delivered,
            [
                "shop/cart (192.168.1.41) reaches shop/redis (192.168.2.41:6379) by eth0 (eni-1p primary ENI)",
                "and is answered in 1 ms.",
            ],
        ),
        (
            translated_source,
            [
                "shop/search (192.168.1.116) leaves the cluster by eth0 (eni-1p primary ENI) as 192.168.1.29:50712 towards",
                "The pod's own ENI is eth1 (eni-1s); 1024 from all fwmark 0x80/0x80 lookup main sends this packet by eth0.",
            ],
        ),
        (translated_destination, ["shop/web (10.100.0.20:80)", "shop/orders"]),
        (
            dropped_by_a_rule,
            ["does not reach shop/redis", "last seen on ip-192-168-1-29, coming in on enicart.", "A filter rule"],
        ),
        (lost_in_the_vpc, ["leaving by eth0.", "The packet left ip-192-168-1-29 by eth0"]),
        (lost_answer, ["its answer is lost on the way back.", "The reply left ip-192-168-2-29 by eth0"]),
        (unanswered, ["no answer comes back."]),
        (refused, ["and is answered.", "192.168.2.41:6379 answered with RST"]),
        (never_left_its_node, [f"{NODE_1} (192.168.1.29) does not reach", " ip-192-168-1-29 sent the packet"]),
        (never_left_its_pod, ["shop/cart sent the packet and it never came"]),
        (nobody_came, ["cannot be said. ip-192-168-1-29: no matching traffic came while it was waited for."]),
        (
            lossy,
            [
                "ip-192-168-2-29: an unknown number of packets were lost at stream.",
                "The packet was last seen on ip-192-168-1-29",
            ],
        ),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_the_sentence_on_top(scene: Scene, parts: list[str]) -> None:
    trace = scene()
    for part in parts:
        assert part in trace.verdict.summary


def test_a_node_with_a_plain_name_keeps_it() -> None:
    """`worker` is a word as well as a name."""
    snapshot = replace(without_routes(node_1(), "default via"), node="worker")
    of = flow(CART, INTERNET, 443)
    seen = [replace(each, node="worker") for each in travel(syn(of), "1 enicart in")]
    items = [item for item in cluster_items() if item["metadata"]["name"] != "cart"]
    inventory = inventory_of(*items[2:], node_item("worker", HOST_1), pod_item("shop/cart", "worker", CART))
    asked = question("shop/cart", INTERNET, 443, inventory=inventory)
    trace = trace_of(record(asked, [silent(of)], seen, snapshots=[snapshot], inventory=inventory))
    assert trace.verdict.disposition.value == "NO_ROUTE"
    assert " worker has no route to 198.51.100.8." in trace.verdict.summary
