"""The order of things between a request and its resolution, so that nobody learns of names that are not theirs:

the words, then what holds the addresses, then names within what is allowed, then once more what they turned out to be.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import replace

from pathtap.collector.access.gate import Caller
from pathtap.collector.access.needs import CLUSTER, Needs, of_text, of_words, together
from pathtap.collector.access.veil import shown, veiled
from pathtap.collector.cluster.inventory import Inventory
from pathtap.collector.cluster.workloads import SHORT


async def look(caller: Caller, words: Iterable[str], namespace: str, inventory: Inventory) -> Inventory:
    """Where the names of a request with these words, SRC and DST, may be looked up. Raises Refused."""
    written = [text for text in words if text]
    named = together(of_words(text, namespace) for text in written)
    await caller.may(named)
    held = [of_text(text, inventory) for text in written]
    for each in held:
        await caller.may(each)
    every = together([named, *held])
    if not every:
        # Neither end has a namespace: somebody's flow between two places outside of the cluster.
        await caller.may(CLUSTER)
    return shown(inventory, await caller.sees(every.namespaces))


async def confirm(caller: Caller, needs: Needs, inventory: Inventory, written: str) -> Inventory:
    """What to judge by. `needs` are those of what was resolved, `written` is what was asked for. Raises Refused.

    What the words have told already was refused by its name; what is refused here, a backend mostly, is told by no name.
    """
    await caller.may(replace(needs, because=written))
    # Of ten thousands of pods it takes a while, and others wait for the same loop.
    return await asyncio.to_thread(veiled, inventory, await caller.sees(needs.namespaces))


async def look_around(caller: Caller, inventory: Inventory) -> Inventory:
    """What to judge by where anything may turn up, as in a pod's traffic."""
    return await asyncio.to_thread(veiled, inventory, await caller.sees(_namespaces(inventory)))


async def look_up(caller: Caller, prefix: str, namespace: str, inventory: Inventory) -> Inventory:
    """Where names that begin with `prefix` may be looked up, bare ones in `namespace`. Raises Refused for who may see nothing of
    the kind.
    """
    possible = completable(prefix, namespace, inventory)
    visible = await caller.sees(possible)
    if visible is not None and namespace in possible:
        # Of very many not all are asked about; this one is what is meant most often.
        visible |= await caller.sees({namespace}) or frozenset()
    if visible is not None and not visible:
        await caller.may(of_words(prefix, namespace) or Needs(namespaces=frozenset({namespace})))
    return shown(inventory, visible)


def completable(prefix: str, default: str, inventory: Inventory) -> frozenset[str]:
    """The namespaces whose names can begin so. Pure."""
    every = _namespaces(inventory)
    kinds = [f"{kind}/" for kind in ("svc", *SHORT.values())]
    key = next((prefix.removeprefix(kind) for kind in kinds if prefix.startswith(kind)), prefix)
    if "/" in key:
        return frozenset({key.partition("/")[0]})
    if any(kind.startswith(key) for kind in kinds):
        return every | {default}
    return frozenset({default} | {each for each in every if each.startswith(key)})


def _namespaces(inventory: Inventory) -> frozenset[str]:
    pods = {pod.namespace for pod in inventory.pods.values()}
    return frozenset(pods | {service.namespace for service in inventory.services.values()})
