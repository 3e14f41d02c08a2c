"""The changes that many faults are made of: ip(8) and iptables(8) commands with their inverses. Pure; runs nothing."""

import shlex
from collections.abc import Callable, Iterable, Sequence

from pathtap.lab.faults.changes import CommandChange
from pathtap.lab.options import LabOptions
from pathtap.lab.rules import node_rules
from pathtap.lab.topology import Cluster, Node, Pod


def command(namespace: str, broken: str, healed: str) -> CommandChange:
    return CommandChange(namespace=namespace, broken=tuple(broken.split()), healed=tuple(healed.split()))


def batch(namespace: str, broken: Iterable[str], healed: Iterable[str]) -> CommandChange:
    """Lines of `ip -batch`."""
    ip = ("ip", "-batch", "-")
    return CommandChange(
        namespace=namespace,
        broken=ip,
        healed=ip,
        broken_input="".join(f"{line}\n" for line in broken),
        healed_input="".join(f"{line}\n" for line in healed),
    )


def nft_table(namespace: str, family: str, name: str, body: str) -> CommandChange:
    """A native table that nobody else has."""
    nft = ("nft", "-f", "-")
    return CommandChange(
        namespace=namespace,
        broken=nft,
        healed=nft,
        broken_input=f"table {family} {name} {{\n{body}}}\n",
        healed_input=f"delete table {family} {name}\n",
    )


def ip_rule(node: Node, rule: str) -> CommandChange:
    """A rule of ip(8) that should not be there."""
    return command(node.network_namespace, f"ip rule add {rule}", f"ip rule del {rule}")


def no_ip_rule(node: Node, rule: str) -> CommandChange:
    """A rule of ip(8) that is gone."""
    return command(node.network_namespace, f"ip rule del {rule}", f"ip rule add {rule}")


def iptables(options: LabOptions, table: str) -> tuple[str, ...]:
    return f"iptables-{options.backend}", "-w", "10", "-t", table


def insert(cluster: Cluster, namespace: str, table: str, rule: str, *, position: int = 1) -> CommandChange:
    """`rule` is `CHAIN MATCHES`, put at `position` of its chain, the first being 1."""
    words = iptables(cluster.options, table)
    chain, *matches = shlex.split(rule)
    return CommandChange(
        namespace=namespace,
        broken=(*words, "-I", chain, str(position), *matches),
        healed=(*words, "-D", chain, *matches),
    )


def append(cluster: Cluster, namespace: str, table: str, rule: str) -> CommandChange:
    """`rule` is `CHAIN MATCHES`, put last in its chain."""
    words = iptables(cluster.options, table)
    chain, *matches = shlex.split(rule)
    return CommandChange(
        namespace=namespace, broken=(*words, "-A", chain, *matches), healed=(*words, "-D", chain, *matches)
    )


def rules_of(cluster: Cluster, node: Node, table: str, chain: str) -> list[str]:
    """`CHAIN MATCHES` of the chain's rules as the lab wrote them; the rule at position n is the nth."""
    found, current = [], ""
    for line in node_rules(cluster, node).splitlines():
        if line.startswith("*"):
            current = line[1:]
        elif current == table and line.startswith(f"-A {chain} "):
            found.append(line.removeprefix("-A "))
    return found


def snat_rule(cluster: Cluster, node: Node) -> tuple[str, int, str]:
    """Chain, position and text of the rule that translates to the primary ENI's address."""
    chains = ("AWS-SNAT-CHAIN-0", "AWS-SNAT-CHAIN-1", "AWS-SNAT-CHAIN-2", "AWS-SNAT-CHAIN-3", "AWS-SNAT-CHAIN-4")
    for chain in chains:
        for position, rule in enumerate(rules_of(cluster, node, "nat", chain), start=1):
            if "-j SNAT" in rule:
                return chain, position, rule
    raise LookupError("this lab has no SNAT rule")


def position_of(cluster: Cluster, node: Node, table: str, chain: str, words: str) -> int:
    """Where the first rule with `words` stands in its chain, the first being 1. StopIteration where none has them."""
    rules = enumerate(rules_of(cluster, node, table, chain), start=1)
    return next(position for position, rule in rules if words in rule)


def remove(
    cluster: Cluster, node: Node, table: str, chain: str, unwanted: Callable[[str], bool]
) -> Sequence[CommandChange]:
    """The rules of the chain that are `unwanted` are gone; each returns to its own position, whoever stands around it."""
    words = iptables(cluster.options, table)
    changes = []
    for position, rule in enumerate(rules_of(cluster, node, table, chain), start=1):
        if unwanted(rule):
            _, *matches = shlex.split(rule)
            gone = (*words, "-D", chain, *matches)
            back = (*words, "-I", chain, str(position), *matches)
            changes.append(CommandChange(namespace=node.network_namespace, broken=gone, healed=back))
    # Undone in reverse, the first returns first and those below it find their positions again.
    return changes[::-1]


def search(cluster: Cluster) -> tuple[Pod, Node]:
    """The pod of node 1's secondary ENI, and node 1."""
    return cluster.pod("shop/search"), cluster.nodes[0]


def cart(cluster: Cluster) -> tuple[Pod, Node]:
    """A pod of node 1's primary ENI, and node 1."""
    return cluster.pod("shop/cart"), cluster.nodes[0]


def redis(cluster: Cluster) -> tuple[Pod, Node]:
    """The pod of node 2's primary ENI, and node 2."""
    return cluster.pod("shop/redis"), cluster.nodes[1]
