"""What a collector counts, in Prometheus's text format 0.0.4. Pure.

Agents listen on loopback alone, so what they count is told here as far as it has come, by node. A series begins anew when an
agent connects, as a counter may.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# In the order of what they stand for in the format: an escape first.
_ESCAPES = (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"))


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentFigures:
    """Since the agent connected; `lost` by stage (docs/wire.md)."""

    node: str
    accepted: int
    delivered: int
    lost: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """`why` says why traces cannot be answered; empty where they can. `nodes` are the inventory's, with an agent or without."""

    agents: Sequence[AgentFigures] = ()
    nodes: Sequence[str] = ()
    why: str = ""
    stale: bool = False


def exposition(figures: Figures) -> str:
    by_node = {each.node: each for each in figures.agents}
    connected = {_labels(node=node): int(node in by_node) for node in sorted({*figures.nodes, *by_node})}
    lost = {
        _labels(node=each.node, where=where): count
        for each in figures.agents
        for where, count in sorted(each.lost.items())
    }
    agents = [(_labels(node=each.node), each) for each in figures.agents]
    lines = (
        *_metric("inventory_read", "gauge", "Whether pods and nodes have been read.", {"": int(not figures.why)}),
        *_metric(
            "inventory_stale", "gauge", "Whether what is known of them may be out of date.", {"": int(figures.stale)}
        ),
        *_metric("agent_connected", "gauge", "Whether the node's agent is connected.", connected),
        *_metric(
            "packets_accepted_total",
            "counter",
            "Packets that filters of ended captures accepted.",
            {labels: each.accepted for labels, each in agents},
        ),
        *_metric(
            "packets_delivered_total",
            "counter",
            "Packets that have come.",
            {labels: each.delivered for labels, each in agents},
        ),
        *_metric("packets_lost_total", "counter", "Packets lost, by stage.", lost),
    )
    return "".join(f"{line}\n" for line in lines)


def _metric(name: str, kind: str, text: str, values: Mapping[str, int]) -> Iterator[str]:
    full = f"pathtap_collector_{name}"
    yield f"# HELP {full} {text}"
    yield f"# TYPE {full} {kind}"
    for labels, number in values.items():
        yield f"{full}{labels} {number}"


def _labels(**labels: str) -> str:
    """Names of nodes and stages are an agent's own words."""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    for character, escape in _ESCAPES:
        value = value.replace(character, escape)
    return value
