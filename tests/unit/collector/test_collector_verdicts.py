"""One test, or a few, for each row of the table of verdicts in docs/evidence.md, from what the agents sent to what is said."""

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_address

import pytest
from journeys import (
    CAPTURE,
    CART_REDIS,
    CART_TO_REDIS,
    MILLISECOND,
    REDIS_TO_CART,
    answered,
    codes,
    datagram,
    decisive,
    echo,
    entry,
    flow,
    handshake,
    icmp_error,
    question,
    record,
    reset,
    silent,
    syn,
    syn_ack,
    trace_of,
    travel,
    verdict,
)
from small_cluster import (
    CART,
    HOLLOW,
    HOST_1,
    HOST_2,
    INTERNET,
    NODE_1,
    NODE_2,
    NODE_3,
    NOON,
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
    without_rules,
)

from pathtap.collector.telling.assemble import Answers, lay_out
from pathtap.model.address import FiveTuple, Socket
from pathtap.model.conntrack import ConntrackEntry
from pathtap.model.node import Neighbour, NodeSnapshot, Role, RouteAnswer, Unread
from pathtap.model.packet import Lost, PacketObservation
from pathtap.model.request import ProbeOutcome, ProbeReport
from pathtap.model.trace import Action, Gap, Severity, Trace, Witness

TO_REDIS = question("shop/cart", "shop/redis", 6379)
TO_INTERNET = question("shop/search", INTERNET, 443)
OUTWARD = flow(SEARCH, INTERNET, 443)
SNATTED = flow(HOST_1, INTERNET, 443, 50_712)
SNAT = entry("1", OUTWARD, source=f"{HOST_1}:50712", mark=0x80)
LEFT = travel(syn(OUTWARD), "1 enisearch in", ("1 eth0 out", SNATTED))
CAME_BACK = travel(syn_ack(SNATTED), "1 eth0 in", ("1 enisearch out", OUTWARD.reversed), start=1)


def refused(of: FiveTuple) -> ProbeReport:
    return ProbeReport(outcome=ProbeOutcome.REFUSED, five_tuple=of, sent_at=NOON, detail="Refused with a reset.")


def unreachable(of: FiveTuple) -> ProbeReport:
    return ProbeReport(outcome=ProbeOutcome.UNREACHABLE, five_tuple=of, sent_at=NOON, detail="Connection refused.")


def to_redis(
    observations: Sequence[PacketObservation],
    report: ProbeReport | None = None,
    snapshots: Sequence[NodeSnapshot] | None = None,
    **more: object,
) -> Trace:
    given = record(TO_REDIS, [report or silent(CART_REDIS)], observations, snapshots=snapshots, **more)  # type: ignore[arg-type]
    return trace_of(given)


# Reached the destination.


def test_delivered_and_answered() -> None:
    trace = to_redis(handshake(), answered(CART_REDIS))
    assert verdict(trace) == ("DELIVERED", "ANSWERED", [])
    assert trace.verdict.gaps == ()
    assert trace.round_trip == MILLISECOND


def test_an_echo_between_pods_of_one_node() -> None:
    of = flow(CART, SEARCH, 0, 7, 1)
    observations = [
        *travel(echo(of), "1 enicart in", "1 enisearch out"),
        *travel(echo(of.reversed), "1 enisearch in", "1 enicart out", start=1),
    ]
    assert verdict(trace_of(record(question("shop/cart", "shop/search"), [answered(of)], observations))) == (
        "DELIVERED",
        "ANSWERED",
        [],
    )


def test_a_node_and_what_shares_its_network_are_reached_by_their_eni() -> None:
    of = flow(CART, HOST_2, 9100)
    observations = [
        *travel(syn(of), "1 enicart in", "1 eth0 out", "2 eth0 in"),
        *travel(syn_ack(of), "2 eth0 out", "1 eth0 in", "1 enicart out", start=1),
    ]
    for name in ("kube-system/exporter-2", f"node/{NODE_2}"):
        assert verdict(trace_of(record(question("shop/cart", name, 9100), [answered(of)], observations))) == (
            "DELIVERED",
            "ANSWERED",
            [],
        )


def test_a_node_reaches_the_pod_behind_its_own_veth() -> None:
    of = flow(HOST_1, CART, 80)
    observations = [*travel(syn(of), "1 enicart out"), *travel(syn_ack(of), "1 enicart in", start=1)]
    trace = trace_of(record(question(f"node/{NODE_1}", "shop/cart", 80), [answered(of)], observations))
    assert verdict(trace) == ("DELIVERED", "ANSWERED", [])


def test_connection_refused_by_the_destination_itself() -> None:
    trace = to_redis(
        [*travel(syn(CART_REDIS), *CART_TO_REDIS), *travel(reset(CART_REDIS), *REDIS_TO_CART, start=1)],
        refused(CART_REDIS),
    )
    assert verdict(trace) == ("DELIVERED", "ANSWERED", ["CONNECTION_REFUSED"])
    assert trace.verdict.findings[0].severity is Severity.ERROR
    assert trace.verdict.findings[0].node == NODE_2
    assert trace.verdict.findings[0].evidence[0].claim.startswith("RST seen in on eniredis")


def test_a_refusal_that_dies_on_the_way_back_is_lost_all_the_same() -> None:
    trace = to_redis(
        [*travel(syn(CART_REDIS), *CART_TO_REDIS), *travel(reset(CART_REDIS), *REDIS_TO_CART[:2], start=1)]
    )
    assert verdict(trace) == ("DELIVERED", "LOST", ["LOST_IN_VPC", "CONNECTION_REFUSED"])


def test_port_unreachable_by_the_destination_itself() -> None:
    of = flow(CART, REDIS, 7, protocol=17)
    observations = [
        *travel(datagram(of), *CART_TO_REDIS),
        *travel(icmp_error(REDIS, of), *REDIS_TO_CART, start=1),
    ]
    trace = trace_of(record(question("shop/cart", "shop/redis", 7, 17), [unreachable(of)], observations))
    assert verdict(trace) == ("DELIVERED", "ANSWERED", ["PORT_UNREACHABLE"])


def test_reached_and_no_reply_left_it() -> None:
    assert verdict(to_redis(travel(syn(CART_REDIS), *CART_TO_REDIS))) == ("DELIVERED", "UNANSWERED", ["NO_ANSWER"])


def test_a_rule_of_input_explains_the_silence_of_a_node() -> None:
    of = flow(CART, HOST_2, 9100)
    seen = travel(syn(of), "1 enicart in", "1 eth0 out", "2 eth0 in")
    snapshots = [node_1(), filtering(node_2(), "input", "-p tcp -m tcp --dport 9100 -j DROP")]
    trace = trace_of(record(question("shop/cart", f"node/{NODE_2}", 9100), [silent(of)], seen, snapshots=snapshots))
    assert verdict(trace) == ("DELIVERED", "UNANSWERED", ["FILTER_DROP"])


@pytest.mark.parametrize("last", [1, 2, 3])
def test_its_reply_died_on_the_way(last: int) -> None:
    trace = to_redis(
        [*travel(syn(CART_REDIS), *CART_TO_REDIS), *travel(syn_ack(CART_REDIS), *REDIS_TO_CART[:last], start=1)]
    )
    cause = "LOST_IN_VPC" if last == 2 else "DROPPED_UNEXPLAINED"
    assert verdict(trace) == ("DELIVERED", "LOST", [cause])
    assert trace.verdict.findings[0].node == (NODE_1 if last == 3 else NODE_2)


# Left the cluster.


def test_left_the_cluster_and_answered() -> None:
    trace = trace_of(record(TO_INTERNET, [answered(OUTWARD)], [*LEFT, *CAME_BACK], entries=[SNAT]))
    assert verdict(trace) == ("LEFT_CLUSTER", "ANSWERED", [])
    assert decisive(trace) == []


def test_an_address_inside_the_vpc_that_is_nobodys_is_outside_the_cluster() -> None:
    of = flow(CART, "192.168.7.7", 443)
    observations = [
        *travel(syn(of), "1 enicart in", "1 eth0 out"),
        *travel(syn_ack(of), "1 eth0 in", "1 enicart out", start=1),
    ]
    trace = trace_of(record(question("shop/cart", "192.168.7.7", 443), [answered(of)], observations))
    assert verdict(trace) == ("LEFT_CLUSTER", "ANSWERED", [])


def test_left_the_cluster_without_an_answer() -> None:
    trace = trace_of(record(TO_INTERNET, [silent(OUTWARD)], LEFT, entries=[SNAT]))
    assert verdict(trace) == ("LEFT_CLUSTER", "UNANSWERED", ["NO_ANSWER_FROM_OUTSIDE"])
    assert trace.verdict.findings[0].severity is Severity.WARNING


def test_refused_by_a_host_outside() -> None:
    back = travel(reset(SNATTED), "1 eth0 in", ("1 enisearch out", OUTWARD.reversed), start=1)
    trace = trace_of(record(TO_INTERNET, [refused(OUTWARD)], [*LEFT, *back], entries=[SNAT]))
    assert verdict(trace) == ("LEFT_CLUSTER", "ANSWERED", ["CONNECTION_REFUSED"])


def test_a_host_outside_says_that_nothing_listens() -> None:
    of, after = flow(CART, INTERNET, 53, protocol=17), flow(HOST_1, INTERNET, 53, 50_712, 17)
    observations = [
        *travel(datagram(of), "1 enicart in", ("1 eth0 out", after)),
        *travel(icmp_error(INTERNET, after), "1 eth0 in", start=1),
    ]
    entries = [entry("1", of, source=f"{HOST_1}:50712")]
    asked = question("shop/cart", INTERNET, 53, 17)
    trace = trace_of(record(asked, [unreachable(of)], observations, entries=entries))
    assert verdict(trace) == ("LEFT_CLUSTER", "ANSWERED", ["PORT_UNREACHABLE"])


def test_a_router_outside_says_that_it_cannot_pass_the_packet_on() -> None:
    error = travel(icmp_error("203.0.113.1", SNATTED, 3, 1), "1 eth0 in", start=1)
    trace = trace_of(record(TO_INTERNET, [unreachable(OUTWARD)], [*LEFT, *error], entries=[SNAT]))
    assert verdict(trace) == ("LEFT_CLUSTER", "UNANSWERED", ["UNREACHABLE_OUTSIDE", "NO_ANSWER_FROM_OUTSIDE"])


def test_an_answer_from_outside_that_dies_on_the_node() -> None:
    seen = [*LEFT, *CAME_BACK[:1]]
    gathered = record(TO_INTERNET, [silent(OUTWARD)], seen, entries=[SNAT])
    (asked,) = [each for each in lay_out(gathered).questions if each[1].in_interface == "eth0"]
    answers: Answers = {asked: RouteAnswer(error="EXDEV")}
    trace = trace_of(gathered, answers)
    assert verdict(trace) == ("LEFT_CLUSTER", "LOST", ["RP_FILTER_DROP"])


# Last seen on a node, and a cause there.


@pytest.mark.parametrize(
    ("snapshot", "disposition", "code"),
    [
        (filtering(node_2(), "forward", f"-d {REDIS}/32 -j DROP"), "DROPPED", "FILTER_DROP"),
        (without_routes(node_2(), REDIS), "DROPPED", "POD_ROUTE_MISSING"),
        (
            with_routes(without_routes(node_2(), REDIS), route(f"{REDIS}/32", kind="blackhole")),
            "DROPPED",
            "BLACKHOLE_ROUTE",
        ),
        (
            with_routes(without_routes(node_2(), REDIS), route(f"{REDIS}/32", kind="unreachable")),
            "REJECTED",
            "UNREACHABLE_ROUTE",
        ),
        (
            with_routes(without_routes(node_2(), REDIS), route(f"{REDIS}/32", kind="prohibit")),
            "REJECTED",
            "PROHIBIT_ROUTE",
        ),
        (replace(without_routes(node_2(), "192.168.2"), rules=node_2().rules), "NO_ROUTE", "NO_ROUTE_TO_DESTINATION"),
        (filtering(node_2(), "forward", f"-d {REDIS}/32 -j REJECT"), "REJECTED", "FILTER_REJECT"),
        (node_2(), "DROPPED", "DROPPED_UNEXPLAINED"),
    ],
)
def test_a_packet_that_stopped_on_a_node(snapshot: NodeSnapshot, disposition: str, code: str) -> None:
    trace = to_redis(travel(syn(CART_REDIS), *CART_TO_REDIS[:3]), snapshots=[node_1(), snapshot])
    assert verdict(trace) == (disposition, "NOT_SEEN", [code])
    (finding,) = trace.verdict.findings
    assert (finding.node, finding.severity) == (NODE_2, Severity.ERROR)
    assert finding.fix
    assert any(evidence.witness is Witness.OBSERVED for evidence in finding.evidence)


def test_no_route_on_the_source_node() -> None:
    of = flow(CART, INTERNET, 443)
    snapshot = without_routes(node_1(), "default via")
    trace = trace_of(
        record(
            question("shop/cart", INTERNET, 443),
            [unreachable(of)],
            [
                *travel(syn(of), "1 enicart in"),
                *travel(icmp_error(HOST_1, of, 3, 0), "1 enicart out", start=1),
            ],
            snapshots=[snapshot],
        )
    )
    assert verdict(trace) == ("NO_ROUTE", "NOT_SEEN", ["NO_ROUTE_TO_DESTINATION"])
    assert trace.egress is None


def test_a_neighbour_that_does_not_answer() -> None:
    neighbour = Neighbour(interface="eth0", address=ip_address("192.168.1.1"), mac=None, state="failed")
    of = flow(CART, INTERNET, 443)
    trace = trace_of(
        record(
            question("shop/cart", INTERNET, 443),
            [unreachable(of)],
            [
                *travel(syn(of), "1 enicart in"),
                *travel(icmp_error(HOST_1, of, 3, 1), "1 enicart out", start=1),
            ],
            snapshots=[replace(node_1(), neighbours=(neighbour,))],
        )
    )
    assert verdict(trace) == ("DROPPED", "NOT_SEEN", ["NEIGHBOUR_FAILED"])


def test_a_packet_that_goes_round() -> None:
    rounds = ["1 enicart in", *["1 eth0 out", "2 eth0 in", "2 eth0 out", "1 eth0 in"] * 4]
    expired = travel(icmp_error(HOST_2, CART_REDIS, 11, 0), "2 eth0 out", start=5)
    trace = to_redis([*travel(syn(CART_REDIS), *rounds), *expired])
    assert verdict(trace)[:2] == ("LOOPED", "NOT_SEEN")
    assert "ROUTING_LOOP" in codes(trace)


def test_never_left_the_pod() -> None:
    trace = to_redis([])
    assert verdict(trace) == ("DROPPED", "NOT_SEEN", ["NEVER_LEFT_POD"])


@pytest.mark.parametrize(
    ("snapshot", "report", "expected"),
    [
        (node_1(), silent, ("DROPPED", "NOT_SEEN", ["NEVER_LEFT_NODE"])),
        (filtering(node_1(), "output", f"-d {REDIS} -j DROP"), silent, ("DROPPED", "NOT_SEEN", ["FILTER_DROP"])),
        (
            filtering(node_1(), "output", f"-d {REDIS} -j REJECT"),
            unreachable,
            ("REJECTED", "NOT_SEEN", ["FILTER_REJECT"]),
        ),
        (node_1(), refused, ("REJECTED", "NOT_SEEN", ["REJECTED_BY_NODE"])),
    ],
)
def test_never_left_the_node_that_sent_it(
    snapshot: NodeSnapshot, report: object, expected: tuple[str, str, list[str]]
) -> None:
    of = flow(HOST_1, REDIS, 6379)
    asked = question(f"node/{NODE_1}", "shop/redis", 6379)
    trace = trace_of(record(asked, [report(of)], snapshots=[snapshot, node_2()]))  # type: ignore[operator]
    assert verdict(trace) == expected
    assert all(finding.evidence for finding in trace.verdict.findings)


# A node answers in the destination's place.


@pytest.mark.parametrize("by_reset", [True, False])
def test_a_reject_rule_answers_in_the_destinations_place(by_reset: bool) -> None:
    target = "REJECT --reject-with tcp-reset" if by_reset else "REJECT --reject-with icmp-port-unreachable"
    answer = reset(CART_REDIS) if by_reset else icmp_error(HOST_2, CART_REDIS)
    trace = to_redis(
        [*travel(syn(CART_REDIS), *CART_TO_REDIS[:3]), *travel(answer, *REDIS_TO_CART[1:], start=1)],
        refused(CART_REDIS),
        [node_1(), filtering(node_2(), "forward", f"-d {REDIS}/32 -p tcp -j {target}")],
    )
    assert verdict(trace) == ("REJECTED", "NOT_SEEN", ["FILTER_REJECT"])
    assert len(trace.verdict.findings[0].evidence) == 3


def test_a_node_that_refuses_for_no_reason_that_can_be_read() -> None:
    answer = travel(icmp_error(HOST_2, CART_REDIS), *REDIS_TO_CART[1:], start=1)
    trace = to_redis([*travel(syn(CART_REDIS), *CART_TO_REDIS[:3]), *answer], unreachable(CART_REDIS))
    assert verdict(trace) == ("REJECTED", "NOT_SEEN", ["REJECTED_BY_NODE"])


def test_a_reject_rule_for_the_node_itself_is_no_answer_of_its_server() -> None:
    of = flow(CART, HOST_2, 9100)
    observations = [
        *travel(syn(of), "1 enicart in", "1 eth0 out", "2 eth0 in"),
        *travel(reset(of), "2 eth0 out", "1 eth0 in", "1 enicart out", start=1),
    ]
    snapshots = [node_1(), filtering(node_2(), "input", "-p tcp -j REJECT --reject-with tcp-reset")]
    asked = question("shop/cart", f"node/{NODE_2}", 9100)
    assert verdict(trace_of(record(asked, [refused(of)], observations, snapshots=snapshots))) == (
        "REJECTED",
        "NOT_SEEN",
        ["FILTER_REJECT"],
    )


def test_a_service_without_endpoints() -> None:
    of = flow(CART, HOLLOW, 80)
    answer = travel(icmp_error(HOST_1, of), "1 enicart out", start=1)
    snapshot = filtering(node_1(), "forward", f"-d {HOLLOW}/32 -p tcp -j REJECT")
    asked = question("shop/cart", "svc/shop/hollow")
    trace = trace_of(
        record(asked, [unreachable(of)], [*travel(syn(of), "1 enicart in"), *answer], snapshots=[snapshot])
    )
    assert verdict(trace) == ("REJECTED", "NOT_SEEN", ["SERVICE_WITHOUT_ENDPOINTS"])


@pytest.mark.parametrize(("kind", "code"), [(5, 1), (3, 4), (11, 0)])
def test_a_redirect_an_mtu_and_an_expired_ttl_refuse_nothing(kind: int, code: int) -> None:
    error = travel(icmp_error(HOST_1, CART_REDIS, kind, code), "1 enicart out", start=1)
    trace = to_redis([*handshake(), *error], answered(CART_REDIS))
    assert verdict(trace) == ("DELIVERED", "ANSWERED", [])
    trace = to_redis([*travel(syn(CART_REDIS), *CART_TO_REDIS[:2]), *error])
    assert verdict(trace) == ("DROPPED", "NOT_SEEN", ["LOST_IN_VPC"])


def test_an_icmp_error_about_the_answer_refuses_nothing() -> None:
    """A source that closed its socket refuses a late answer: that says nothing of the way there, and the probe got none."""
    of = flow(HOST_1, INTERNET, 53, protocol=17)
    observations = [
        *travel(datagram(of), "1 eth0 out"),
        *travel(datagram(of.reversed), "1 eth0 in", start=1),
        *travel(icmp_error(HOST_1, of.reversed), "1 eth0 out", start=1.1),
    ]
    trace = trace_of(record(question(f"node/{NODE_1}", INTERNET, 53, 17), [silent(of)], observations))
    assert verdict(trace) == ("LEFT_CLUSTER", "ANSWERED", ["ANSWER_NOT_RECEIVED"])


# Lost between the nodes.


def test_lost_in_the_vpc() -> None:
    trace = to_redis(travel(syn(CART_REDIS), *CART_TO_REDIS[:2]))
    assert verdict(trace) == ("DROPPED", "NOT_SEEN", ["LOST_IN_VPC"])
    assert trace.verdict.findings[0].node == NODE_1


def test_the_answer_is_lost_in_the_vpc() -> None:
    trace = to_redis(
        [*travel(syn(CART_REDIS), *CART_TO_REDIS), *travel(syn_ack(CART_REDIS), *REDIS_TO_CART[:2], start=1)]
    )
    assert verdict(trace) == ("DELIVERED", "LOST", ["LOST_IN_VPC"])
    assert "reply" in trace.verdict.findings[0].text
    assert [
        step.cause.text for hop in trace.forward.hops for step in hop.steps if step.cause if "VPC" in step.cause.text
    ] == []


def test_an_answer_shows_that_the_packet_arrived_where_nobody_saw_it() -> None:
    back = travel(syn_ack(CART_REDIS), *REDIS_TO_CART, start=1)
    there = travel(syn(CART_REDIS), *CART_TO_REDIS[:2])
    assert verdict(to_redis([*there, *back], answered(CART_REDIS))) == ("DELIVERED", "ANSWERED", [])
    assert verdict(to_redis([*there, *back[:2]])) == ("DELIVERED", "LOST", ["LOST_IN_VPC"])


def test_the_source_check_of_the_vpc() -> None:
    """Without ip rule 1024 a packet with the primary ENI's address leaves by the secondary one."""
    seen = travel(syn(OUTWARD), "1 enisearch in", ("1 eth1 out", SNATTED))
    snapshot = without_rules(node_1(), "fwmark")
    trace = trace_of(record(TO_INTERNET, [silent(OUTWARD)], seen, entries=[SNAT], snapshots=[snapshot]))
    assert verdict(trace) == ("DROPPED", "NOT_SEEN", ["FWMARK_RULE_MISSING", "SOURCE_NOT_OWNED_BY_ENI"])
    assert Witness.ASSUMED in [evidence.witness for evidence in trace.verdict.findings[1].evidence]


def test_the_source_check_where_no_metadata_tells_who_owns_an_address() -> None:
    """The pod's own from-rule tells its ENI."""
    of = flow(SEARCH, REDIS)
    blind = [
        replace(interface, eni_addresses=(), eni_id="") if interface.role is not Role.POD_VETH else interface
        for interface in node_1().interfaces
    ]
    snapshot = replace(node_1(), interfaces=tuple(blind))
    seen = travel(syn(of), "1 enisearch in", "1 eth0 out")
    trace = trace_of(
        record(question("shop/search", "shop/redis", 6379), [silent(of)], seen, snapshots=[snapshot, node_2()])
    )
    assert verdict(trace) == ("DROPPED", "NOT_SEEN", ["SOURCE_NOT_OWNED_BY_ENI", "UNEXPECTED_EGRESS"])


# Insufficient evidence.


def test_live_and_nothing_came() -> None:
    trace = trace_of(record(replace(TO_REDIS, live=True), sent=()))
    assert verdict(trace) == ("INSUFFICIENT_EVIDENCE", "NOT_SEEN", [])
    assert decisive(trace) == [(NODE_1, "live traffic")]


def test_live_traffic_of_a_host_outside_is_answered_when_the_answer_leaves() -> None:
    of = flow(INTERNET, CART, 80)
    observations = [
        *travel(syn(of), "1 eth0 in", "1 enicart out"),
        *travel(syn_ack(of), "1 enicart in", "1 eth0 out", start=1),
    ]
    asked = question(INTERNET, "shop/cart", 80, live=True)
    trace = trace_of(record(asked, observations=observations, sent=[of]))
    assert verdict(trace) == ("DELIVERED", "ANSWERED", [])
    assert trace.egress is None


def test_an_answer_to_a_host_outside_that_the_vpc_refuses_is_lost() -> None:
    of = flow(INTERNET, CART, 80)
    observations = [
        *travel(syn(of), "1 eth0 in", "1 enicart out"),
        *travel(syn_ack(of), "1 enicart in", "1 eth1 out", start=1),
    ]
    asked = question(INTERNET, "shop/cart", 80, live=True)
    disposition, reply, codes = verdict(trace_of(record(asked, observations=observations, sent=[of])))
    assert (disposition, reply) == ("DELIVERED", "LOST")
    assert "SOURCE_NOT_OWNED_BY_ENI" in codes


def test_a_probe_that_could_not_be_sent() -> None:
    report = ProbeReport(outcome=ProbeOutcome.FAILED, detail="The probe could not be sent: no namespace.")
    trace = trace_of(record(TO_REDIS, [report]))
    assert verdict(trace) == ("INSUFFICIENT_EVIDENCE", "NOT_SEEN", [])
    assert decisive(trace) == [(NODE_1, "probe")]
    assert "no namespace" in trace.verdict.summary


def gone(node: str) -> Gap:
    return Gap(node=node, part="agent", why=f"no agent of {node} is connected")


def test_no_agent_on_the_sources_node() -> None:
    trace = trace_of(record(TO_REDIS, snapshots=[node_2()], gaps=[gone(NODE_1)]))
    assert verdict(trace) == ("INSUFFICIENT_EVIDENCE", "NOT_SEEN", [])
    assert decisive(trace) == [(NODE_1, "agent")]


def test_no_agent_on_the_destinations_node() -> None:
    trace = to_redis(travel(syn(CART_REDIS), *CART_TO_REDIS[:2]), snapshots=[node_1()], gaps=[gone(NODE_2)])
    assert verdict(trace) == ("INSUFFICIENT_EVIDENCE", "NOT_SEEN", [])
    assert decisive(trace) == [(NODE_2, "agent")]
    assert [hop.node for hop in trace.forward.hops] == [NODE_1]


def test_no_agent_beyond_the_node_where_the_packet_stopped_changes_nothing() -> None:
    snapshot = filtering(node_1(), "forward", f"-d {REDIS}/32 -j DROP")
    trace = to_redis(travel(syn(CART_REDIS), "1 enicart in"), snapshots=[snapshot], gaps=[gone(NODE_2)])
    assert verdict(trace) == ("DROPPED", "NOT_SEEN", ["FILTER_DROP"])


def to_the_service(backend: str) -> tuple[FiveTuple, list[PacketObservation], list[ConntrackEntry]]:
    sent, inner = flow(CART, SERVICE, 80), flow(CART, backend, 8080)
    out = travel(syn(sent), "1 enicart in", ("1 eniweb out", inner))
    back = travel(syn_ack(inner), "1 eniweb in", ("1 enicart out", sent.reversed), start=1)
    return sent, [*out, *back], [entry("1", sent, to=f"{backend}:8080")]


def test_no_agent_on_the_node_of_a_backend_that_was_not_chosen() -> None:
    sent, observations, entries = to_the_service("192.168.1.42")
    asked = question("shop/cart", "svc/shop/web")
    trace = trace_of(
        record(asked, [answered(sent)], observations, entries=entries, gaps=[gone(NODE_2)], snapshots=[node_1()])
    )
    assert verdict(trace) == ("DELIVERED", "ANSWERED", [])
    assert [(gap.node, gap.decisive) for gap in trace.verdict.gaps] == [(NODE_2, False)]


def test_no_agent_on_the_node_of_the_backend_that_was_chosen() -> None:
    sent, inner = flow(CART, SERVICE, 80), flow(CART, ORDERS, 8080)
    out = travel(syn(sent), "1 enicart in", ("1 eth0 out", inner))
    trace = trace_of(
        record(
            question("shop/cart", "svc/shop/web"),
            [silent(sent)],
            out,
            entries=[entry("1", sent, to=f"{ORDERS}:8080")],
            gaps=[gone(NODE_2)],
            snapshots=[node_1()],
        )
    )
    assert verdict(trace)[0] == "INSUFFICIENT_EVIDENCE"
    assert decisive(trace) == [(NODE_2, "agent")]


def test_a_translation_that_leads_to_a_node_that_nobody_watched() -> None:
    """A node port whose backend is on a third node."""
    inventory = inventory_of(
        *cluster_items(), node_item(NODE_3, "192.168.3.29"), pod_item("shop/far", NODE_3, "192.168.3.41")
    )
    of, inner = flow(CART, HOST_2, 30080), flow(HOST_2, "192.168.3.41", 8080, 60_001)
    seen = travel(syn(of), "1 enicart in", "1 eth0 out", "2 eth0 in", ("2 eth0 out", inner))
    trace = trace_of(
        record(
            question("shop/cart", f"node/{NODE_2}", 30080, inventory=inventory),
            [silent(of)],
            seen,
            entries=[entry("2", of, source=f"{HOST_2}:60001", to="192.168.3.41:8080")],
            inventory=inventory,
        )
    )
    assert verdict(trace)[0] == "INSUFFICIENT_EVIDENCE"
    assert decisive(trace) == [(NODE_3, "capture")]


@pytest.mark.parametrize("part", ["capture (eth0)", "capture", "snapshot", "agent"])
def test_what_blinds_an_end_decides(part: str) -> None:
    gaps = [Gap(node=NODE_2, part=part, why="it could not be done")]
    trace = to_redis(travel(syn(CART_REDIS), *CART_TO_REDIS[:2]), gaps=gaps)
    assert verdict(trace) == ("INSUFFICIENT_EVIDENCE", "NOT_SEEN", [])
    assert decisive(trace) == [(NODE_2, part)]


@pytest.mark.parametrize("part", ["capture (eth1)", "snapshot", "conntrack"])
def test_what_was_missed_beside_an_answer_that_was_followed_home_does_not_decide(part: str) -> None:
    gaps = [Gap(node=NODE_2, part=part, why="it could not be done")]
    trace = to_redis(handshake(), answered(CART_REDIS), gaps=gaps)
    assert verdict(trace) == ("DELIVERED", "ANSWERED", [])
    assert [(gap.part, gap.decisive) for gap in trace.verdict.gaps] == [(part, False)]


@pytest.mark.parametrize(("part", "decides"), [("links", True), ("nftables", False), ("rules", False), ("imds", False)])
def test_what_could_not_be_read_decides_where_it_blinds(part: str, decides: bool) -> None:
    snapshot = replace(node_2(), unread=(Unread(part=part, reason="permission denied"),))
    trace = to_redis(travel(syn(CART_REDIS), *CART_TO_REDIS[:3]), snapshots=[node_1(), snapshot])
    assert (verdict(trace)[0] == "INSUFFICIENT_EVIDENCE") is decides
    assert (NODE_2, part) in [(gap.node, gap.part) for gap in trace.verdict.gaps]


def test_unread_conntrack_decides_where_a_packet_seems_to_have_stopped() -> None:
    """It may have been translated and gone, in a datagram that nothing tells from another."""
    of = flow(CART, INTERNET, 53, protocol=17)
    gap = Gap(node=NODE_1, part="conntrack", why="permission denied")
    asked = question("shop/cart", INTERNET, 53, 17)
    trace = trace_of(record(asked, [silent(of)], travel(datagram(of), "1 enicart in"), gaps=[gap]))
    assert verdict(trace)[0] == "INSUFFICIENT_EVIDENCE"
    assert decisive(trace) == [(NODE_1, "conntrack")]


def lost(node: str, count: int = 3, where: str = "kernel", why: str = "") -> Lost:
    return Lost(node=node, where=where, count=count, capture="trace-1", interface="eth0", why=why)


@pytest.mark.parametrize("count", [0, 1, 7])
def test_a_loss_that_is_known_or_of_an_unknown_count_decides(count: int) -> None:
    trace = to_redis(
        travel(syn(CART_REDIS), *CART_TO_REDIS[:2]), lost=[lost(NODE_2, count, "stream", "the stream ended")]
    )
    assert verdict(trace) == ("INSUFFICIENT_EVIDENCE", "NOT_SEEN", [])
    (gap,) = trace.verdict.gaps
    words = {0: "an unknown number of packets were", 1: "1 packet was", 7: "7 packets were"}
    assert (gap.node, gap.part, gap.why) == (
        NODE_2,
        "capture (eth0)",
        f"{words[count]} lost at stream (the stream ended)",
    )


@pytest.mark.parametrize("count", [0, 3])
def test_a_loss_at_the_source_where_nothing_was_seen_decides(count: int) -> None:
    trace = to_redis([], lost=[lost(NODE_1, count)])
    assert verdict(trace) == ("INSUFFICIENT_EVIDENCE", "NOT_SEEN", [])


def test_losses_beside_an_answer_that_was_followed_home_do_not_decide() -> None:
    trace = to_redis(handshake(), answered(CART_REDIS), lost=[lost(NODE_1), lost(NODE_2)])
    assert verdict(trace) == ("DELIVERED", "ANSWERED", [])
    assert [gap.decisive for gap in trace.verdict.gaps] == [False, False]
    left = record(TO_INTERNET, [answered(OUTWARD)], [*LEFT, *CAME_BACK], entries=[SNAT], lost=[lost(NODE_1)])
    assert verdict(trace_of(left)) == ("LEFT_CLUSTER", "ANSWERED", [])


def test_a_loss_on_a_node_that_does_not_matter_does_not_decide() -> None:
    sent, observations, entries = to_the_service("192.168.1.42")
    asked = question("shop/cart", "svc/shop/web")
    trace = trace_of(record(asked, [silent(sent)], observations[:2], entries=entries, lost=[lost(NODE_2)]))
    assert verdict(trace) == ("DELIVERED", "UNANSWERED", ["NO_ANSWER"])


def test_a_veth_that_was_not_captured_is_no_drop() -> None:
    without = {NODE_1: ("eth0", "eth1", "eniweb"), NODE_2: ("eth0", "eth1")}
    trace = to_redis([], captured=without)
    assert decisive(trace) == [(NODE_1, "capture")]
    assert verdict(trace) == ("INSUFFICIENT_EVIDENCE", "NOT_SEEN", [])
    trace = to_redis(travel(syn(CART_REDIS), "1 eth0 out", "2 eth0 in"), captured=without)
    assert decisive(trace) == [(NODE_2, "capture")]
    assert verdict(trace) == ("INSUFFICIENT_EVIDENCE", "NOT_SEEN", [])


def test_a_veth_that_no_route_leads_to_cannot_be_captured_and_the_route_is_the_cause() -> None:
    pathless = replace(
        without_routes(node_2(), REDIS),
        interfaces=tuple(replace(each, pod_addresses=()) for each in node_2().interfaces),
    )
    seen = travel(syn(CART_REDIS), *CART_TO_REDIS[:3])
    trace = to_redis(seen, snapshots=[node_1(), pathless], captured={NODE_1: ("enicart", "eth0"), NODE_2: ("eth0",)})
    assert verdict(trace) == ("DROPPED", "NOT_SEEN", ["POD_ROUTE_MISSING"])


def test_nothing_could_be_captured() -> None:
    trace = to_redis([], captured={NODE_1: (), NODE_2: ("eth0",)})
    assert decisive(trace) == [(NODE_1, "capture")]
    assert "none of its interfaces was captured" in trace.verdict.summary


def test_a_node_that_talks_to_itself_is_not_said_to_be_silent() -> None:
    of = flow(HOST_1, HOST_1, 9100)
    trace = trace_of(record(question(f"node/{NODE_1}", f"node/{NODE_1}", 9100), [answered(of)]))
    assert verdict(trace) == ("INSUFFICIENT_EVIDENCE", "NOT_SEEN", [])
    assert decisive(trace) == [(NODE_1, "loopback")]


def test_an_answer_that_only_the_probe_saw_contradicts_a_loss() -> None:
    trace = to_redis(travel(syn(CART_REDIS), *CART_TO_REDIS[:2]), answered(CART_REDIS))
    assert verdict(trace) == ("INSUFFICIENT_EVIDENCE", "NOT_SEEN", [])
    assert decisive(trace) == [(NODE_1, "capture")]


# Several probes.


def test_some_of_several_probes_are_silent() -> None:
    flows = [flow(CART, REDIS, source_port=port) for port in (41_001, 41_002, 41_003)]
    observations = [
        *travel(syn(flows[0], sequence=1), *CART_TO_REDIS[:2]),
        *handshake(10, flows[1]),
        *travel(syn(flows[2], sequence=3), *CART_TO_REDIS[:2], start=20),
    ]
    reports = [silent(flows[0]), answered(flows[1], 2 * MILLISECOND), silent(flows[2])]
    trace = trace_of(record(TO_REDIS, reports, observations))
    assert verdict(trace) == ("DROPPED", "NOT_SEEN", ["LOST_IN_VPC", "PROBES_UNANSWERED"])
    assert "2 of 3" in trace.verdict.findings[1].text
    assert len(trace.verdict.findings[1].evidence) == 2
    assert trace.five_tuple == flows[0], "what failed is what wants explaining"
    assert trace.snat.original == Socket(ip_address(CART), 41_001)


def test_an_answer_to_another_probe_does_not_say_that_this_one_went_on() -> None:
    flows = [flow(CART, REDIS, source_port=41_000 + number) for number in range(2)]
    seen = [*travel(syn(flows[0]), *CART_TO_REDIS[:3]), *handshake(1, flows[1])]
    trace = trace_of(record(TO_REDIS, [silent(flows[0]), answered(flows[1])], seen))
    assert trace.five_tuple == flows[0]
    assert trace.forward.hops[-1].steps[-1].action is Action.DROPPED


@pytest.mark.parametrize("count", [1, 3])
def test_when_all_are_silent_or_all_are_answered_nothing_more_is_said(count: int) -> None:
    flows = [flow(CART, REDIS, source_port=41_000 + number) for number in range(count)]
    seen = [seen for number, of in enumerate(flows) for seen in travel(syn(of, sequence=number), *CART_TO_REDIS)]
    assert codes(trace_of(record(TO_REDIS, [silent(of) for of in flows], seen))) == ["NO_ANSWER"]
    both = [seen for number, of in enumerate(flows) for seen in handshake(number, of)]
    assert codes(trace_of(record(TO_REDIS, [answered(of) for of in flows], both))) == []


# Witnesses that part.


def test_a_packet_that_leaves_by_another_interface_than_expected() -> None:
    of = flow(SEARCH, REDIS)
    there = travel(syn(of), "1 enisearch in", "1 eth0 out", "2 eth0 in", "2 eniredis out")
    back = travel(syn_ack(of), "2 eniredis in", "2 eth0 out", "1 eth1 in", "1 enisearch out", start=1)
    trace = trace_of(record(question("shop/search", "shop/redis", 6379), [answered(of)], [*there, *back]))
    assert verdict(trace) == ("DELIVERED", "ANSWERED", ["UNEXPECTED_EGRESS", "ASYMMETRIC_REPLY"])
    assert trace.verdict.findings[0].severity is Severity.WARNING


def test_a_packet_that_the_capture_of_the_pods_veth_lost_is_still_the_pods() -> None:
    """A full ring or a limit hides where it came in. Taken for the node's own, it would leave by the ENI's table and unmarked."""
    seen = [*LEFT[1:], *CAME_BACK[:1]]
    lost = Lost(node=NODE_1, capture=CAPTURE, interface="enisearch", where="limit", count=2)
    gathered = record(TO_INTERNET, [answered(OUTWARD)], seen, entries=[SNAT], lost=[lost])
    asked = {each.in_interface for _, each in lay_out(gathered).questions}
    assert asked == {"enisearch", "eth0"}
    trace = trace_of(gathered)
    assert verdict(trace) == ("INSUFFICIENT_EVIDENCE", "NOT_SEEN", [])
    told = {step.action for path in (trace.forward, trace.reply) for hop in path.hops for step in hop.steps}
    assert Action.DROPPED not in told, "it was answered"


def test_the_kernel_is_not_asked_for_a_packet_that_came_in_nobody_knows_where() -> None:
    """It would be asked whether the node itself may send from an address of another, and refuses that with ENETUNREACH."""
    gathered = record(TO_REDIS, [answered(CART_REDIS)], [each for each in handshake() if each.interface != "eth0"])
    assert {each.in_interface for _, each in lay_out(gathered).questions} == {"enicart", "eniredis"}


def test_a_kernel_that_looks_up_otherwise() -> None:
    gathered = record(TO_REDIS, [answered(CART_REDIS)], handshake())
    asked = next(each for each in lay_out(gathered).questions if each[1].in_interface == "enicart")
    trace = trace_of(
        gathered, {asked: RouteAnswer(table=2, interface="eth1", route="default via 192.168.1.1 dev eth1")}
    )
    assert verdict(trace) == ("DELIVERED", "ANSWERED", ["KERNEL_LOOKUP_DIFFERS"])
    assert trace.verdict.findings[0].evidence


def test_inconclusive_traces_keep_their_warnings_and_claim_no_cause() -> None:
    of = flow(SEARCH, REDIS)
    seen = travel(syn(of), "1 enisearch in", "1 eth0 out")
    trace = trace_of(record(question("shop/search", "shop/redis", 6379), [silent(of)], seen, gaps=[gone(NODE_2)]))
    assert verdict(trace) == ("INSUFFICIENT_EVIDENCE", "NOT_SEEN", ["UNEXPECTED_EGRESS"])
