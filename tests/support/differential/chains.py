"""Draws what the writers of iptables rules on a node write: VPC CNI, kube-proxy, egress-cni, portmap, Calico, others.

Each writer is a function that adds its rules to tables; which backend a writer uses is drawn too, so that two rule sets may
live at once.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from random import Random
from typing import TypeAlias

from differential.scene import Scene

BUILT_IN = {
    "raw": ("PREROUTING", "OUTPUT"),
    "mangle": ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"),
    "nat": ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"),
    "filter": ("INPUT", "FORWARD", "OUTPUT"),
}
MARKS = ("0x80/0x80", "0x1/0xf", "0x4000/0x4000", "0x80", "0x0/0x80")
RANDOM = ("", " --random", " --random-fully")


class Store:
    """One backend's four tables while they are drawn."""

    def __init__(self) -> None:
        self.rules: dict[str, list[str]] = {name: [] for name in BUILT_IN}
        self.chains: dict[str, list[str]] = {name: [] for name in BUILT_IN}
        self.policies: dict[tuple[str, str], str] = defaultdict(lambda: "ACCEPT")

    def add(self, table: str, *rules: str) -> None:
        self.rules[table] += rules

    def chain(self, table: str, *names: str) -> None:
        self.chains[table] += names

    def text(self) -> str:
        parts: list[str] = []
        for table, built_in in BUILT_IN.items():
            parts.append(f"*{table}")
            parts += [f":{chain} {self.policies[table, chain]} [0:0]" for chain in built_in]
            parts += [f":{chain} - [0:0]" for chain in dict.fromkeys(self.chains[table])]
            parts += [f"-A {rule}" for rule in self.rules[table]]
            parts.append("COMMIT")
        return "\n".join((*parts, ""))


Writer: TypeAlias = Callable[[Random, Scene, Store], None]


def draw(dice: Random, scene: Scene, stores: Sequence[str], *, native: bool) -> dict[str, str]:
    """The restore text of each store."""
    made = {name: Store() for name in stores}
    if not made:
        return {}
    writers: list[tuple[float, Writer]] = [
        (0.4, _raw),
        (0.1, _reverse_path),
        (0.75, _aws_mangle),
        (0.6, _foreign_mangle),
        (0.6, _kube_proxy),
        (0.4 if native else 0.75, _aws_connmark),
        (0.3, _foreign_dnat),
        (0.3, _portmap),
        (0.2, _calico),
        (0.75, _aws_snat),
        (0.3, _egress),
        (0.3, _foreign_snat),
        (0.8, _foreign_filter),
    ]
    if dice.random() < 0.3:
        dice.shuffle(writers)
    for chance, writer in writers:
        if dice.random() < chance:
            writer(dice, scene, made[dice.choice(list(made))])
    return {name: store.text() for name, store in made.items()}


def ipsets(scene: Scene) -> str:
    """The same for every configuration of a family: they need not be flushed."""
    family = "inet" if scene.family == 4 else "inet6"
    host = scene.backends[0]
    return "\n".join((
        f"create cali40masq hash:net family {family}",
        f"create cali40all hash:net family {family}",
        f"create sockets hash:ip,port family {family}",
        f"create hosts hash:ip family {family}",
        *(f"add cali40masq {each}" for each in scene.pods[:2]),
        f"add cali40all {scene.subnet}",
        f"add cali40all {scene.networks[3]}",
        f"add cali40all {scene.peers[0]} nomatch" if scene.family == 4 else f"add cali40all {scene.peers[0]}",
        f"add sockets {host[0]},tcp:{host[1]}",
        f"add sockets {scene.outside[0]},udp:53",
        f"add hosts {scene.outside[1]}",
        f"add hosts {scene.node}",
        "",
    ))  # fmt: skip


def match(dice: Random, scene: Scene, *, incoming: bool = True, outgoing: bool = False) -> str:
    """Any matches but none of a protocol that a rule's target might need to name itself."""
    parts = []
    if dice.random() < 0.5:
        where = dice.choice((*scene.networks, f"{scene.pods[1]}/{scene.host}"))
        parts.append(dice.choice(("-s", "! -s", "-d", "! -d")) + " " + where)
    names = ("eth0", "eth1", "eni+", "eniaaa", "enibbb", "eth+", "vethe4")
    if incoming and dice.random() < 0.4:
        parts.append(dice.choice(("-i", "! -i")) + " " + dice.choice(names))
    if outgoing and dice.random() < 0.4:
        parts.append(dice.choice(("-o", "! -o")) + " " + dice.choice(names))
    if dice.random() < 0.3:
        parts.append("-m mark " + dice.choice(("", "! ")) + "--mark " + dice.choice(MARKS))
    if dice.random() < 0.25:
        parts.append(dice.choice(_asked(scene)))
    return " ".join(parts)


def _asked(scene: Scene) -> tuple[str, ...]:
    ranged = f"{scene.outside[0]}-{scene.outside[1]}"
    return (
        "-m addrtype --dst-type LOCAL",
        "-m addrtype ! --src-type LOCAL",
        "-m addrtype --dst-type UNICAST",
        "-m conntrack --ctstate DNAT",
        "-m conntrack ! --ctstate NEW",
        "-m conntrack --ctdir ORIGINAL",
        f"-m conntrack --ctorigdst {scene.services[0][0]}",
        f"-m conntrack ! --ctorigdst {scene.networks[1]}",
        f"-m conntrack --ctreplsrc {scene.backends[1][0]}",
        "-m conntrack --ctproto 6 --ctorigdstport 443",
        "-m conntrack --ctstatus SEEN_REPLY",
        "-m conntrack ! --ctstate SNAT",
        "-m tos --tos 0x10/0xff",
        "-m dscp ! --dscp 0x04",
        "-m connmark --mark 0x80/0x80",
        "-m connmark ! --mark 0x80/0x80",
        "-m set --match-set hosts src",
        "-m set ! --match-set cali40all dst",
        "-m set --match-set sockets dst,dst",
        f"-m iprange --dst-range {ranged}",
        '-m comment --comment "name: \\"aws-cni\\" id: \\"1\\""',
    )


def protocol(dice: Random, scene: Scene) -> str:
    icmp = "-p icmp -m icmp --icmp-type 8" if scene.family == 4 else "-p ipv6-icmp -m icmp6 --icmpv6-type 128"
    return dice.choice((
        "-p tcp -m tcp --dport 443",
        "-p udp -m udp ! --dport 53:100",
        "-p tcp -m tcp --tcp-flags SYN,RST,ACK SYN",
        "-p tcp -m multiport --dports 80,443,8000:8100",
        "-p udp -m multiport ! --ports 53,443",
        "-p udp",
        "! -p tcp",
        icmp,
    ))  # fmt: skip


def some(dice: Random, scene: Scene, *, incoming: bool = True, outgoing: bool = False) -> str:
    first = protocol(dice, scene) if dice.random() < 0.35 else ""
    return f"{first} {match(dice, scene, incoming=incoming, outgoing=outgoing)}".strip()


def _raw(dice: Random, scene: Scene, store: Store) -> None:
    for hook in dice.sample(("PREROUTING", "OUTPUT"), dice.choice((1, 1, 2))):
        target = dice.choice(("CT --notrack", "CT --notrack", "MARK --set-xmark 0x1/0xf", "DROP", "ACCEPT"))
        store.add("raw", f"{hook} {match(dice, scene, incoming=hook == 'PREROUTING')} -p udp -j {target}")


def _reverse_path(dice: Random, scene: Scene, store: Store) -> None:
    """As firewalls filter by the way back: in raw, where no mark of a connection is known."""
    options = dice.choice(("--invert", "--loose --invert", "--validmark --invert"))
    store.add("raw", f"PREROUTING -m rpfilter {options} -j {dice.choice(('DROP', 'MARK --set-xmark 0x1/0xf'))}")


def _aws_mangle(dice: Random, scene: Scene, store: Store) -> None:
    rules = [
        'PREROUTING -i eth0 -m comment --comment "AWS, primary ENI" -m addrtype --dst-type LOCAL --limit-iface-in '
        "-j CONNMARK --set-xmark 0x80/0x80",
        "PREROUTING -i eni+ -j CONNMARK --restore-mark --nfmask 0x80 --ctmask 0x80",
        "PREROUTING -i vlan+ -j CONNMARK --restore-mark --nfmask 0x80 --ctmask 0x80",
    ]
    store.add("mangle", *(rule for rule in rules if dice.random() < 0.9))


def _foreign_mangle(dice: Random, scene: Scene, store: Store) -> None:
    for _ in range(dice.randrange(1, 4)):
        hook = dice.choice(("PREROUTING", "PREROUTING", "PREROUTING", "FORWARD", "OUTPUT", "POSTROUTING", "INPUT"))
        matched = some(dice, scene, incoming=hook in ("PREROUTING", "FORWARD", "INPUT"), outgoing=hook == "OUTPUT")
        store.add("mangle", f"{hook} {matched} -j {_marking(dice)}")


def _marking(dice: Random) -> str:
    if dice.random() < 0.4:
        return (
            f"CONNMARK --{dice.choice(('save', 'restore'))}-mark --nfmask 0x{dice.choice(('80', 'ff'))} --ctmask 0x80"
        )
    if dice.random() < 0.1:
        return f"TOS --set-tos {dice.choice(('0x10/0xff', '0x00/0x10'))}"
    name = dice.choice(("MARK", "MARK", "CONNMARK"))
    return f"{name} --set-xmark {dice.choice(('0x80/0x80', '0x1/0xf', '0x4000/0x0', '0x80/0xffffffff'))}"


def _aws_connmark(dice: Random, scene: Scene, store: Store) -> None:
    store.add("nat", "PREROUTING -i eni+ -j AWS-CONNMARK-CHAIN-0", *_cni_chains(dice, scene, store, "CONNMARK"))
    store.add("nat", "PREROUTING -j CONNMARK --restore-mark --nfmask 0x80 --ctmask 0x80")


def _aws_snat(dice: Random, scene: Scene, store: Store) -> None:
    store.add("nat", "POSTROUTING -j AWS-SNAT-CHAIN-0", *_cni_chains(dice, scene, store, "SNAT"))


def _cni_chains(dice: Random, scene: Scene, store: Store, kind: str) -> list[str]:
    """The VPC CNI's chains in RETURN or in jump form."""
    name = f"AWS-{kind}-CHAIN"
    store.chain("nat", f"{name}-0", f"{name}-1")
    snat = f"! -o vlan+ -m addrtype ! --dst-type LOCAL -j SNAT --to-source {scene.node}{dice.choice(RANDOM)}"
    end = snat if kind == "SNAT" else "-j CONNMARK --set-xmark 0x80/0x80"
    if dice.random() < 0.5:
        return [f"{name}-0 -d {scene.networks[3]} -j RETURN", f"{name}-0 -d {scene.vpc} -j RETURN", f"{name}-0 {end}"]
    return [f"{name}-0 ! -d {scene.vpc} -j {name}-1", f"{name}-1 {end}"]


def _kube_proxy(dice: Random, scene: Scene, store: Store) -> None:
    store.chain("nat", "KUBE-SERVICES", "KUBE-NODEPORTS", "KUBE-POSTROUTING", "KUBE-MARK-MASQ")
    rules = ["PREROUTING -j KUBE-SERVICES", "OUTPUT -j KUBE-SERVICES", "POSTROUTING -j KUBE-POSTROUTING"]
    for number, (address, port) in enumerate(scene.services):
        protocol = "udp" if port == 53 else "tcp"
        rules.append(
            f"KUBE-SERVICES -d {address}/{scene.host} -p {protocol} -m {protocol} --dport {port} -j KUBE-SVC-{number}"
        )
        rules += _service(dice, scene, store, number, protocol)
    external = dice.choice(("KUBE-MARK-MASQ", "KUBE-SVC-0"))
    rules += [
        "KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS",
        f"KUBE-NODEPORTS -p tcp -m tcp --dport 30080 -j {external}",
        "KUBE-NODEPORTS -p tcp -m tcp --dport 30080 -j KUBE-SVC-0",
        "KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000",
        "KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN",
        "KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0",
        f"KUBE-POSTROUTING -j MASQUERADE{dice.choice(('', ' --random-fully', ' --random-fully'))}",
    ]
    store.add("nat", *rules)
    _kube_filter(dice, scene, store)


def _service(dice: Random, scene: Scene, store: Store, number: int, protocol: str) -> list[str]:
    backends = dice.sample(scene.backends, dice.choice((1, 1, 2, 3)))
    name = f"KUBE-SVC-{number}"
    store.chain("nat", name)
    rules = [f"{name} ! -s {scene.vpc} -j KUBE-MARK-MASQ"] if dice.random() < 0.3 else []
    for index, (address, port) in enumerate(backends):
        endpoint = f"KUBE-SEP-{number}-{index}"
        store.chain("nat", endpoint)
        left = len(backends) - index
        chance = f"-m statistic --mode random --probability {1 / left:.11f} " if left > 1 else ""
        rules += [
            f"{name} {chance}-j {endpoint}",
            f"{endpoint} -s {address}/{scene.host} -j KUBE-MARK-MASQ",
            f"{endpoint} -p {protocol} -m {protocol} -j DNAT --to-destination {scene.at(address, port)}",
        ]
    return rules


def _kube_filter(dice: Random, scene: Scene, store: Store) -> None:
    store.chain("filter", "KUBE-FORWARD", "KUBE-FIREWALL", "KUBE-EXTERNAL")
    store.add(
        "filter",
        "INPUT -j KUBE-FIREWALL",
        "OUTPUT -j KUBE-FIREWALL",
        "FORWARD -j KUBE-FORWARD",
        "FORWARD -m conntrack --ctstate NEW -j KUBE-EXTERNAL",
        "KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP",
        "KUBE-FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT",
        "KUBE-FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        f"KUBE-EXTERNAL -d {scene.services[2][0]}/{scene.host} -p tcp -j REJECT",
    )
    if scene.family == 4:
        store.add(
            "filter",
            "KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP",
        )


def _portmap(dice: Random, scene: Scene, store: Store) -> None:
    address = scene.pods[dice.choice((0, 1))]
    store.chain("nat", "CNI-HOSTPORT-DNAT", "CNI-DN-0123", "CNI-HOSTPORT-SETMARK", "CNI-HOSTPORT-MASQ")
    store.add(
        "nat",
        "PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT",
        "OUTPUT -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT",
        "POSTROUTING -j CNI-HOSTPORT-MASQ",
        "CNI-HOSTPORT-DNAT -p tcp -m multiport --dports 8081 -j CNI-DN-0123",
        f"CNI-DN-0123 -s {address}/{scene.host} -p tcp -m tcp --dport 8081 -j CNI-HOSTPORT-SETMARK",
        f"CNI-DN-0123 -p tcp -m tcp --dport 8081 -j DNAT --to-destination {scene.at(address, 80)}",
        "CNI-HOSTPORT-SETMARK -j MARK --set-xmark 0x2000/0x2000",
        "CNI-HOSTPORT-MASQ -m mark --mark 0x2000/0x2000 -j MASQUERADE",
    )


def _calico(dice: Random, scene: Scene, store: Store) -> None:
    store.chain("nat", "cali-POSTROUTING", "cali-nat-outgoing", "cali-PREROUTING")
    store.add(
        "nat",
        "PREROUTING -j cali-PREROUTING",
        "POSTROUTING -j cali-POSTROUTING",
        "cali-POSTROUTING -j cali-nat-outgoing",
        "cali-nat-outgoing -m set --match-set cali40masq src -m set ! --match-set cali40all dst -j MASQUERADE --random-fully",
    )
    if dice.random() < 0.5:
        store.chain("mangle", "cali-mangle")
        end = dice.choice(("ACCEPT", "RETURN"))
        store.rules["mangle"].insert(0, "PREROUTING -j cali-mangle")
        store.add(
            "mangle",
            f"cali-mangle -m conntrack --ctstate RELATED,ESTABLISHED -j {end}",
            f"cali-mangle -i eni+ -j {end}",
        )


def _egress(dice: Random, scene: Scene, store: Store) -> None:
    name = "CNI-E4-0123456789" if scene.family == 4 else "CNI-E6-0123456789"
    pod = f"{scene.pods[2]}/{scene.host}"
    many = "224.0.0.0/4" if scene.family == 4 else "ff00::/8"
    store.chain("nat", name)
    store.add(
        "nat",
        f'POSTROUTING -s {pod} -m comment --comment "name: \\"aws-cni\\" id: \\"1\\"" -j {name}',
        f"{name} -d {many} -j ACCEPT",
        f"{name} -j SNAT --to-source {scene.node}{dice.choice(RANDOM)}",
    )
    store.add("filter", f"FORWARD -d {pod} -m conntrack --ctstate NEW -j REJECT")


def _foreign_dnat(dice: Random, scene: Scene, store: Store) -> None:
    targets = (
        f"-p tcp -j DNAT --to-destination {scene.at(scene.pods[1], 8080)}",
        f"-j DNAT --to-destination {scene.peers[1]}",
        f"-p udp -j DNAT --to-destination {scene.at(scene.outside[3], 53)}",
        "-p tcp -j REDIRECT --to-ports 8080",
        f"-d {scene.networks[0]} -j NETMAP --to {scene.networks[1]}",
        "-j ACCEPT",
    )
    for _ in range(dice.randrange(1, 3)):
        hook = dice.choice(("PREROUTING", "PREROUTING", "OUTPUT"))
        target = dice.choice(targets)
        matched = match(dice, scene, incoming=hook == "PREROUTING") or f"-d {scene.networks[0]}"
        store.add("nat", f"{hook} {'' if 'NETMAP' in target else matched} {target}")


def _foreign_snat(dice: Random, scene: Scene, store: Store) -> None:
    targets = (
        "MASQUERADE --random-fully",
        "MASQUERADE",
        f"SNAT --to-source {scene.secondary}",
        f"SNAT --to-source {scene.node} --random",
        "ACCEPT",
    )
    store.add("nat", f"POSTROUTING {match(dice, scene, incoming=False, outgoing=True)} -j {dice.choice(targets)}")
    if dice.random() < 0.2:
        port = f"-p tcp -j SNAT --to-source {scene.at(scene.node, 1024)}-65000"
        store.add("nat", f"POSTROUTING {match(dice, scene, incoming=False, outgoing=True)} {port}")


def _foreign_filter(dice: Random, scene: Scene, store: Store) -> None:
    store.policies["filter", "FORWARD"] = dice.choice(("ACCEPT", "ACCEPT", "ACCEPT", "ACCEPT", "DROP"))
    store.chain("filter", "USER", "SIDE")
    ends = ("DROP", "REJECT", "ACCEPT", "RETURN", "LOG", "USER", "SIDE")
    for hook in dice.choices(("FORWARD", "FORWARD", "FORWARD", "INPUT", "OUTPUT"), k=dice.randrange(1, 4)):
        matched = some(dice, scene, incoming=hook != "OUTPUT", outgoing=hook != "INPUT")
        end = dice.choice(ends)
        store.add("filter", f"{hook} {matched} {dice.choice(('-j', '-g')) if end in ('USER', 'SIDE') else '-j'} {end}")
    for chain in ("USER", "SIDE"):
        for _ in range(dice.randrange(3)):
            reset = "-p tcp -j REJECT --reject-with tcp-reset"
            end = dice.choice((*(f"-j {each}" for each in ends[:5]), reset))
            first = match(dice, scene) if end == reset else some(dice, scene)
            store.add("filter", f"{chain} {first} {end}")
    if dice.random() < 0.8:
        store.add("filter", "FORWARD -m conntrack --ctstate NEW,ESTABLISHED,UNTRACKED -j ACCEPT")
