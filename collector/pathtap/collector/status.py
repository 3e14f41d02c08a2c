"""What `pathtap nodes` shows and what a shell completes."""

import asyncio
from collections import Counter

from pathtap import wire
from pathtap.collector.agents import Agent, AgentError, Agents
from pathtap.collector.asking import read_patiently
from pathtap.collector.cluster.inventory import Inventory, inventory_gaps
from pathtap.collector.cluster.workloads import SHORT
from pathtap.collector.judging.accounts import MOST
from pathtap.model.node import NodeSnapshot, Unread
from pathtap.model.request import ReadSnapshot
from pathtap.v1 import node_pb2, service_pb2

# Seconds for an agent that does not answer at all.
SILENCE = 4.0
MOST_NAMES = 200


async def node_statuses(agents: Agents, inventory: Inventory) -> list[service_pb2.NodeStatus]:
    """One of each node that the inventory or an agent names, in the order of their names."""
    connected = {agent.node: agent for agent in agents.connected()}
    every = sorted({*inventory.nodes, *connected})
    return list(await asyncio.gather(*(_status(node, connected.get(node), inventory) for node in every)))


def unread_of(inventory: Inventory) -> list[node_pb2.Unread]:
    """`inventory`, while nobody confirms it."""
    return [wire.unread_to_wire(Unread(part=gap.part, reason=gap.why)) for gap in inventory_gaps(inventory)]


def names(inventory: Inventory, prefix: str, namespace: str = "") -> list[str]:
    """Pods by key, then nodes, services and workloads with their kind, as far as they begin with `prefix`. Bare names are those
    of the namespace, or where none is given those that are unique.
    """
    candidates = [
        *sorted(inventory.pods),
        *(f"node/{name}" for name in sorted(inventory.nodes)),
        *(f"svc/{key}" for key in sorted(inventory.services)),
        *(f"{SHORT[kind]}/{key}" for kind in SHORT for key in sorted(inventory.pods_by_workload.get(kind, {}))),
    ]
    by_name = Counter(pod.name for pod in inventory.pods.values() if namespace in ("", pod.namespace))
    candidates += sorted(name for name, pods in by_name.items() if pods == 1)
    return [name for name in candidates if name.startswith(prefix)][:MOST_NAMES]


async def _status(node: str, agent: Agent | None, inventory: Inventory) -> service_pb2.NodeStatus:
    status = service_pb2.NodeStatus(node=node, connected=agent is not None, in_inventory=node in inventory.nodes)
    if agent is None:
        return status
    status.version, status.kernel = agent.version, agent.kernel
    status.connected_at.FromNanoseconds(agent.connected_at)
    ledger = agent.ledger
    status.accepted, status.delivered = min(ledger.accepted, MOST), ledger.delivered
    status.losses.extend(
        service_pb2.NodeStatus.Loss(where=where, count=min(count, MOST))
        for where, count in sorted(ledger.losses.items())
    )
    try:
        _describe(status, await read_patiently(agent, ReadSnapshot(), SILENCE))
    except AgentError as error:
        status.unread.append(wire.unread_to_wire(Unread(part="snapshot", reason=str(error))))
    return status


def _describe(status: service_pb2.NodeStatus, snapshot: NodeSnapshot) -> None:
    for interface in snapshot.interfaces:
        addresses = [str(address) for address in interface.addresses]
        status.interfaces.add(
            name=interface.name,
            role=interface.role.value,
            eni_id=interface.eni_id,
            addresses=addresses or [str(address) for address in interface.pod_addresses],
        )
    for rule_set in snapshot.rule_sets:
        status.rules.add(table=rule_set.part, read_by=rule_set.read_by, rules=rule_set.count_rules())
    status.unread.extend(wire.unread_to_wire(unread) for unread in snapshot.unread)
