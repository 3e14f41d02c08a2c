"""Ctrl-C while a collector is at work: its captures end at once, not with their time-out. Both are in this process."""

import asyncio
import signal
import sys
from pathlib import Path

import pytest
from scripted_agent import ScriptedAgent, always, serving
from small_cluster import cluster, node_1

from pathtap.model.request import CaptureRequest, EndCapture, ProbeRequest

LONG = ("--timeout", "60")


@pytest.mark.parametrize(
    "words",
    [
        ("trace", "shop/cart", "to", "shop/redis", "--port", "6379", "--live", *LONG),
        ("trace", "shop/cart", "to", "shop/redis", "--port", "6379", *LONG),
        ("flows", "shop/cart", *LONG),
    ],
    ids=["live", "probe", "flows"],
)
def test_an_interrupt_ends_the_captures(words: tuple[str, ...], tmp_path: Path) -> None:
    async def main() -> None:
        agent = ScriptedAgent(node_1(), {ProbeRequest: always(None)})
        async with asyncio.timeout(30), serving(tmp_path, cluster()) as bench, agent.connected(bench.address):
            await bench.agent(agent.node)
            command = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "pathtap.cli", "--collector", bench.address, *words),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            try:
                while not agent.armed:
                    assert command.returncode is None
                    await asyncio.sleep(0.01)
                assert isinstance(await agent.until(CaptureRequest), CaptureRequest)
                command.send_signal(signal.SIGINT)
                # Within the five seconds that `until` waits, of sixty.
                ended = await agent.until(EndCapture)
                output, errors = await command.communicate()
            finally:
                if command.returncode is None:
                    command.kill()
            assert isinstance(ended, EndCapture)
            assert (command.returncode, output, errors.strip()) == (130, b"", b"")

    asyncio.run(main())
