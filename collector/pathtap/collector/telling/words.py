"""How rules, routes, entries and times are said in a trace. Pure text; decides nothing."""

from pathtap.model.address import FiveTuple, Protocol, protocol_name
from pathtap.model.conntrack import ConntrackEntry
from pathtap.model.node import Route, RouteAnswer, Rule, table_name
from pathtap.model.trace import RuleReference


def rule_words(rule: Rule) -> str:
    return f"{rule.priority} {rule.text}"


def route_words(route: Route) -> str:
    return f"{route.text}, table {table_name(route.table)}"


def netfilter_words(rule: RuleReference) -> str:
    """`nat AWS-SNAT-CHAIN-0 #2 (iptables-nft): ! -o vlan+ … -j SNAT --to-source 192.168.1.29 --random-fully`."""
    number = f" #{rule.position}" if rule.position else ""
    return f"{rule.table} {rule.chain}{number} ({rule.backend.value}): {rule.text}"


def kernel_answer_words(answer: RouteAnswer) -> str:
    if answer.error:
        return f"the kernel's own lookup refuses: {answer.error}"
    return f"the kernel's own lookup says {answer.route} (table {table_name(answer.table)})"


def conntrack_words(entry: ConntrackEntry) -> str:
    """As `conntrack -L` lays it out: both tuples, [UNREPLIED] or [ASSURED], and the mark."""
    state = f" {entry.tcp_state}" if entry.tcp_state else ""
    unreplied = "" if "SEEN_REPLY" in entry.status else " [UNREPLIED]"
    assured = " [ASSURED]" if "ASSURED" in entry.status else ""
    return (
        f"{protocol_name(entry.original.protocol)}{state} {_tuple_words(entry.original)}{unreplied} "
        f"{_tuple_words(entry.reply)}{assured} mark={entry.mark}"
    )


def _tuple_words(tuple_: FiveTuple) -> str:
    head = f"src={tuple_.source} dst={tuple_.destination}"
    if tuple_.protocol in (Protocol.ICMP, Protocol.ICMPV6):
        return f"{head} id={tuple_.source_port or tuple_.destination_port}"
    return f"{head} sport={tuple_.source_port} dport={tuple_.destination_port}"


def milliseconds(nanoseconds: int) -> str:
    """`1.24 ms`."""
    return f"{nanoseconds / 1e6:.3g} ms"
