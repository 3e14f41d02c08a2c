"""Streams what a run says on the way, then what it found. Knows neither."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from pathtap.collector.asking import COMMAND_TIMEOUT, Progress

Result = TypeVar("Result")


async def with_progress(
    run: Callable[[Progress], Awaitable[Result]], say: Callable[[str], Result]
) -> AsyncIterator[Result]:
    """Runs the work beside this stream and gives what it says on the way, then its result. Ends it when nobody listens."""
    queue: asyncio.Queue[Result] = asyncio.Queue()

    async def progress(text: str) -> None:
        await queue.put(say(text))

    work = asyncio.ensure_future(run(progress))
    try:
        while not work.done() or not queue.empty():
            waiting = asyncio.ensure_future(queue.get())
            await asyncio.wait({work, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if waiting.done():
                yield waiting.result()
            else:
                waiting.cancel()
        yield work.result()
    finally:
        # Waited for, so that its captures are ended before the server is gone.
        work.cancel()
        await asyncio.wait({work}, timeout=COMMAND_TIMEOUT)
