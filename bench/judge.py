"""The collector's own intake and capture log in a process of its own, which arms captures when told to and counts what came.

`python -m bench.judge SOCKET NODE` serves on a unix socket, says `ready`, and `joined` once the node's agent is connected. Then
each line on its standard input is a word, answered by a line of JSON: `read` (has the node read), `arm`, `count` ({"kept",
"lost"}), `end` ({"kept", "lost", "accepted"}). What a capture may keep is raised, so that it is not the limit.
"""

import asyncio
import json
import sys
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import click
import grpc.aio

from bench.frames import request
from pathtap.collector.access.gate import OpenGate
from pathtap.collector.agents import Agent, Agents
from pathtap.collector.capture_log import CaptureLog
from pathtap.collector.intake import Intake
from pathtap.collector.ports import CHANNEL_OPTIONS
from pathtap.model.node import NodeSnapshot
from pathtap.model.request import CaptureArmed, CaptureEnded, EndCapture, ReadSnapshot
from pathtap.v1 import agent_pb2_grpc

MOST_BYTES = 1 << 30
PATIENCE = 20.0


class Judge:
    """One capture at a time, each with a log of its own."""

    def __init__(self, agents: Agents, agent: Agent) -> None:
        self._agents = agents
        self._agent = agent
        self._logs = ExitStack()
        self._log = CaptureLog()
        self._captures = 0

    async def do(self, word: str) -> dict[str, object]:
        """Raises ValueError for a word that is none, AgentError where the agent refuses or is silent."""
        match word:
            case "read":
                snapshot = await self._agent.ask(ReadSnapshot(), NodeSnapshot, PATIENCE)
                return {"interfaces": len(snapshot.interfaces)}
            case "arm":
                self._captures += 1
                self._log = self._logs.enter_context(self._agents.capture(self._identity))
                armed = await self._agent.ask(request(self._identity), CaptureArmed, PATIENCE)
                return {"interfaces": armed.interfaces, "unread": [each.reason for each in armed.unread]}
            case "count":
                return self._counted()
            case "end":
                ended = await self._agent.ask(EndCapture(id=self._identity), CaptureEnded, PATIENCE)
                self._logs.close()
                return {**self._counted(), "accepted": sum(stats.received for stats in ended.stats)}
        raise ValueError(f"{word!r} is no word of the judge's")

    @property
    def _identity(self) -> str:
        return f"bench-{self._captures}"

    def _counted(self) -> dict[str, object]:
        lost: Counter[str] = Counter()
        for each in self._log.lost:
            lost[each.where] += each.count
        return {"kept": sum(self._log.delivered.values()), "lost": dict(lost)}


async def serve(listen: Path, node: str, most: int) -> None:
    """Until its standard input ends."""
    agents = Agents(time.time_ns, most)
    server = grpc.aio.server(options=CHANNEL_OPTIONS)
    agent_pb2_grpc.add_IntakeServiceServicer_to_server(Intake(agents, OpenGate()), server)
    server.add_insecure_port(f"unix:{listen}")
    await server.start()
    print("ready", flush=True)
    async with asyncio.timeout(PATIENCE):
        while not agents.connected():
            await asyncio.sleep(0.05)
    judge = Judge(agents, agents.of(node))
    print("joined", flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        print(json.dumps(await judge.do(line.strip())), flush=True)
    agents.dismiss()
    await server.stop(1.0)


@click.command()
@click.argument("listen", type=click.Path(path_type=Path))
@click.argument("node")
@click.option("--most-bytes", type=int, default=MOST_BYTES, show_default=True, help="What one capture may keep.")
def main(listen: Path, node: str, most_bytes: int) -> None:
    asyncio.run(serve(listen, node, most_bytes))


if __name__ == "__main__":
    main()
