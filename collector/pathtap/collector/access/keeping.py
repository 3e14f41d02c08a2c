"""While an answer is made, and an address is watched for minutes: that it does not become that of something of others.

A pod can be deleted while it is traced, and its address be given to another namespace's pod: what is seen from then on is not
the caller's. The VPC CNI keeps an address back for 30 s, so that a look each second comes before the first packet.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from typing import TypeVar

from pathtap.collector.access.gate import Caller
from pathtap.collector.access.needs import Needs, of_address
from pathtap.collector.asking import COMMAND_TIMEOUT
from pathtap.collector.cluster.inventory import Inventory
from pathtap.model.trace import Target

Result = TypeVar("Result")

# Seconds between two looks.
PAUSE = 1.0


async def while_theirs(
    work: Awaitable[Result], caller: Caller, ends: Iterable[Target], before: Inventory, present: Callable[[], Inventory]
) -> Result:
    """What the work gives. Raises Refused, and ends the work, where an end of the trace became that of something that the caller
    may not see. `before` is what the ends were found in.
    """
    watched = [end for end in dict.fromkeys(ends) if end.kind in ("pod", "address") and not end.host_network]
    task = asyncio.ensure_future(work)
    try:
        done = False
        while not done:
            done = bool((await asyncio.wait({task}, timeout=PAUSE))[0])
            after = present()
            for end in watched:
                if needs := newly_needed(end, before, after):
                    await caller.may(needs)
        return task.result()
    finally:
        # Waited for, so that its captures are ended before anybody is told.
        task.cancel()
        await asyncio.wait({task}, timeout=COMMAND_TIMEOUT)


def newly_needed(end: Target, before: Inventory, after: Inventory) -> Needs:
    """Nothing while the address is nobody else's. Pure."""
    address = end.socket.address
    if end.kind == "pod":
        former, holder = before.pods.get(end.name), after.pod_at(address)
        if holder is None or (former is not None and holder.uid == former.uid):
            return Needs()
    return replace(of_address(address, after), because=str(address))
