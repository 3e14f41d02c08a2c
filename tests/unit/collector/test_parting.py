"""Where expectation and observation part, told beside a trace."""

import pytest
from journeys import CART_REDIS, CART_TO_REDIS, answered, handshake, question, record, silent, syn, trace_of, travel
from small_cluster import NODE_1, NODE_2, filtering, node_1, node_2

from pathtap.collector.judging.parting import parting
from pathtap.model.trace import Action, Evidence, Hop, Path, Step, Witness

TO_REDIS = question("shop/cart", "shop/redis", 6379)


def path(*hops: tuple[str, str]) -> Path:
    return Path(hops=tuple(Hop(node=node, egress=egress) for node, egress in hops))


@pytest.mark.parametrize(
    ("seen", "expected", "says"),
    [
        ((("a", "eth0"), ("b", "veth")), (("a", "eth0"), ("b", "veth")), ""),
        ((("a", "eth0"),), (("a", "eth0"), ("b", "veth")), "on to b, where it was not seen"),
        ((("a", ""),), (("a", "eth0"), ("b", "veth")), "has it leave a by eth0, where it was not seen"),
        ((("a", "eth1"),), (("a", "eth0"),), "has it leave a by eth0, and it was seen leaving by eth1"),
        ((("a", "eth0"), ("c", "")), (("a", "eth0"), ("b", "veth")), "leads it to b, and it was seen on c"),
        ((("a", "eth0"),), (("a", ""),), ""),
        ((("a", "eth0"),), (), ""),
        ((), (("a", "eth0"),), "on to a, where it was not seen"),
    ],
)
def test_the_first_difference_is_told(
    seen: tuple[tuple[str, str], ...], expected: tuple[tuple[str, str], ...], says: str
) -> None:
    said = parting(path(*seen), path(*expected))
    assert said.endswith(says) if says else said == ""


def step(action: Action) -> Step:
    return Step(action=action, evidence=(Evidence(witness=Witness.EXPECTED, claim="a filter rule", source="a"),))


@pytest.mark.parametrize("action", [Action.DROPPED, Action.REJECTED, Action.DELIVERED])
def test_what_left_a_node_where_its_way_was_to_end_is_told(action: Action) -> None:
    expected = Path(hops=(Hop(node="a", egress="", steps=(step(action),)),))
    said = parting(path(("a", "eth0")), expected)
    assert said == "the configuration lets it go no further than a, and it was seen leaving by eth0"


def test_a_drop_that_was_expected_is_no_parting() -> None:
    expected = Path(hops=(Hop(node="a", egress="eth0", steps=(step(Action.DROPPED),)),))
    assert parting(path(("a", "")), expected) == ""


def test_a_trace_says_where_the_two_part() -> None:
    stopped = travel(syn(CART_REDIS), *CART_TO_REDIS[:3])
    summary = trace_of(record(TO_REDIS, [silent(CART_REDIS)], stopped)).verdict.summary
    assert f"the configuration has it leave {NODE_2} by eniredis, where it was not seen." in summary


def test_a_trace_that_went_as_expected_says_nothing_of_it() -> None:
    well = trace_of(record(TO_REDIS, [answered(CART_REDIS)], handshake()))
    assert "part" not in well.verdict.summary
    dropping = filtering(node_2(), "forward", "-j DROP")
    stopped = travel(syn(CART_REDIS), *CART_TO_REDIS[:3])
    ill = trace_of(record(TO_REDIS, [silent(CART_REDIS)], stopped, snapshots=[node_1(), dropping]))
    assert "part:" not in ill.verdict.summary


def test_the_whole_expected_way_is_told_beside_what_was_seen() -> None:
    stopped = travel(syn(CART_REDIS), "1 enicart in")
    trace = trace_of(record(TO_REDIS, [silent(CART_REDIS)], stopped))
    assert [(hop.node, hop.egress) for hop in trace.expected_forward.hops] == [(NODE_1, "eth0"), (NODE_2, "eniredis")]
    assert [(hop.node, hop.egress) for hop in trace.expected_reply.hops] == [(NODE_2, "eth0"), (NODE_1, "enicart")]
    witnesses = {w for hop in trace.expected_forward.hops for step in hop.steps for w in step.witnesses}
    assert witnesses <= {Witness.EXPECTED, Witness.ASSUMED}
