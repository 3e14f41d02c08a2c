"""The chains of a node in the order in which the kernel runs them, each rule decoded when a packet first reaches it.

Knows no packets beyond the two addresses and the port that tell which rules can be skipped unread: nodes hold tens of thousands
of rules that begin with `-d ADDRESS/32` or `-s ADDRESS/32`, thousands that name a node port.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter

from pathtap.forwarding import iptables, nftables
from pathtap.forwarding.nftsets import Sets
from pathtap.forwarding.packet import Packet
from pathtap.forwarding.targets import Clause, Dnat, Masquerade, Redirect, Snat, Target
from pathtap.model.netfilter import Backend, Chain, Random, RuleSet
from pathtap.model.node import NodeSnapshot
from pathtap.model.saved import SavedRules
from pathtap.model.trace import RuleReference

PREROUTING, INPUT, FORWARD, OUTPUT, POSTROUTING = HOOKS = ("prerouting", "input", "forward", "output", "postrouting")
# The hooks of one interface: of `netdev` tables, and `ingress` of `inet` ones.
INGRESS, EGRESS = DEVICE_HOOKS = ("ingress", "egress")
# enum nf_ip_hook_priorities (linux/netfilter_ipv4.h). All nat chains run where the kernel's nat hook is.
CONNTRACK = -200
NAT = {PREROUTING: -100, OUTPUT: -100, INPUT: 100, POSTROUTING: 100}
TABLES = {
    "raw": (-300, (PREROUTING, OUTPUT)),
    "mangle": (-150, HOOKS),
    "nat": (None, tuple(NAT)),
    "filter": (0, (INPUT, FORWARD, OUTPUT)),
    "security": (50, (INPUT, FORWARD, OUTPUT)),
}
FAMILIES = {"ip": (4,), "ip6": (6,), "inet": (4, 6), "netdev": (4, 6)}
FIRST = -300
# How the agent names tables and stores that it could not read.
PART = re.compile(
    r"(?:(?:(?P<family>ip6?|inet|netdev|arp|bridge) )?(?P<table>\S+) \((?:iptables-legacy|iptables-nft|nftables)\)"
    r"|(?P<store_family>ip6?)tables-(?:legacy|nft)|nftables)\Z"
)
# How kube-proxy writes a node port: at the beginning, so that no comment can pretend to be one.
NODE_PORT = re.compile(
    r'-p (?P<protocol>tcp|udp|sctp)(?: -m comment --comment (?:"(?:[^"\\]|\\.)*"|\S+))? -m (?P=protocol)'
    r" --dport (?P<port>\d+)(?: |\Z)"
)
# Shorter chains are walked as they are.
WORTH_AN_INDEX = 32


class CompiledChain:
    """One chain with what decoding and indexing have found so far."""

    def __init__(self, table: "CompiledTable", chain: Chain) -> None:
        self.table = table
        self.chain = chain
        self._decoded: dict[int, tuple[Clause, ...]] = {}
        self._by_address: dict[str, list[int]] | None = None

    def candidates(self, packet: Packet) -> Sequence[int]:
        """Indexes, in order, of the rules that may concern the packet; the others name another address or port."""
        if len(self.chain.rules) < WORTH_AN_INDEX or self.table.native:
            return range(len(self.chain.rules))
        if self._by_address is None:
            self._by_address = self._index()
        flow, found = packet.five_tuple, self._by_address
        bits = flow.source.max_prefixlen
        keys = ("", f"-s {flow.source}/{bits}", f"-d {flow.destination}/{bits}", f"--dport {flow.destination_port}")
        return sorted(index for key in keys for index in found.get(key, ()))

    def clauses(self, index: int, family: int) -> tuple[Clause, ...]:
        if index not in self._decoded:
            rule = self.chain.rules[index]
            native = self.table.native
            decoded = (
                nftables.decode(rule.expression, self.table.sets) if native else iptables.decode(rule.text, family)
            )
            self._decoded[index] = decoded
        return self._decoded[index]

    def reference(self, index: int, target: Target | None = None) -> RuleReference:
        """The rule at `index`; -1 is the chain's policy."""
        rule = self.chain.rules[index] if index >= 0 else None
        return RuleReference(
            backend=self.table.rule_set.backend,
            table=self.table.rule_set.table,
            chain=self.chain.name,
            position=rule.position if rule else 0,
            text=rule.text if rule else f"policy {self.chain.policy}",
            random=target.random if isinstance(target, Snat | Masquerade | Dnat | Redirect) else Random.NONE,
        )

    @property
    def words(self) -> str:
        """`iptables-nft nat POSTROUTING`."""
        return f"{self.table.rule_set.backend.value} {self.table.rule_set.table} {self.chain.name}"

    @property
    def reroutes(self) -> bool:
        """Whether a mark that it changes makes the kernel route a local packet again: iptable_mangle.c, nft_chain_route.c."""
        mangle = self.table.rule_set.table == "mangle" and not self.table.native
        return self.chain.hook == OUTPUT and (self.chain.kind == "route" or mangle)

    @property
    def idle(self) -> bool:
        return not self.chain.rules and self.chain.policy != "DROP"

    def _index(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = defaultdict(list)
        hosts = ("/32", "/128")
        rules = self.chain.rules
        texts = rules.texts() if isinstance(rules, SavedRules) else (rule.text for rule in rules)
        for index, text in enumerate(texts):
            option, _, rest = text.partition(" ")
            if option in ("-s", "-d"):
                address = rest.partition(" ")[0]
                key = f"{option} {address}" if address.endswith(hosts) else ""
            else:
                port = NODE_PORT.match(text) if option == "-p" else None
                key = f"--dport {port['port']}" if port else ""
            found[key].append(index)
        return dict(found)


class CompiledTable:
    def __init__(self, rule_set: RuleSet) -> None:
        self.rule_set = rule_set
        self.native = rule_set.backend is Backend.NFTABLES
        self.sets = Sets(rule_set.objects)
        self._compiled: dict[str, CompiledChain] = {}
        self.base = tuple(self._keep(chain) for chain in rule_set.base_chains())

    def chain(self, name: str) -> CompiledChain | None:
        """Made when a packet first comes there: a table may have 20,000."""
        if name not in self._compiled and (chain := self.rule_set.chain(name)):
            return self._keep(chain)
        return self._compiled.get(name)

    def _keep(self, chain: Chain) -> CompiledChain:
        return self._compiled.setdefault(chain.name, CompiledChain(self, chain))


@dataclass(frozen=True, slots=True)
class Stage:
    """Base chains that run at one priority of one hook. `groups` run in their order; the order within a group is not known.

    A nat stage exists at every hook that has one, with or without chains. `unread` are tables of it that nobody could read.
    """

    priority: int
    nat: bool = False
    groups: tuple[tuple[CompiledChain, ...], ...] = ()
    unread: tuple[str, ...] = ()

    @property
    def unreadable_order(self) -> str:
        """A sentence that names the chains of which nobody can tell which runs first; empty where the order is known."""
        several = [chain.words for group in self.groups if len(group) > 1 for chain in group]
        return f"the order of {' and '.join(sorted(several))} is not readable" if several else ""


def stages(snapshot: NodeSnapshot) -> dict[tuple[int, str, str], tuple[Stage, ...]]:
    """The stages by family (4 or 6), hook and interface, in the kernel's order. Only ingress and egress have an interface."""
    tables = [CompiledTable(rule_set) for rule_set in snapshot.rule_sets]
    based: dict[tuple[int, str, str], list[CompiledChain]] = defaultdict(list)
    for table in tables:
        for chain in table.base:
            hook = chain.chain.hook
            # An interface that nobody told may be any.
            devices = chain.chain.device.split() or [each.name for each in snapshot.interfaces]
            for family in FAMILIES.get(table.rule_set.family, ()) if not chain.idle else ():
                for device in devices if hook in DEVICE_HOOKS else ("",):
                    based[family, hook, device].append(chain)
    keys = {(family, hook, "") for family in (4, 6) for hook in HOOKS} | based.keys()
    return {key: tuple(_of_hook(snapshot, based.get(key, ()), key[0], key[1])) for key in keys}


def _of_hook(snapshot: NodeSnapshot, based: Iterable[CompiledChain], family: int, hook: str) -> Iterator[Stage]:
    chains: dict[tuple[int, bool], list[CompiledChain]] = defaultdict(list)
    for chain in based:
        chains[chain.chain.priority, chain.chain.kind == "nat"].append(chain)
    found = [Stage(priority, groups=_in_order(group)) for (priority, is_nat), group in chains.items() if not is_nat]
    found += [
        Stage(FIRST, unread=(f"the interface of {chain.table.rule_set.table} {chain.chain.name} was not read",))
        for chain in based
        if hook in DEVICE_HOOKS and not chain.chain.device
    ]
    found += [Stage(priority, unread=(why,)) for priority, why in _unread(snapshot, family, hook)]
    if hook in NAT:
        ordered = sorted(
            ((priority, group) for (priority, is_nat), group in chains.items() if is_nat), key=itemgetter(0)
        )
        found.append(
            Stage(NAT[hook], nat=True, groups=tuple(each for _, group in ordered for each in _in_order(group)))
        )
    yield from sorted(found, key=lambda stage: stage.priority)


def _in_order(group: list[CompiledChain]) -> tuple[tuple[CompiledChain, ...], ...]:
    """Chains of one priority. nf_hook_entries_grow (net/netfilter/core.c) puts a new hook before its equals: the chain that was
    registered last runs first, of nat and of every other type (measured on 6.18).
    """
    if all(chain.chain.registration for chain in group):
        return tuple((chain,) for chain in sorted(group, key=lambda chain: -chain.chain.registration))
    return (tuple(group),)


def _unread(snapshot: NodeSnapshot, family: int, hook: str) -> Iterator[tuple[int, str]]:
    """(priority, sentence) of what could not be read there: `nat (iptables-legacy)`, `ip6 nat (iptables-nft)` stand for that
    table, `inet firewall (nftables)` and whole stores (`iptables-nft`, `nftables`) for anything from the first priority on.
    """
    for unread in snapshot.unread:
        found = PART.match(unread.part)
        if found is None:
            continue
        named = found["family"] or found["store_family"] or ("inet" if unread.part == "nftables" else "ip")
        if family not in FAMILIES.get(named, ()):
            continue
        why = f"{unread.part} of {snapshot.node} could not be read: {unread.reason}"
        priority, hooks = TABLES.get(found["table"] or "", (FIRST, HOOKS))
        if hook in hooks:
            yield NAT[hook] if priority is None else priority, why
