"""Who is turned away, and how: each case of the table against a real API server and a real collector."""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from kube_access import (
    AGENTS,
    OTHER,
    OWN,
    PEOPLE,
    SHOP,
    Collector,
    Place,
    Turned,
    add_pod,
    call,
    collecting,
    ended,
    furnish,
    introduce,
    shown,
)

from pathtap.lab.kube.certificates import new_authority, new_key
from pathtap.lab.kube.control_plane import ControlPlane
from pathtap.v1 import agent_pb2, agent_pb2_grpc, service_pb2

pytestmark = pytest.mark.kube

UNKNOWN, DENIED = grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED
TABLE = Path(__file__).parents[2] / "build" / "refusals.md"
ANN = f"system:serviceaccount:{PEOPLE}:ann"


@dataclass(slots=True)
class Stage:
    place: Place
    collector: Collector
    channel: grpc.Channel
    agents: grpc.Channel
    ann: str
    root: str
    rows: list[tuple[str, str, str]]

    def refused(self, case: str, status: grpc.StatusCode, method: str, request: Any, token: str | None) -> str:
        """The sentence that a person gets, who must get nothing else."""
        with pytest.raises(Turned) as caught:
            call(self.channel, method, request, token)
        return self.noted(case, status, caught.value)

    def agent_refused(self, case: str, status: grpc.StatusCode, node: str, token: str | None) -> str:
        return self.noted(case, status, ended(introduce(self.agents, node, token)))

    def noted(self, case: str, status: grpc.StatusCode, turned: Turned) -> str:
        assert (turned.status, turned.messages) == (status, 0), turned.said
        self.rows.append((case, status.name, turned.said))
        return turned.said


@pytest.fixture(scope="module")
def stage(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    place = furnish(control_plane)
    rows: list[tuple[str, str, str]] = []
    with (
        collecting(control_plane, tmp_path_factory.mktemp("access") / "tls") as collector,
        collector.channel() as channel,
        collector.channel(agent=True) as agents,
    ):
        ann, root = place.token(f"{PEOPLE}/ann"), place.token(f"{PEOPLE}/root")
        yield Stage(place, collector, channel, agents, ann, root, rows)
    TABLE.parent.mkdir(exist_ok=True)
    lines = [f"| {case} | {status} | {sentence.replace('|', '/')} |" for case, status, sentence in rows]
    TABLE.write_text("\n".join(["| case | status | sentence |", "|---|---|---|", *lines, ""]))


def trace(source: str = f"{SHOP}/cart", destination: str = "198.51.100.8", **more: Any) -> service_pb2.TraceRequest:
    return service_pb2.TraceRequest(source=source, destination=destination, protocol=1, timeout_ms=200, **more)


def explained(stage: Stage, destination: str, source: str = f"{SHOP}/cart", **more: Any) -> Any:
    """The answer to ann, whom nothing stops."""
    request = service_pb2.TraceRequest(source=source, destination=destination, **more)
    return call(stage.channel, "Explain", request, stage.ann)[-1].trace


def test_without_a_token(stage: Stage) -> None:
    assert "show who you are" in stage.refused("a person without a token", UNKNOWN, "Trace", trace(), None)


def test_an_invented_token(stage: Stage) -> None:
    said = stage.refused("an invented token", UNKNOWN, "Trace", trace(), "invented")
    assert "does not accept the token" in said


def test_an_expired_token(stage: Stage) -> None:
    old = stage.place.forged(stage.ann, exp=1_600_000_000, iat=1_599_996_400, nbf=1_599_996_400)
    said = stage.refused("an expired token", UNKNOWN, "Trace", trace(), old)
    assert "expired" in said


def test_a_token_for_another_audience(stage: Stage) -> None:
    other = stage.place.token(f"{PEOPLE}/ann", "vault.example")
    assert "audience" in stage.refused("a token for another audience", UNKNOWN, "Trace", trace(), other)


def test_a_token_of_another_cluster(stage: Stage) -> None:
    foreign = stage.place.forged(stage.ann, new_key().key)
    stage.refused("another cluster's token", UNKNOWN, "Trace", trace(), foreign)


def test_an_agents_token_used_by_a_person(stage: Stage) -> None:
    said = stage.refused("an agent's token, shown by a person", UNKNOWN, "Trace", trace(), stage.place.agent_token(1))
    assert "audience" in said


def test_the_agents_account_asks_nothing(stage: Stage) -> None:
    token = stage.place.token(AGENTS, pod=f"{OWN}/agent-1")
    said = stage.refused("the agents' account, as a person", DENIED, "Trace", trace(), token)
    assert "agents answer" in said


def test_a_persons_token_used_by_an_agent(stage: Stage) -> None:
    stage.agent_refused("a person's token, shown by an agent", UNKNOWN, "k2-node-1", stage.ann)


def test_an_agent_without_a_token(stage: Stage) -> None:
    stage.agent_refused("an agent without a token", UNKNOWN, "k2-node-1", None)


def test_another_account_for_the_agents_audience(stage: Stage) -> None:
    token = stage.place.token(f"{OTHER}/default", "pathtap-collector", pod=f"{OTHER}/vault")
    said = stage.agent_refused("another account's token for the agents' audience", DENIED, "k2-node-2", token)
    assert "is no agent" in said


def test_an_agents_token_of_no_pod(stage: Stage) -> None:
    token = stage.place.token(AGENTS, "pathtap-collector")
    assert "bound to no pod" in stage.agent_refused("an agent's token of no pod", DENIED, "k2-node-1", token)


def test_an_agent_that_claims_another_node_gets_nothing(stage: Stage) -> None:
    said = stage.agent_refused("an agent that claims another node", DENIED, "k2-node-2", stage.place.agent_token(1))
    assert "agent-1 runs on k2-node-1" in said
    assert '"k2-node-2"' in said
    nodes = call(stage.channel, "ListNodes", service_pb2.ListNodesRequest(), stage.root)[0].nodes
    assert not [node for node in nodes if node.connected]


def test_an_agent_is_let_in_for_its_node_and_asked(stage: Stage) -> None:
    stream = introduce(stage.agents, "k2-node-1", stage.place.agent_token(1))
    nodes = call(stage.channel, "ListNodes", service_pb2.ListNodesRequest(), stage.root)[0].nodes
    assert [node.node for node in nodes if node.connected] == ["k2-node-1"]
    assert next(stream).WhichOneof("body") == "read_snapshot"
    stream.cancel()


def test_a_namespace_without_the_right(stage: Stage) -> None:
    said = stage.refused("a namespace without the right", DENIED, "Trace", trace(f"{OTHER}/vault"), stage.ann)
    assert said.startswith(f'user "{ANN}" may not create traces.pathtap.dev in namespace "{OTHER}"')
    assert f"--clusterrole=pathtap-user --serviceaccount={PEOPLE}:ann --namespace={OTHER}" in said


def test_the_command_of_a_refusal_gives_the_right(stage: Stage) -> None:
    token = stage.place.token(f"{OTHER}/default")
    with pytest.raises(Turned) as caught:
        call(stage.channel, "Explain", trace(f"{OTHER}/vault"), token)
    command = caught.value.said.partition("To allow it: kubectl ")[2].split()
    stage.place.plane.kubectl(*command)
    # What was refused is remembered for 10 s.
    deadline = time.monotonic() + 15
    while (found := attempt(stage, token)) is None and time.monotonic() < deadline:
        time.sleep(0.5)
    assert found == f"{OTHER}/vault"


def attempt(stage: Stage, token: str) -> str | None:
    """The source's name as it was resolved; None where that was refused."""
    try:
        return str(call(stage.channel, "Explain", trace(f"{OTHER}/vault"), token)[-1].trace.source.name)
    except Turned:
        return None


def test_what_is_not_there_is_refused_as_what_is(stage: Stage) -> None:
    there = stage.refused("a name in such a namespace", DENIED, "Trace", trace(destination=f"{OTHER}/vault"), stage.ann)
    with pytest.raises(Turned) as caught:
        call(stage.channel, "Trace", trace(destination=f"{OTHER}/nobody"), stage.ann)
    assert (caught.value.status, caught.value.said) == (DENIED, there)
    with pytest.raises(Turned) as caught:
        call(stage.channel, "Trace", trace(destination="no-such-namespace/vault"), stage.ann)
    assert caught.value.said == there.replace(OTHER, "no-such-namespace")


def test_the_address_of_a_foreign_pod(stage: Stage) -> None:
    said = stage.refused("the address of a foreign pod", DENIED, "Trace", trace(destination="192.168.1.31"), stage.ann)
    assert "192.168.1.31" in said
    assert not [word for word in (OTHER, "vault", "k2-node") if word in said]


def test_a_service_with_a_foreign_backend(stage: Stage) -> None:
    request = trace(destination=f"svc/{SHOP}/mixed", port=6379)
    request.protocol = 6
    said = stage.refused("a service with a backend in a foreign namespace", DENIED, "Trace", request, stage.ann)
    assert not [word for word in (OTHER, "vault", "192.168.1.31") if word in said]
    by_address = trace(destination="10.100.7.2", port=6379)
    by_address.protocol = 6
    stage.refused("the same by its cluster address", DENIED, "Trace", by_address, stage.ann)


def test_a_foreign_service_by_address(stage: Stage) -> None:
    request = trace(destination="10.100.7.3", port=6379)
    said = stage.refused("the address of a foreign service", DENIED, "Explain", request, stage.ann)
    assert not [word for word in (OTHER, "vault") if word in said]


@pytest.mark.parametrize("source", ["node/k2-node-1", "node/no-such-node"])
def test_a_node_as_the_source(stage: Stage, source: str) -> None:
    said = stage.refused("a node as the source", DENIED, "Trace", trace(source), stage.ann)
    assert "in the whole cluster" in said
    assert "k2-node" not in said.replace(source, "")


def test_a_node_by_its_address(stage: Stage) -> None:
    said = stage.refused("the address of a node", DENIED, "Trace", trace(destination="192.168.1.11"), stage.ann)
    assert "k2-node" not in said


@pytest.mark.parametrize(
    ("case", "method", "request_"),
    [
        ("`check`", "Check", service_pb2.CheckRequest()),
        ("`check` of a node", "Check", service_pb2.CheckRequest(nodes=["k2-node-1"])),
        ("`nodes`", "ListNodes", service_pb2.ListNodesRequest()),
        ("`snat --all`", "Snat", service_pb2.SnatRequest(all=True)),
        ("`snat` of a foreign pod", "Snat", service_pb2.SnatRequest(source=f"{OTHER}/vault")),
        ("`flows` of a foreign pod", "ListFlows", service_pb2.ListFlowsRequest(source=f"{OTHER}/vault")),
        ("a bare name without -n", "Trace", trace("cart")),
        ("completion in a foreign namespace", "ListNames", service_pb2.ListNamesRequest(prefix=f"{OTHER}/")),
    ],
)
def test_everything_else_asks_too(stage: Stage, case: str, method: str, request_: Any) -> None:
    said = stage.refused(case, DENIED, method, request_, stage.ann)
    assert not [word for word in ("vault", "k2-node") if word in said]


def test_every_call_of_the_service_is_guarded(stage: Stage) -> None:
    """Goes over the service as it is described, so that a new call without a check fails here."""
    nobody = stage.place.token(f"{PEOPLE}/root", "vault.example")
    methods = service_pb2.DESCRIPTOR.services_by_name["TraceService"].methods
    assert len(methods) > 6
    for method in methods:
        request = getattr(service_pb2, method.input_type.name)()
        for token in (None, nobody):
            with pytest.raises(Turned) as caught:
                call(stage.channel, method.name, request, token)
            assert caught.value.status is UNKNOWN, method.name


def test_what_one_may_is_answered(stage: Stage) -> None:
    assert explained(stage, "redis", namespace=SHOP).destination.name == f"{SHOP}/redis"
    assert explained(stage, "192.168.1.22").destination.name == f"{SHOP}/redis"
    assert explained(stage, f"svc/{SHOP}/redis", port=6379).destination.name == f"{SHOP}/redis"
    assert explained(stage, "198.51.100.8").destination.name == ""
    answer = call(stage.channel, "Explain", trace(destination="192.168.1.31"), stage.root)
    assert answer[-1].trace.destination.name == f"{OTHER}/vault"
    assert f'"user": "{ANN}"' in stage.collector.log
    assert '"outcome": "allowed"' in stage.collector.log
    assert f'"why": "user \\"{ANN}\\" may not' in stage.collector.log


def test_suggestions_and_completion_know_nothing_of_others(stage: Stage) -> None:
    with pytest.raises(Turned) as caught:
        call(stage.channel, "Trace", trace(destination=f"{SHOP}/vault"), stage.ann)
    assert caught.value.status is grpc.StatusCode.NOT_FOUND
    assert OTHER not in caught.value.said
    names = call(stage.channel, "ListNames", service_pb2.ListNamesRequest(), stage.ann)[0].names
    assert set(names) == {f"{SHOP}/cart", f"{SHOP}/redis", f"svc/{SHOP}/mixed", f"svc/{SHOP}/redis"}
    own = service_pb2.ListNamesRequest(prefix="ca", namespace=SHOP)
    assert list(call(stage.channel, "ListNames", own, stage.ann)[0].names) == ["cart"]
    everything = call(stage.channel, "ListNames", service_pb2.ListNamesRequest(), stage.root)[0].names
    assert {f"{OTHER}/vault", "node/k2-node-1"} <= set(everything)


def test_a_client_certificate_is_a_person(stage: Stage) -> None:
    pair = stage.place.plane.authority.client("k2-ann", ("developers",))
    with stage.collector.channel(pair=pair) as channel:
        assert call(channel, "Explain", trace(), None)[-1].trace.source.name == f"{SHOP}/cart"
        with pytest.raises(Turned) as caught:
            call(channel, "Explain", trace(f"{OTHER}/vault"), None)
        assert 'user "k2-ann" may not' in stage.noted("a client certificate without the right", DENIED, caught.value)


def test_a_client_certificate_of_another_authority_gets_no_connection(stage: Stage) -> None:
    stranger = new_authority("stranger", stage.place.plane.authority.now).client("k2-ann")
    with stage.collector.channel(pair=stranger) as channel, pytest.raises(Turned) as caught:
        call(channel, "Explain", trace(), None, 5)
    stage.noted("a client certificate of another authority", grpc.StatusCode.UNAVAILABLE, caught.value)


def test_a_long_request_is_refused(stage: Stage) -> None:
    long = trace("x" * 70_000)
    with pytest.raises(Turned) as caught:
        call(stage.channel, "Trace", long, stage.ann)
    stage.noted("a request of 70,000 bytes", grpc.StatusCode.RESOURCE_EXHAUSTED, caught.value)
    pair = stage.place.plane.authority.client("k2-ann")
    with stage.collector.channel(pair=pair) as channel, pytest.raises(Turned) as caught:
        call(channel, "Trace", long, None)
    stage.noted("the same with a client certificate", grpc.StatusCode.RESOURCE_EXHAUSTED, caught.value)


def test_agents_and_people_have_ports_of_their_own(stage: Stage) -> None:
    with pytest.raises(Turned) as caught:
        call(stage.agents, "Trace", trace(), stage.ann)
    assert caught.value.status is grpc.StatusCode.UNIMPLEMENTED
    turned = ended(introduce(stage.channel, "k2-node-1", stage.place.agent_token(1)))
    assert turned.status is grpc.StatusCode.UNIMPLEMENTED


def test_one_stream_of_an_agent_at_a_time_may_be_silent(stage: Stage) -> None:
    token = stage.place.agent_token(2)
    stub = agent_pb2_grpc.IntakeServiceStub(stage.agents)
    silent = stub.Connect(nothing(), metadata=shown(token), timeout=30)
    time.sleep(0.5)
    said = stage.agent_refused("a second stream of an agent that said nothing on the first", DENIED, "k2-node-2", token)
    assert "has not said yet who it is" in said
    assert ended(silent).status is grpc.StatusCode.INVALID_ARGUMENT


def nothing() -> Iterator[agent_pb2.ConnectRequest]:
    """What an agent sends that keeps a stream open and says nothing."""
    threading.Event().wait(30)
    yield from ()


@pytest.mark.parametrize("raw", [b"\xff" * 50, b"\x0a\xff\xff\xff\xff\x0f"])
def test_what_is_no_message_is_refused_without_a_traceback(stage: Stage, raw: bytes) -> None:
    for token, status in ((stage.root, grpc.StatusCode.INVALID_ARGUMENT), (None, UNKNOWN)):
        for method in service_pb2.DESCRIPTOR.services_by_name["TraceService"].methods:
            with pytest.raises(Turned) as caught:
                call(stage.channel, method.name, raw, token)
            assert caught.value.status is status
    hello = agent_pb2.ConnectRequest(node="k2-node-1", boot_id="k2", sequence=1, hello=agent_pb2.Hello())
    connect: Any = stage.agents.stream_stream("/pathtap.v1.IntakeService/Connect")
    known = {"metadata": shown(stage.place.agent_token(1)), "timeout": 10}
    assert ended(connect(iter([raw]), **known)).status is grpc.StatusCode.INVALID_ARGUMENT
    assert list(connect(iter([hello.SerializeToString(), raw]), **known)) == []
    assert "agent of k2-node-1 sent a malformed message and is disconnected" in stage.collector.log
    assert "Traceback" not in stage.collector.log


def test_an_agent_whose_pod_is_gone(stage: Stage) -> None:
    add_pod(stage.place.plane, f"{OWN}/agent-9", "k2-node-2", "")
    uid = stage.place.plane.kubectl("get", "pod", "agent-9", "-n", OWN, "-o", "jsonpath={.metadata.uid}")
    place = replace(stage.place, uids={f"{OWN}/agent-9": uid})
    token = place.agent_token(9)
    place.plane.kubectl("delete", "pod", "agent-9", "-n", OWN, "--force", "--grace-period=0", "--wait=false")
    stage.agent_refused("an agent whose pod is gone", UNKNOWN, "k2-node-2", token)
