"""Builds node snapshots from the texts that people know: `ip rule`, `ip route`, iptables-save, `nft -j list table`."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address, ip_interface, ip_network

from pathtap.model.netfilter import Backend, Chain, NetfilterRule, RuleSet
from pathtap.model.node import (
    Interface,
    NextHop,
    NodeSnapshot,
    PortRange,
    Role,
    Route,
    RouteKind,
    Rule,
    RuleAction,
    Unread,
)

PROTOCOLS = {"icmp": 1, "tcp": 6, "udp": 17}
TABLES = {"local": 255, "main": 254, "default": 253}
PRIORITIES = {"raw": -300, "mangle": -150, "nat": -100, "filter": 0}
HOOKS = ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING")
FLAGS = {"nop": RuleAction.NOP, **{word: RuleAction(word) for word in ("blackhole", "unreachable", "prohibit")}}

# No reverse path filter anywhere: of most nodes here it is other things that are asked.
UNFILTERED = {
    f"net.ipv4.conf.{name}.rp_filter": "0"
    for name in ("all", "eth0", "eth1", "eth2", "eniaaa", "enibbb", "eniccc", "eniddd")
}


def rule(line: str, family: int = 4, **changes: object) -> Rule:
    """`1024: from all fwmark 0x80/0x80 lookup main`."""
    priority, _, text = line.partition(":")
    words = text.split()
    given: dict[str, object] = {"family": family, "priority": int(priority), "text": text.strip()}
    index = 0
    while index < len(words):
        word, value = words[index], words[index + 1] if index + 1 < len(words) else ""
        index += 2
        match word:
            case "not":
                given["inverted"] = True
                index -= 1
            case "from" | "to" if value != "all":
                given["source" if word == "from" else "destination"] = ip_network(value)
            case "fwmark":
                mark, _, mask = value.partition("/")
                given |= {"mark": int(mark, 0), "mask": int(mask, 0) if mask else 0xFFFFFFFF}
            case "iif" | "oif":
                given["in_interface" if word == "iif" else "out_interface"] = value
            case "ipproto":
                given["ip_protocol"] = PROTOCOLS[value]
            case "sport" | "dport":
                first, _, last = value.partition("-")
                given["source_ports" if word == "sport" else "destination_ports"] = PortRange(
                    first=int(first), last=int(last or first)
                )
            case "lookup":
                given["table"] = TABLES.get(value) or int(value)
            case "goto":
                given |= {"action": RuleAction.GOTO, "goto": int(value)}
            case "suppress_prefixlength":
                given["suppress_prefix_length"] = int(value)
            case "tos":
                given["tos"] = int(value, 0)
            case _ if word in FLAGS:
                given["action"] = FLAGS[word]
                index -= 1
    return Rule(**(given | changes))  # type: ignore[arg-type]


def route(line: str, table: str = "main", **changes: object) -> Route:
    """`default via 192.168.1.1 dev eth0`, `blackhole 10.0.0.0/8`, `10.0.0.0/8 nexthop via … dev … nexthop …`."""
    words = line.split()
    kinds = {kind.value for kind in RouteKind}
    kind = RouteKind(words.pop(0)) if words[0] in kinds else RouteKind.UNICAST
    prefix = words[0]
    network = ip_network("0.0.0.0/0" if prefix == "default" else prefix)
    fields = dict(zip(words[1::2], words[2::2], strict=False)) if "nexthop" not in words else {}
    hops = (
        [NextHop(interface=fields["dev"], gateway=ip_address(fields["via"]) if "via" in fields else None)]
        if "dev" in fields
        else []
    )
    for via, device in re.findall(r"nexthop via (\S+) dev (\S+)", line):
        hops.append(NextHop(interface=device, gateway=ip_address(via)))
    given: dict[str, object] = {
        "family": network.version,
        "table": TABLES.get(table) or int(table),
        "destination": network,
        "kind": kind,
        "metric": int(fields.get("metric", 0)),
        "tos": int(fields.get("tos", "0"), 0),
        "next_hops": tuple(hops),
        "text": line,
    }
    return Route(**(given | changes))  # type: ignore[arg-type]


def interface(index: int, name: str, *addresses: str, role: Role = Role.OTHER) -> Interface:
    found = tuple(ip_interface(address) for address in addresses)
    return Interface(index=index, name=name, role=role, mac="", mtu=9001, up=True, addresses=found)


def iptables(text: str, backend: Backend = Backend.NFT, family: str = "ip") -> list[RuleSet]:
    """iptables-save's output; built-in chains need no declaration."""
    found: list[RuleSet] = []
    table, policies, rules = "", dict[str, str](), dict[str, list[str]]()
    for line in (raw.strip() for raw in text.splitlines()):
        if line.startswith("*"):
            table, policies, rules = line[1:], {}, {}
        elif line.startswith(":"):
            name, policy = line[1:].split()[:2]
            policies[name] = policy
            rules.setdefault(name, [])
        elif line.startswith("-A "):
            _, name, *rest = line.split(" ", 2)
            rules.setdefault(name, []).append(" ".join(rest))
        elif line == "COMMIT":
            chains = tuple(_chain(table, name, policies.get(name, "-"), texts) for name, texts in rules.items())
            found.append(RuleSet(backend=backend, family=family, table=table, chains=chains))
    return found


def _chain(table: str, name: str, policy: str, texts: Iterable[str]) -> Chain:
    rules = tuple(NetfilterRule(position=number, text=text) for number, text in enumerate(texts, 1))
    if name not in HOOKS:
        return Chain(name=name, rules=rules)
    late = table == "nat" and name in ("POSTROUTING", "INPUT")
    kind = "nat" if table == "nat" else "route" if (table, name) == ("mangle", "OUTPUT") else "filter"
    priority = 100 if late else PRIORITIES[table]
    policy = "ACCEPT" if policy == "-" else policy
    return Chain(name=name, rules=rules, hook=name.lower(), kind=kind, priority=priority, policy=policy)


def nftables(text: str) -> RuleSet:
    """`nft -j list table`."""
    items = json.loads(text)["nftables"]
    table = next(item["table"] for item in items if "table" in item)
    named = [item for item in items if "set" in item or "map" in item]
    chains = []
    for body in (item["chain"] for item in items if "chain" in item):
        expressions = [
            item["rule"]["expr"] for item in items if "rule" in item and item["rule"]["chain"] == body["name"]
        ]
        rules = tuple(
            NetfilterRule(position=number, text=f"rule {number}", expression=json.dumps(expression))
            for number, expression in enumerate(expressions, 1)
        )
        base = (
            {"hook": body["hook"], "kind": body["type"], "priority": body["prio"], "policy": body["policy"].upper()}
            if "hook" in body
            else {}
        )
        chains.append(Chain(name=body["name"], rules=rules, **base))
    return RuleSet(
        backend=Backend.NFTABLES,
        family=table["family"],
        table=table["name"],
        chains=tuple(chains),
        objects=json.dumps(named) if named else "",
    )


def snapshot(
    rules: Iterable[Rule] = (),
    routes: Iterable[Route] = (),
    rule_sets: Iterable[RuleSet] = (),
    interfaces: Iterable[Interface] = (),
    unread: Iterable[Unread] = (),
    sysctls: dict[str, str] | None = None,
) -> NodeSnapshot:
    return NodeSnapshot(
        node="node-1",
        boot_id="1",
        taken_at=0,
        rules=tuple(rules),
        routes=tuple(routes),
        rule_sets=tuple(rule_sets),
        interfaces=tuple(interfaces),
        unread=tuple(unread),
        sysctls=UNFILTERED if sysctls is None else sysctls,
    )


def _json(*statements: Mapping[str, object]) -> str:
    return json.dumps(statements)


COUNTER: dict[str, object] = {"counter": {"packets": 0, "bytes": 0}}
CONNMARK: dict[str, object] = {"ct": {"key": "mark"}}


def native_connmark() -> RuleSet:
    """`table ip aws-cni` of VPC CNI v1.23, with the VPC 192.168.0.0/16."""
    local = {"op": "==", "left": {"fib": {"result": "type", "flags": ["daddr"]}}, "right": "local"}
    pods = {"op": "==", "left": {"meta": {"key": "iifname"}}, "right": "eni*"}
    vpc = {
        "op": "==",
        "left": {"payload": {"protocol": "ip", "field": "daddr"}},
        "right": {"prefix": {"addr": "192.168.0.0", "len": 16}},
    }
    restore = {"mangle": {"key": {"meta": {"key": "mark"}}, "value": {"&": [CONNMARK, 128]}}}
    mark = {"mangle": {"key": CONNMARK, "value": {"|": [CONNMARK, 128]}}}
    prerouting = (
        ("fib daddr type local return", _json({"match": local}, {"return": None})),
        ('iifname "eni*" counter jump snat-mark', _json({"match": pods}, COUNTER, {"jump": {"target": "snat-mark"}})),
        ("counter meta mark set ct mark & 0x80", _json(COUNTER, restore)),
    )
    marking = (
        ("counter ip daddr 192.168.0.0/16 return", _json(COUNTER, {"match": vpc}, {"return": None})),
        ("counter ct mark set ct mark | 0x80", _json(COUNTER, mark)),
    )
    return RuleSet(
        backend=Backend.NFTABLES,
        family="ip",
        table="aws-cni",
        chains=(
            Chain(
                name="nat-prerouting",
                rules=_numbered(prerouting),
                hook="prerouting",
                kind="nat",
                priority=-90,
                policy="ACCEPT",
            ),
            Chain(name="snat-mark", rules=_numbered(marking)),
        ),
    )


def _numbered(rules: Iterable[tuple[str, str]]) -> tuple[NetfilterRule, ...]:
    return tuple(
        NetfilterRule(position=number, text=text, expression=expression)
        for number, (text, expression) in enumerate(rules, 1)
    )


def native_table(name: str, kind: str, hook: str, priority: int, statements: Sequence[Mapping[str, object]]) -> RuleSet:
    """A native table with one base chain of one rule."""
    rules = (NetfilterRule(position=1, text=name, expression=json.dumps(statements)),)
    chain = Chain(name=name, rules=rules, hook=hook, kind=kind, priority=priority, policy="ACCEPT")
    return RuleSet(backend=Backend.NFTABLES, family="ip", table=name, chains=(chain,))
