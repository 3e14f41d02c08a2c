"""Draws random but plausible node configurations, as the texts that the kernel's own tools take."""

from dataclasses import dataclass
from random import Random

PODS = {"192.168.1.50": "eniaaa", "192.168.1.116": "enibbb"}
NODE, SECONDARY = "192.168.1.29", "192.168.1.77"
GATEWAY = "192.168.1.1"
OUTSIDE = ("198.51.100.8", "198.51.100.77", "203.0.113.5", "192.168.9.9", "10.11.0.4", "10.100.0.10")
NETWORKS = ("198.51.100.0/24", "203.0.113.0/24", "192.168.0.0/16", "10.11.0.0/16", "198.51.100.8/32", "0.0.0.0/1")
MARKS = ("0x80/0x80", "0x1/0xf", "0x4000/0x4000", "0x80", "0x0/0x80")
INTERFACES = ("eth0", "eth1", "eni+", "eniaaa", "enibbb", "eth+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """`rules` and `routes` in the words of `ip`, `iptables` as for iptables-restore, `native` for `nft -f` or empty."""

    rules: tuple[str, ...]
    routes: tuple[tuple[str, str], ...]
    iptables: str
    backend: str
    native: str = ""


def draw(dice: Random) -> Configuration:
    backend = dice.choice(("legacy", "nft"))
    return Configuration(
        rules=_rules(dice),
        routes=_routes(dice),
        iptables=_tables(dice),
        backend=backend,
        native=_native(dice) if backend == "nft" and dice.random() < 0.5 else "",
    )


def _rules(dice: Random) -> tuple[str, ...]:
    found = [f"512: from all to {pod} lookup main" for pod in PODS if dice.random() < 0.9]
    found.append("1536: from 192.168.1.116 lookup 2")
    if dice.random() < 0.7:
        found.append("1024: from all fwmark 0x80/0x80 lookup main")
    found.extend(f"{dice.randrange(600, 2000)}: {_selector(dice)} {_action(dice)}" for _ in range(dice.randrange(4)))
    if dice.random() < 0.2:
        found.append("700: from all fwmark 0x1/0x1 goto 1536")
    return tuple(sorted(found, key=lambda line: int(line.partition(":")[0])))


def _selector(dice: Random) -> str:
    words = ["not"] if dice.random() < 0.15 else []
    words += ["from", dice.choice(("all", *NETWORKS, "192.168.1.116", "192.168.1.50"))]
    if dice.random() < 0.5:
        words += ["to", dice.choice(NETWORKS)]
    if dice.random() < 0.3:
        words += ["fwmark", dice.choice(MARKS)]
    if dice.random() < 0.2:
        words += ["iif", dice.choice(("eniaaa", "enibbb", "eth0", "lo"))]
    if dice.random() < 0.2:
        words += ["ipproto", dice.choice(("udp", "tcp"))]
        if dice.random() < 0.5:
            words += ["dport", dice.choice(("443", "53-100"))]
    return " ".join(words)


def _action(dice: Random) -> str:
    return dice.choice(
        (
            "lookup 2",
            "lookup 3",
            "lookup main",
            "lookup main suppress_prefixlength 0",
            "blackhole",
            "unreachable",
            "prohibit",
            "nop",
        )
    )


def _routes(dice: Random) -> tuple[tuple[str, str], ...]:
    """(table, route)."""
    found = [("main", f"default via {GATEWAY} dev eth0"), ("2", f"default via {GATEWAY} dev eth1")]
    for prefix in dice.sample(NETWORKS, dice.randrange(4)):
        kind = dice.choice(("", "", "", "blackhole ", "throw ", "unreachable ", "prohibit "))
        way = "" if kind else f" via {GATEWAY} dev {dice.choice(('eth0', 'eth1'))}"
        found.append((dice.choice(("2", "3", "3", "main")), f"{kind}{prefix}{way}"))
    for metric in dice.sample((10, 20, 30), dice.randrange(3)):
        found.append(("3", f"10.11.0.0/17 via {GATEWAY} dev {dice.choice(('eth0', 'eth1'))} metric {metric}"))
    return tuple(found)


def _tables(dice: Random) -> str:
    mangle = [f"-A PREROUTING {_match(dice)} {_marking(dice)}" for _ in range(dice.randrange(4))]
    prerouting = [f"-A PREROUTING {_match(dice, protocols=False)} {_dnat(dice)}" for _ in range(dice.randrange(3))]
    restore = "-A PREROUTING -j CONNMARK --restore-mark --nfmask 0x80 --ctmask 0x80"
    connmark = ["-A PREROUTING -i eni+ -j AWS-CONNMARK-CHAIN-0", *_chains(dice, "AWS-CONNMARK-CHAIN"), restore]
    forward = [f"-A FORWARD {_match(dice)} {_verdict(dice)}" for _ in range(dice.randrange(3))]
    user = [f"-A USER {_match(dice)} {_verdict(dice)}" for _ in range(dice.randrange(3))]
    declared = "".join(f":AWS-{kind}-CHAIN-{number} - [0:0]\n" for kind in ("SNAT", "CONNMARK") for number in (0, 1))
    snat = ["-A POSTROUTING -j AWS-SNAT-CHAIN-0", *_chains(dice, "AWS-SNAT-CHAIN")] if dice.random() < 0.8 else []
    nat = [*prerouting, *connmark, *_masquerade(dice), *snat]
    return "\n".join(
        (
            "*mangle",
            *mangle,
            f"COMMIT\n*nat\n{declared}".rstrip(),
            *nat,
            "COMMIT\n*filter",
            f":FORWARD {dice.choice(('ACCEPT', 'ACCEPT', 'ACCEPT', 'DROP'))} [0:0]\n:USER - [0:0]",
            *forward,
            *user,
            "-A FORWARD -m conntrack --ctstate NEW -j ACCEPT" if dice.random() < 0.8 else "",
            "COMMIT\n",
        )
    )


def _chains(dice: Random, name: str) -> list[str]:
    """The VPC CNI's chains in RETURN or in jump form."""
    random = dice.choice(("", " --random", " --random-fully"))
    snat = f"-m addrtype ! --dst-type LOCAL -j SNAT --to-source {NODE}{random}"
    end = f"! -o vlan+ {snat}" if "SNAT" in name else "-j CONNMARK --set-xmark 0x80/0x80"
    if dice.random() < 0.5:
        return [f"-A {name}-0 -d 192.168.0.0/16 -j RETURN", f"-A {name}-0 {end}"]
    return [f"-A {name}-0 ! -d 192.168.0.0/16 -j {name}-1", f"-A {name}-1 {end}"]


def _masquerade(dice: Random) -> list[str]:
    return (
        [f"-A POSTROUTING -m mark --mark {dice.choice(MARKS)} -j MASQUERADE --random-fully"]
        if dice.random() < 0.4
        else []
    )


def _match(dice: Random, *, protocols: bool = True) -> str:
    parts = []
    if dice.random() < 0.5:
        parts.append(dice.choice(("-s", "! -s", "-d", "! -d")) + " " + dice.choice((*NETWORKS, "192.168.1.116/32")))
    if dice.random() < 0.4:
        parts.append(dice.choice(("-i", "! -i")) + " " + dice.choice(INTERFACES))
    if protocols and dice.random() < 0.3:
        parts.append(
            dice.choice(
                (
                    "-p tcp -m tcp --dport 443",
                    "-p udp -m udp ! --dport 53:100",
                    "-p icmp -m icmp --icmp-type 8",
                    "-p icmp -m icmp --icmp-type any",
                )
            )
        )
    if dice.random() < 0.3:
        parts.append("-m mark " + dice.choice(("", "! ")) + "--mark " + dice.choice(MARKS))
    if dice.random() < 0.2:
        parts.append(
            dice.choice(
                ("-m addrtype --dst-type LOCAL", "-m addrtype ! --src-type LOCAL", "-m conntrack --ctstate DNAT")
            )
        )
    return " ".join(parts)


def _marking(dice: Random) -> str:
    name = dice.choice(("MARK", "CONNMARK"))
    if name == "CONNMARK" and dice.random() < 0.4:
        return f"-j CONNMARK --{dice.choice(('save', 'restore'))}-mark --nfmask 0x{dice.choice(('80', 'ff'))} --ctmask 0x80"
    return f"-j {name} --set-xmark {dice.choice(('0x80/0x80', '0x1/0xf', '0x4000/0x0', '0x80/0xffffffff'))}"


def _dnat(dice: Random) -> str:
    return dice.choice(
        (
            "-p tcp -j DNAT --to-destination 192.168.1.116:8080",
            "-j DNAT --to-destination 192.168.9.9",
            "-p udp -j DNAT --to-destination 10.11.0.4:53",
            "-p tcp -j REDIRECT --to-ports 8080",
            "-j ACCEPT",
        )
    )


def _verdict(dice: Random) -> str:
    return dice.choice(("-j DROP", "-j REJECT", "-j ACCEPT", "-j RETURN", "-j LOG"))


def _native(dice: Random) -> str:
    """The connmark table of VPC CNI v1.23, and a filter chain of somebody else's."""
    priority, drop = dice.choice((-90, -110)), dice.choice(("drop", "accept", "counter"))
    return f"""
table ip aws-cni {{
  chain snat-mark {{
    counter ip daddr {dice.choice(NETWORKS)} return
    counter ct mark set ct mark | 0x80
  }}
  chain nat-prerouting {{
    type nat hook prerouting priority {priority}; policy accept;
    fib daddr type local return
    iifname "eni*" counter jump snat-mark
    counter meta mark set ct mark & 0x80
  }}
  chain foreign {{
    type filter hook forward priority 10; policy accept;
    ip saddr 192.168.1.50 udp dport {{ 53, 60-100 }} {drop}
    meta mark & 0x80 == 0x80 oifname != "eth*" meta mark set meta mark ^ 0x1
  }}
}}
"""
