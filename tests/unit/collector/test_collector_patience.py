"""How long an agent is waited for that reads its node: one that is busy with many rules, and one that is silent."""

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from scripted_agent import Reaction, ScriptedAgent, always, serving
from small_cluster import NODE_1, cluster, node_1

from pathtap.collector.agents import AgentError, NoAgent
from pathtap.collector.asking import read_patiently
from pathtap.model.netfilter import Backend, RuleSet
from pathtap.model.request import Answer, Command, Failure, LookupRequest, ReadSnapshot
from pathtap.model.saved import SavedChains
from pathtap.v1 import service_pb2

NOBODY: Reaction = always(None)


def run(main: Coroutine[Any, Any, None]) -> None:
    async def within_time() -> None:
        async with asyncio.timeout(15):
            await main

    asyncio.run(within_time())


async def once_asked(agent: ScriptedAgent, command: Command) -> Answer:
    """Reads until somebody asks whether it is alive."""
    await agent.until(LookupRequest)
    return agent.snapshot


def test_an_agent_that_reads_for_long_is_asked_whether_it_is_alive_and_waited_for(tmp_path: Path) -> None:
    async def main() -> None:
        agent = ScriptedAgent(node_1(), {ReadSnapshot: once_asked})
        async with serving(tmp_path, cluster()) as bench, agent.connected(bench.address):
            await bench.agent(NODE_1)
            assert (await read_patiently(bench.agents.of(NODE_1), ReadSnapshot(), 0.01)).node == NODE_1
            assert agent.received == [ReadSnapshot(), LookupRequest()]

    run(main())


def test_an_agent_that_answers_nothing_is_given_up(tmp_path: Path) -> None:
    async def main() -> None:
        agent = ScriptedAgent(node_1(), {ReadSnapshot: NOBODY, LookupRequest: NOBODY})
        async with serving(tmp_path, cluster()) as bench, agent.connected(bench.address):
            await bench.agent(NODE_1)
            with pytest.raises(NoAgent, match="did not answer within"):
                await read_patiently(bench.agents.of(NODE_1), ReadSnapshot(), 0.01)

    run(main())


def test_an_agent_that_refuses_is_asked_nothing_else(tmp_path: Path) -> None:
    async def main() -> None:
        agent = ScriptedAgent(node_1(), {ReadSnapshot: always(Failure(reason="no memory"))})
        async with serving(tmp_path, cluster()) as bench, agent.connected(bench.address):
            await bench.agent(NODE_1)
            with pytest.raises(AgentError, match="no memory"):
                await read_patiently(bench.agents.of(NODE_1), ReadSnapshot(), 5)
            assert agent.received == [ReadSnapshot()]

    run(main())


def test_nodes_says_who_read_which_rules(tmp_path: Path) -> None:
    chains = SavedChains("nat", ":A - [0:0]\n[0:0] -A A -j RETURN\n[0:0] -A A -j DROP\n")
    table = RuleSet(backend=Backend.LEGACY, family="ip6", table="nat", chains=chains, read_by="ip6tables-legacy-save")

    async def main() -> None:
        agent = ScriptedAgent(replace(node_1(), rule_sets=(table,)))
        async with serving(tmp_path, cluster()) as bench, agent.connected(bench.address):
            await bench.agent(NODE_1)
            response = await bench.client.ListNodes(service_pb2.ListNodesRequest())
            (status,) = (each for each in response.nodes if each.node == NODE_1)
            assert [(each.table, each.read_by, each.rules) for each in status.rules] == [
                ("ip6 nat (iptables-legacy)", "ip6tables-legacy-save", 2)
            ]

    run(main())
