"""What every constructor of a finding shares. Knows no code."""

import shlex
from collections.abc import Sequence

from pathtap.model.netfilter import Backend
from pathtap.model.trace import Evidence, Finding, RuleReference, Severity

Proof = Sequence[Evidence]
BUILTIN_CHAINS = ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING")


def error(code: str, node: str, text: str, fix: str, proof: Proof) -> Finding:
    return Finding(code=code, severity=Severity.ERROR, node=node, text=text, fix=fix, evidence=tuple(proof))


def warning(code: str, node: str, text: str, fix: str, proof: Proof) -> Finding:
    return Finding(code=code, severity=Severity.WARNING, node=node, text=text, fix=fix, evidence=tuple(proof))


def deletion(rule: RuleReference, family: str) -> str:
    """The command that takes a rule away, by the rule's own words: a position is another rule's as soon as one before it is gone.

    `family` is that of the rule's nftables table: `ip`, `inet`, `netdev`; of iptables it is not needed. A rule
    of the node's own chains can be deleted; those of other chains their owners write again.
    """
    if rule.backend is Backend.NFTABLES:
        chain = f"{family} {rule.table} {rule.chain}"
        if not rule.position:
            return f"nft add chain {chain} '{{ policy accept; }}'; or let a rule of that chain accept the packet"
        return f"nft -a list chain {chain} shows the rule's handle; then nft delete rule {chain} handle HANDLE"
    command = f"{rule.backend.value} -t {rule.table}"
    if not rule.position:
        return f"{command} -P {rule.chain} ACCEPT"
    if rule.chain in BUILTIN_CHAINS:
        return f"{command} -D {rule.chain} {_quoted(rule.text)}"
    return f"{command} -S {rule.chain}, and mend it where that chain is written from"


def _quoted(text: str) -> str:
    """What iptables-save prints, for a shell: in its comments nothing is expanded."""
    try:
        return shlex.join(shlex.split(text))
    except ValueError:
        return text
