"""`snat` by way of a real collector: what it asks of the agents, and what it makes of what they say, or do not say."""

import asyncio
import random
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from scripted_agent import ScriptedAgent, always, serving
from small_cluster import (
    HOLLOW,
    HOST_1,
    HOST_2,
    INTERNET,
    NODE_1,
    NODE_2,
    REDIS,
    SEARCH,
    chain,
    cluster,
    filtering,
    node_1,
    node_2,
    without_rules,
)

from pathtap.model.address import FiveTuple, Socket
from pathtap.model.conntrack import ConntrackEntry
from pathtap.model.node import CniSettings, NodeSnapshot, Unread
from pathtap.model.request import (
    CaptureRequest,
    Command,
    Connection,
    ConnectionsReport,
    EndCapture,
    Failure,
    OpenConnections,
    ProbeOutcome,
    ReadSnapshot,
)
from pathtap.model.survey import CpuCounters, PortUsage, SurveyReport, SurveyRequest
from pathtap.v1 import service_pb2, snat_pb2

V = snat_pb2.Snat


def responses(directory: Path, agents: Mapping[str, ScriptedAgent], **fields: Any) -> list[service_pb2.SnatResponse]:
    async def call() -> list[service_pb2.SnatResponse]:
        async with AsyncExitStack() as stack:
            bench = await stack.enter_async_context(serving(directory, cluster()))
            for agent in agents.values():
                await stack.enter_async_context(agent.connected(bench.address))
                await bench.agent(agent.node)
            return [each async for each in bench.client.Snat(service_pb2.SnatRequest(**fields), timeout=20)]

    return asyncio.run(call())


def snat(directory: Path, agents: Mapping[str, ScriptedAgent], **fields: Any) -> snat_pb2.Snat:
    found = responses(directory, agents, **fields)
    assert all(each.progress for each in found[:-1])
    return found[-1].snat


def told(snapshot: NodeSnapshot, **settings: Any) -> NodeSnapshot:
    """With what ipamd and IMDS say."""
    return replace(
        snapshot,
        kernel="6.1.112",
        settings=CniSettings(**settings),
        vpc_networks=(ip_network("192.168.0.0/16"),),
    )


def flow(port: int, destination: str = INTERNET) -> FiveTuple:
    return FiveTuple(
        protocol=6,
        source=ip_address(SEARCH),
        source_port=port,
        destination=ip_address(destination),
        destination_port=443,
    )


def entry(port: int, translated: int) -> ConntrackEntry:
    after = replace(flow(port), source=ip_address(HOST_1), source_port=translated)
    return ConntrackEntry(node=NODE_1, original=flow(port), reply=after.reversed)


def drawn(count: int) -> list[tuple[int, int]]:
    """Ports as clients choose them, and as the kernel translates them with a flag."""
    chance = random.Random(6)  # noqa: S311 - a fixed sequence
    return [(40_000 + 2 * number, 1024 + chance.randrange(65_536) % 64_512) for number in range(count)]


def opened(count: int = 64, outcome: ProbeOutcome = ProbeOutcome.ANSWERED) -> ConnectionsReport:
    pairs = ((flow(port), entry(port, translated)) for port, translated in drawn(count))
    connections = (Connection(outcome=outcome, five_tuple=sent, entry=recorded) for sent, recorded in pairs)
    return ConnectionsReport(connections=tuple(connections))


def agent(snapshot: NodeSnapshot | None = None, **answers: Any) -> dict[str, ScriptedAgent]:
    """`connections` and `survey` are what it answers to these."""
    kinds: dict[str, type[Command]] = {"connections": OpenConnections, "survey": SurveyRequest, "read": ReadSnapshot}
    reactions = {kinds[name]: always(answer) for name, answer in answers.items()}
    one = ScriptedAgent(snapshot or told(node_1()), reactions)
    return {one.node: one}


OUT = {"source": "shop/search", "destination": INTERNET, "protocol": 6, "port": 443}


def test_connections_are_opened_captured_and_proved(tmp_path: Path) -> None:
    agents = agent(connections=opened())
    found = snat(tmp_path, agents, **OUT)
    assert found.verdict == V.FULLY_RANDOM
    assert found.as_intended
    assert (found.connections, found.preserved, found.opened.answered) == (64, 0, 64)
    assert found.rule.chain == "AWS-SNAT-CHAIN-0"
    assert (found.translated_to, found.egress.interface) == (HOST_1, "eth0")
    (asked,) = agents[NODE_1].of(OpenConnections)
    assert isinstance(asked, OpenConnections)
    assert (str(asked.source), asked.destination, asked.count) == (SEARCH, Socket(ip_address(INTERNET), 443), 64)
    assert len(agents[NODE_1].of(CaptureRequest)) == 1
    assert not agents[NODE_1].armed


def test_the_node_itself_opens_them_for_a_pod_on_its_network(tmp_path: Path) -> None:
    agents = agent(connections=ConnectionsReport(connections=()))
    snat(tmp_path, agents, **{**OUT, "source": "kube-system/exporter-1"})
    (asked,) = agents[NODE_1].of(OpenConnections)
    assert isinstance(asked, OpenConnections)
    assert asked.source is None


@pytest.mark.parametrize("outcome", [ProbeOutcome.REFUSED, ProbeOutcome.SILENT, ProbeOutcome.UNREACHABLE])
def test_a_destination_that_does_not_answer_leaves_ports_all_the_same(tmp_path: Path, outcome: ProbeOutcome) -> None:
    found = snat(tmp_path, agent(connections=opened(outcome=outcome)), **OUT)
    assert found.verdict == V.FULLY_RANDOM
    assert getattr(found.opened, outcome.name.lower()) == 64
    assert found.opened.answered == 0


def test_connections_that_cannot_be_opened_say_why(tmp_path: Path) -> None:
    failed = Connection(outcome=ProbeOutcome.FAILED, detail="its network namespace has no route to the destination")
    found = snat(tmp_path, agent(connections=ConnectionsReport(connections=(failed,) * 64)), **OUT)
    assert found.verdict == V.INCONCLUSIVE
    assert found.opened.failed == 64
    assert "no route to the destination" in found.opened.failure
    assert "no route to the destination" in found.summary


def test_without_a_destination_nothing_is_sent_and_nothing_captured(tmp_path: Path) -> None:
    entries = tuple(entry(port, translated) for port, translated in drawn(64))
    agents = agent(survey=SurveyReport(entries=entries))
    found = snat(tmp_path, agents, source="shop/search")
    assert found.verdict == V.FULLY_RANDOM
    assert not found.HasField("opened")
    assert not found.HasField("destination")
    assert not agents[NODE_1].of(OpenConnections)
    assert not agents[NODE_1].of(CaptureRequest)


def test_a_pods_address_may_be_the_source_where_nothing_is_sent(tmp_path: Path) -> None:
    entries = tuple(entry(port, translated) for port, translated in drawn(64))
    agents = agent(survey=SurveyReport(entries=entries))
    found = snat(tmp_path, agents, source=SEARCH)
    assert (found.source.name, found.verdict) == ("shop/search", V.FULLY_RANDOM)
    assert not agents[NODE_1].of(OpenConnections)


def test_entries_to_where_nothing_is_translated_do_not_count(tmp_path: Path) -> None:
    inside = [flow(50_000 + number, "192.168.2.41") for number in range(64)]
    untouched = tuple(ConntrackEntry(node=NODE_1, original=each, reply=each.reversed) for each in inside)
    found = snat(tmp_path, agent(survey=SurveyReport(entries=untouched)), source="shop/search")
    assert found.verdict == V.INCONCLUSIVE
    assert found.connections == 0


def test_live_watches_the_sources_own_for_the_time(tmp_path: Path) -> None:
    agents = agent(survey=SurveyReport())
    snat(tmp_path, agents, source="shop/search", live=True, timeout_ms=1500)
    surveys = [each for each in agents[NODE_1].of(SurveyRequest) if isinstance(each, SurveyRequest)]
    assert [each.follow for each in surveys] == [0, 1.5, 0]
    assert surveys[1].sources == (ip_address(SEARCH),)
    assert not agents[NODE_1].of(OpenConnections)


def test_an_agent_that_is_not_there_makes_it_inconclusive(tmp_path: Path) -> None:
    found = snat(tmp_path, {}, **OUT)
    assert found.verdict == V.INCONCLUSIVE
    assert not found.as_intended
    assert [(gap.node, gap.decisive) for gap in found.gaps] == [(NODE_1, True)]
    assert NODE_1 in found.summary


def test_an_older_agent_says_that_it_knows_no_connections(tmp_path: Path) -> None:
    unknown = Failure(reason="A command came that this version does not know.")
    found = snat(tmp_path, agent(connections=unknown, survey=unknown), **OUT)
    assert found.verdict == V.INCONCLUSIVE
    assert "this version does not know" in " ".join(gap.why for gap in found.gaps)
    assert "this version does not know" in found.summary


def test_a_capture_is_ended_where_connections_cannot_be_opened(tmp_path: Path) -> None:
    agents = agent(connections=Failure(reason="no"), survey=SurveyReport())
    snat(tmp_path, agents, **OUT)
    assert len(agents[NODE_1].of(EndCapture)) == 1
    assert not agents[NODE_1].armed


def test_what_was_not_read_of_the_rules_decides(tmp_path: Path) -> None:
    snapshot = replace(told(node_1()), unread=(Unread(part="nat (iptables-legacy)", reason="the lock was held"),))
    found = snat(tmp_path, agent(snapshot, connections=opened()), **OUT)
    assert found.verdict == V.INCONCLUSIVE
    assert "the lock was held" in found.summary


def lossy(elsewhere: range) -> ScriptedAgent:
    """Loses four connections while 64 are opened; `elsewhere` are the ports in use towards another destination."""
    failed = iter((5, 9))

    def held(port: int, ports: range) -> PortUsage:
        return PortUsage(
            protocol=6,
            destination=Socket(ip_address(INTERNET), port),
            translated=ip_address(HOST_1),
            source=ip_address(SEARCH),
            ports=tuple(ports),
        )

    async def survey(scripted: ScriptedAgent, command: Command) -> SurveyReport:
        del scripted
        assert isinstance(command, SurveyRequest)
        if command.destination is None:
            return SurveyReport(usage=(held(9, elsewhere),))
        cpus = (CpuCounters(cpu=0, counters={"insert_failed": next(failed)}),)
        return SurveyReport(usage=(held(443, range(2000, 2064)),), cpus=cpus, count=300, most=262_144)

    return ScriptedAgent(told(node_1()), {SurveyRequest: survey, OpenConnections: always(opened())})


def test_races_and_users_are_told(tmp_path: Path) -> None:
    found = snat(tmp_path, {NODE_1: lossy(range(2000, 2010))}, **OUT)
    assert (found.insert_failed, found.insert_failed_total) == (4, 9)
    assert (found.cpus[0].before.insert_failed, found.cpus[0].after.insert_failed) == (5, 9)
    (ports,) = found.ports_in_use
    assert (ports.in_use, ports.capacity, ports.users[0].name, ports.users[0].ports) == (64, 64_512, "shop/search", 64)
    assert (found.conntrack_entries, found.conntrack_most) == (300, 262_144)
    (race,) = found.findings
    assert race.code == "SNAT_RACE_LOST"
    assert f"towards {INTERNET}:443 (tcp)" in race.text


def test_what_is_lost_to_another_destinations_lack_of_ports_is_no_race(tmp_path: Path) -> None:
    found = snat(tmp_path, {NODE_1: lossy(range(2000, 62_000))}, **OUT)
    (exhausted,) = found.findings
    assert exhausted.code == "SNAT_PORTS_EXHAUSTED"
    assert f"towards {INTERNET}:9 (tcp)" in exhausted.text
    assert [ports.destination.port for ports in found.ports_in_use] == [443]


def test_a_survey_that_nobody_answered_is_no_sign_that_nothing_was_translated(tmp_path: Path) -> None:
    """The agent reads the node, and is silent from then on."""
    fields = {"source": "shop/search", "destination": "shop/redis", "protocol": 6, "port": 6379}
    broken = Failure(reason="the agent stopped")
    found = snat(tmp_path, agent(survey=broken), live=True, timeout_ms=100, **fields)
    assert found.verdict == V.INCONCLUSIVE
    assert "the agent stopped" in found.summary


def flagless(snapshot: NodeSnapshot) -> NodeSnapshot:
    sets = []
    for each in snapshot.rule_sets:
        chains = [
            replace(c, rules=tuple(replace(r, text=r.text.replace(" --random-fully", "")) for r in c.rules))
            for c in each.chains
        ]
        sets.append(replace(each, chains=tuple(chains)))
    return replace(snapshot, rule_sets=tuple(sets))


def test_a_rule_without_a_flag_reuses_what_the_sources_sockets_are_mapped_to_elsewhere(tmp_path: Path) -> None:
    """Else 64 ports that are not kept contradict it."""
    snapshot = flagless(told(node_1(), randomize=0))
    assert (
        snat(tmp_path, agent(snapshot, connections=opened(), survey=SurveyReport()), **OUT).verdict == V.CONTRADICTORY
    )
    mapped = []
    for port, translated in drawn(64):
        to = flow(port, "203.0.113.9")
        after = replace(to, source=ip_address(HOST_1), source_port=translated)
        mapped.append(ConntrackEntry(node=NODE_1, original=to, reply=after.reversed))
    agents = agent(snapshot, connections=opened(), survey=SurveyReport(entries=tuple(mapped)))
    found = snat(tmp_path, agents, **OUT)
    assert (found.verdict, found.connections) == (V.INCONCLUSIVE, 64)
    assert "64 do not count: its source socket is mapped to that port towards another destination" in found.summary
    surveys = [each for each in agents[NODE_1].of(SurveyRequest) if isinstance(each, SurveyRequest) and each.limit]
    assert [(each.sources, each.destination) for each in surveys] == [((ip_address(SEARCH),), None)] * 2


def test_the_intent_of_external_snat_that_a_rule_defies(tmp_path: Path) -> None:
    found = snat(tmp_path, agent(told(node_1(), external_snat=True), connections=opened()), **OUT)
    assert found.verdict == V.FULLY_RANDOM
    assert not found.as_intended
    assert "SNAT_DESPITE_EXTERNAL" in [finding.code for finding in found.findings]


def test_an_address_that_the_eni_does_not_own_is_told_beside_a_verdict_on_ports(tmp_path: Path) -> None:
    """A rule of the VPC CNI's with the second ENI's address; or the ip rule that leads what is marked to the first is missing."""
    right = told(node_1())
    (nat,) = (each for each in right.rule_sets if each.table == "nat")
    chains = tuple(
        replace(each, rules=tuple(replace(r, text=r.text.replace(HOST_1, "192.168.1.87")) for r in each.rules))
        for each in nat.chains
    )
    foreign = replace(right, rule_sets=tuple(replace(s, chains=chains) if s is nat else s for s in right.rule_sets))
    silent = opened(outcome=ProbeOutcome.SILENT)
    for snapshot, interface in ((foreign, "eth0"), (without_rules(right, "fwmark"), "eth1")):
        found = snat(tmp_path, agent(snapshot, connections=silent), **OUT)
        assert (found.verdict, found.as_intended, found.egress.interface) == (V.FULLY_RANDOM, True, interface)
        assert [finding.code for finding in found.findings] == ["SOURCE_NOT_OWNED_BY_ENI"]
        assert "None of the 64 was answered: `pathtap trace` shows where they end." in found.summary
    assert "was answered" not in snat(tmp_path, agent(right, connections=opened()), **OUT).summary


def test_without_metadata_a_destination_of_the_inventory_is_as_intended(tmp_path: Path) -> None:
    within = {"source": "shop/search", "destination": "shop/redis", "protocol": 6, "port": 6379}
    for destination, named in (("shop/redis", f"{REDIS} is pod shop/redis"), (HOST_2, f"{HOST_2} is node {NODE_2}")):
        sent = replace(flow(40_000, str(REDIS if "redis" in destination else HOST_2)), destination_port=6379)
        pair = ConntrackEntry(node=NODE_1, original=sent, reply=sent.reversed)
        report = ConnectionsReport(
            connections=(Connection(outcome=ProbeOutcome.ANSWERED, five_tuple=sent, entry=pair),) * 64
        )
        asked = {**within, "destination": destination}
        found = snat(tmp_path, agent(replace(node_1(), kernel="6.1"), connections=report), **asked)
        assert (found.verdict, found.as_intended) == (V.NOT_TRANSLATED, True)
        assert (found.intent.says, found.intent.source) == (f"{named} of the cluster", "inventory")


def test_what_the_cni_exempts_and_another_one_translates_leaves_a_gap(tmp_path: Path) -> None:
    first = chain("POSTROUTING", "-j cali-nat-outgoing", hook="postrouting", priority=100, kind="nat")
    calico = chain("cali-nat-outgoing", f"-d {INTERNET}/32 -j MASQUERADE --random-fully")
    right = told(node_1(), excluded_networks=(ip_network("198.51.100.0/24"),))
    (nat,) = (each for each in right.rule_sets if each.table == "nat")
    others = tuple(each for each in nat.chains if each.name != "POSTROUTING")
    changed = replace(nat, chains=(*others, first, calico))
    snapshot = replace(right, rule_sets=tuple(changed if each is nat else each for each in right.rule_sets))
    found = snat(tmp_path, agent(snapshot, connections=opened()), **OUT)
    assert (found.verdict, found.as_intended, found.HasField("intent")) == (V.FULLY_RANDOM, True, False)
    (gap,) = (each for each in found.gaps if each.part == "intent")
    assert "198.51.100.0/24" in gap.why
    assert "Calico translates it all the same" in gap.why
    assert not gap.decisive


def test_of_what_is_stopped_before_its_source_could_be_translated_nothing_can_be_said(tmp_path: Path) -> None:
    silent = opened(outcome=ProbeOutcome.SILENT)
    nothing = ConnectionsReport(connections=tuple(replace(each, entry=None) for each in silent.connections))
    dropping = filtering(told(node_1()), "forward", f"-d {INTERNET}/32 -j DROP")
    found = snat(tmp_path, agent(dropping, connections=nothing), **OUT)
    assert found.verdict == V.INCONCLUSIVE
    assert "lets it go no further" in found.summary
    hollow = filtering(told(node_1()), "forward", f"-d {HOLLOW}/32 -p tcp -m tcp --dport 80 -j REJECT")
    sent = replace(flow(40_000, HOLLOW), destination_port=80)
    nothing = ConnectionsReport(connections=(Connection(outcome=ProbeOutcome.SILENT, five_tuple=sent),) * 64)
    found = snat(
        tmp_path, agent(hollow, connections=nothing), source="shop/search", destination="svc/hollow", namespace="shop"
    )
    assert found.verdict == V.INCONCLUSIVE
    assert "lets it go no further" in found.summary


def test_a_full_conntrack_table_is_told(tmp_path: Path) -> None:
    full = {"net.netfilter.nf_conntrack_count": "262144", "net.netfilter.nf_conntrack_max": "262144"}
    snapshot = told(node_1())
    snapshot = replace(snapshot, sysctls={**snapshot.sysctls, **full})
    found = snat(tmp_path, agent(snapshot, connections=opened()), **OUT)
    assert [finding.code for finding in found.findings] == ["CONNTRACK_TABLE_FULL"]


def test_every_node_has_a_row_and_one_without_an_agent_a_gap(tmp_path: Path) -> None:
    entries = tuple(entry(port, translated) for port, translated in drawn(64))
    agents = agent(survey=SurveyReport(entries=entries))
    table = responses(tmp_path, agents, all=True)[-1].table
    assert [(row.source.name, row.verdict, row.connections) for row in table.nodes] == [(NODE_1, V.FULLY_RANDOM, 64)]
    assert [(gap.node, gap.decisive) for gap in table.gaps] == [(NODE_2, True)]
    assert not agents[NODE_1].of(OpenConnections)


def test_the_nodes_of_a_table_are_told_apart(tmp_path: Path) -> None:
    agents = agent() | agent(told(node_2()))
    table = responses(tmp_path, agents, all=True)[-1].table
    assert [row.source.name for row in table.nodes] == [NODE_1, NODE_2]
    assert not table.gaps


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"source": "svc/web"}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"source": "shop/nobody"}, grpc.StatusCode.NOT_FOUND),
        ({"source": SEARCH, "destination": INTERNET}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"source": "203.0.113.9"}, grpc.StatusCode.FAILED_PRECONDITION),
        ({"source": "shop/search", "destination": "shop/search", "port": 80}, grpc.StatusCode.FAILED_PRECONDITION),
        ({"source": "203.0.113.9", "live": True}, grpc.StatusCode.FAILED_PRECONDITION),
        ({"source": "shop/search", "destination": INTERNET, "protocol": 6}, grpc.StatusCode.INVALID_ARGUMENT),
    ],
    ids=["service", "nobody", "address", "stranger", "itself", "nobody's address", "no port"],
)
def test_what_cannot_be_asked_is_refused(tmp_path: Path, fields: Mapping[str, Any], status: grpc.StatusCode) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        responses(tmp_path, {}, **fields)
    assert refused.value.code() is status
    assert refused.value.details()


def test_what_a_pods_own_namespace_answered_is_told_in_the_agents_words(tmp_path: Path) -> None:
    """As with a sidecar that takes the pod's connections before the node sees any."""
    said = "The connection was refused. The node's connection tracking recorded nothing of it: the pod's own rules redirect it."
    refused = Connection(outcome=ProbeOutcome.REFUSED, five_tuple=flow(41_000), detail=said)
    found = snat(tmp_path, agent(connections=ConnectionsReport(connections=(refused,) * 64)), **OUT)
    assert found.verdict == V.INCONCLUSIVE
    assert "the pod's own rules redirect it" in found.summary
