# ruff: noqa: E501 (a rule is one line, as the tools print it)
"""A VPC CNI node with two ENIs, three pods, kube-proxy and a service of two backends, in every form that its rules take."""

from pathtap.model.netfilter import Backend, RuleSet
from pathtap.model.node import NodeSnapshot, Role
from tests.unit.forwarding.nodes import interface, iptables, native_connmark, route, rule, snapshot

PRIMARY_POD, SECONDARY_POD, NEIGHBOUR = "192.168.1.50", "192.168.1.116", "192.168.1.117"
INTERNET, FAR_POD, NODE = "198.51.100.8", "192.168.9.9", "192.168.1.29"

SNAT_RULE = '! -o vlan+ -m comment --comment "AWS, SNAT" -m addrtype ! --dst-type LOCAL -j SNAT --to-source 192.168.1.29 --random-fully'
CONNMARK_RULE = '-m comment --comment "AWS, CONNMARK" -j CONNMARK --set-xmark 0x80/0x80'
SNAT_RETURN = f"""
-A AWS-SNAT-CHAIN-0 -d 192.168.0.0/16 -m comment --comment "AWS SNAT CHAIN" -j RETURN
-A AWS-SNAT-CHAIN-0 {SNAT_RULE}"""
SNAT_JUMP = f"""
-A AWS-SNAT-CHAIN-0 ! -d 192.168.0.0/16 -m comment --comment "AWS SNAT CHAIN" -j AWS-SNAT-CHAIN-1
-A AWS-SNAT-CHAIN-1 {SNAT_RULE}"""
CONNMARK_RETURN = f"""
-A AWS-CONNMARK-CHAIN-0 -d 192.168.0.0/16 -m comment --comment "AWS CONNMARK CHAIN, VPC CIDR" -j RETURN
-A AWS-CONNMARK-CHAIN-0 {CONNMARK_RULE}"""
CONNMARK_JUMP = f"""
-A AWS-CONNMARK-CHAIN-0 ! -d 192.168.0.0/16 -m comment --comment "AWS CONNMARK CHAIN, VPC CIDR" -j AWS-CONNMARK-CHAIN-1
-A AWS-CONNMARK-CHAIN-1 {CONNMARK_RULE}"""
CONNMARK_PREROUTING = """
-A PREROUTING -i eni+ -m comment --comment "AWS, outbound connections" -j AWS-CONNMARK-CHAIN-0
-A PREROUTING -m comment --comment "AWS, CONNMARK" -j CONNMARK --restore-mark --nfmask 0x80 --ctmask 0x80"""
MANGLE = """
*mangle
-A PREROUTING -i eth0 -m comment --comment "AWS, primary ENI" -m addrtype --dst-type LOCAL --limit-iface-in -j CONNMARK --set-xmark 0x80/0x80
-A PREROUTING -i eni+ -m comment --comment "AWS, primary ENI" -j CONNMARK --restore-mark --nfmask 0x80 --ctmask 0x80
COMMIT
"""
KUBE_NAT = """
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING
-A KUBE-SERVICES -d 10.100.0.10/32 -p tcp -m comment --comment "shop/web:http cluster IP" -m tcp --dport 80 -j KUBE-SVC-WEB
-A KUBE-SERVICES -m comment --comment "kubernetes service nodeports" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS
-A KUBE-NODEPORTS -p tcp -m tcp --dport 30080 -j KUBE-SVC-WEB
-A KUBE-SVC-WEB -m comment --comment "shop/web:http -> 192.168.9.9:8080" -m statistic --mode random --probability 0.50000000000 -j KUBE-SEP-A
-A KUBE-SVC-WEB -m comment --comment "shop/web:http -> 192.168.1.117:8080" -j KUBE-SEP-B
-A KUBE-SEP-A -s 192.168.9.9/32 -m comment --comment "shop/web:http" -j KUBE-MARK-MASQ
-A KUBE-SEP-A -p tcp -m comment --comment "shop/web:http" -m tcp -j DNAT --to-destination 192.168.9.9:8080
-A KUBE-SEP-B -s 192.168.1.117/32 -m comment --comment "shop/web:http" -j KUBE-MARK-MASQ
-A KUBE-SEP-B -p tcp -m comment --comment "shop/web:http" -m tcp -j DNAT --to-destination 192.168.1.117:8080
-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0
-A KUBE-POSTROUTING -m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE --random-fully
"""
FILTER = """
*filter
:FORWARD ACCEPT [0:0]
-A FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD
-A FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A OUTPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A KUBE-FORWARD -m conntrack --ctstate INVALID -m nfacct --nfacct-name  ct_state_invalid_dropped_pkts -j DROP
-A KUBE-FORWARD -m comment --comment "kubernetes forwarding rules" -m mark --mark 0x4000/0x4000 -j ACCEPT
-A KUBE-FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A KUBE-SERVICES -d 10.100.0.66/32 -p tcp -m comment --comment "shop/hollow has no endpoints" -m tcp --dport 80 -j REJECT --reject-with icmp-port-unreachable
COMMIT
"""


def node(rule_sets: list[RuleSet]) -> NodeSnapshot:
    rules = [
        "0: from all lookup local",
        *(f"512: from all to {pod} lookup main" for pod in (PRIMARY_POD, SECONDARY_POD, NEIGHBOUR)),
        "1024: from all fwmark 0x80/0x80 lookup main",
        f"1536: from {SECONDARY_POD} lookup 2",
        "32765: from 192.168.1.77 lookup 2",
        "32766: from all lookup main",
        "32767: from all lookup default",
    ]
    routes = [
        route("default via 192.168.1.1 dev eth0"),
        route("192.168.1.0/24 dev eth0 scope link"),
        *(route(f"{pod} dev {veth} scope link") for pod, veth in VETHS.items()),
        route("default via 192.168.1.1 dev eth1", table="2"),
        route("192.168.1.1 dev eth1 scope link", table="2"),
        route(f"local {NODE} dev eth0", table="local"),
        route("local 192.168.1.77 dev eth1", table="local"),
        route("local 127.0.0.0/8 dev lo", table="local"),
        route("broadcast 192.168.1.255 dev eth0", table="local"),
    ]
    interfaces = [
        interface(1, "lo", "127.0.0.1/8", role=Role.LOOPBACK),
        interface(2, "eth0", f"{NODE}/24", role=Role.PRIMARY_ENI),
        interface(3, "eth1", "192.168.1.77/24", role=Role.SECONDARY_ENI),
        *(interface(10 + n, veth, role=Role.POD_VETH) for n, veth in enumerate(VETHS.values())),
    ]
    return snapshot([rule(line) for line in rules], routes, rule_sets, interfaces)


VETHS = {PRIMARY_POD: "eniaaa", SECONDARY_POD: "enibbb", NEIGHBOUR: "eniccc"}


def rule_sets(form: str, backend: Backend) -> list[RuleSet]:
    connmark = {"return": CONNMARK_RETURN, "jump": CONNMARK_JUMP, "native": ""}[form]
    prerouting = "" if form == "native" else CONNMARK_PREROUTING
    snat = SNAT_JUMP if form == "jump" else SNAT_RETURN
    jump = '-A POSTROUTING -m comment --comment "AWS SNAT CHAIN" -j AWS-SNAT-CHAIN-0'
    nat = f"*nat\n{KUBE_NAT}{prerouting}\n{jump}{snat}{connmark}\nCOMMIT"
    native = [native_connmark()] if form == "native" else []
    return iptables(nat + MANGLE + FILTER, backend) + native
