"""What a collector tells a scraper and a kubelet."""

import asyncio
from contextlib import suppress

import pytest

from pathtap.collector.agents import Agents
from pathtap.collector.cluster.inventory import Inventory, InventoryUnread
from pathtap.collector.config import ConfigError
from pathtap.collector.figures import AgentFigures, Figures, exposition
from pathtap.collector.monitor import MOST_CONNECTIONS, figures, response, serve

FIGURES = Figures(
    agents=[AgentFigures(node="node-a", accepted=7, delivered=5, lost={"spool": 2})],
    nodes=["node-a", "node-b"],
)


def test_each_node_is_told_with_an_agent_or_without() -> None:
    lines = exposition(FIGURES).splitlines()
    assert 'pathtap_collector_agent_connected{node="node-a"} 1' in lines
    assert 'pathtap_collector_agent_connected{node="node-b"} 0' in lines
    assert 'pathtap_collector_packets_accepted_total{node="node-a"} 7' in lines
    assert 'pathtap_collector_packets_delivered_total{node="node-a"} 5' in lines
    assert 'pathtap_collector_packets_lost_total{node="node-a",where="spool"} 2' in lines
    assert "pathtap_collector_inventory_read 1" in lines
    assert "pathtap_collector_inventory_stale 0" in lines


def test_what_an_agent_calls_itself_stays_within_its_quotes() -> None:
    hostile = 'a"} 1\nforged{b="\\'
    text = exposition(Figures(nodes=[hostile]))
    assert 'pathtap_collector_agent_connected{node="a\\"} 1\\nforged{b=\\"\\\\"} 0' in text.splitlines()
    assert not any(line.startswith("forged") for line in text.splitlines())


def test_health_says_why_it_is_not() -> None:
    assert response(b"GET /healthz HTTP/1.1\r\n", FIGURES).startswith(b"HTTP/1.1 200 OK")
    ill = response(b"GET /healthz HTTP/1.1\r\n", Figures(why="the inventory has not been read"))
    assert ill.startswith(b"HTTP/1.1 503")
    assert ill.endswith(b"the inventory has not been read\n")


@pytest.mark.parametrize(
    ("line", "status"),
    [(b"GET / HTTP/1.1", b"404"), (b"hello", b"400"), (b"POST /metrics HTTP/1.1", b"404"), (b"", b"400")],
)
def test_nothing_else_is_there(line: bytes, status: bytes) -> None:
    assert response(line, FIGURES).split()[1] == status


def test_a_head_has_no_body() -> None:
    assert response(b"HEAD /metrics HTTP/1.1", FIGURES).endswith(b"\r\n\r\n")


def test_an_inventory_that_is_not_there_yet_is_no_error() -> None:
    def unread() -> Inventory:
        raise InventoryUnread("not yet")

    assert figures(Agents(lambda: 0), unread) == Figures(agents=[], why="not yet")
    assert figures(Agents(lambda: 0), Inventory) == Figures(agents=[], nodes=[])


def test_it_serves_both_families_and_only_so_many_at_once() -> None:
    async def ask(host: str, port: int) -> bytes:
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(b"GET /metrics HTTP/1.1\r\n\r\n")
        answer = await reader.read()
        writer.close()
        return answer

    async def run() -> None:
        async with await serve("[::]:0", lambda: FIGURES) as server:
            port = server.sockets[0].getsockname()[1]
            for host in ("127.0.0.1", "::1"):
                assert b'node="node-b"' in await ask(host, port)
            silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(MOST_CONNECTIONS)]
            with suppress(ConnectionResetError):
                assert await ask("127.0.0.1", port) == b""
            for reader, writer in silent:
                writer.write_eof()
                assert b"not HTTP" in await reader.read()
                writer.close()
            assert b'node="node-b"' in await ask("127.0.0.1", port)

    asyncio.run(run())


def test_a_port_that_is_taken_is_a_sentence() -> None:
    async def run() -> None:
        async with await serve("127.0.0.1:0", lambda: FIGURES) as server:
            port = server.sockets[0].getsockname()[1]
            with pytest.raises(ConfigError, match=rf"metrics cannot be served on 127.0.0.1:{port}: "):
                await serve(f"127.0.0.1:{port}", lambda: FIGURES)

    asyncio.run(run())
