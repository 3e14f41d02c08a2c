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


def test_what_was_cut_short_goes_out_again_unless_it_is_an_answer_of_the_stream_that_ended() -> None:
    async def main() -> None:
        outbox = Outbox("n", "b")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(outbox.put(BATCH, packets=3))
            cut_short = await outbox.next()
            outbox.forget_answers()
            assert await outbox.next() == cut_short
            outbox.sent()
            tasks.create_task(outbox.put(BATCH, answer=True))
            await outbox.next()
            outbox.forget_answers()
            outbox.sent()
            tasks.create_task(outbox.put(BATCH, packets=4))
            message = await outbox.next()
            assert message is not None
            # The answer's number is not given again.
            assert pb.ConnectRequest.FromString(message).sequence == 3
            outbox.sent()
        assert told(outbox) == 7

    asyncio.run(main())
