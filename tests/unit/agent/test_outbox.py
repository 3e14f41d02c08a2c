"""What the agent says it has sent: the packets of batches that went out whole, over all of its streams."""

import asyncio

from pathtap.agent.outbox import Outbox
from pathtap.v1 import agent_pb2 as pb

BATCH = pb.ConnectRequest(batch=pb.Batch()).SerializeToString()


def told(outbox: Outbox) -> int:
    return pb.ConnectRequest.FromString(outbox.hello("1", "6.18")).hello.packets


def test_a_hello_counts_the_packets_that_were_sent_and_no_others() -> None:
    async def main() -> tuple[int, ...]:
        outbox, counts = Outbox("n", "b"), list[int]()
        async with asyncio.TaskGroup() as tasks:
            for count in (3, 4):
                tasks.create_task(outbox.put(BATCH, packets=count))
            counts.append(told(outbox))
            await outbox.next()
            outbox.sent()
            counts.append(told(outbox))
            # Cut short: it goes out again.
            first = await outbox.next()
            counts.append(told(outbox))
            assert await outbox.next() == first
            outbox.sent()
            outbox.sent()
            counts.append(told(outbox))
        return tuple(counts)

    assert asyncio.run(main()) == (0, 3, 3, 7)
