# ruff: noqa: E501 (a rule is one line, as the tools print it)
"""What the neighbours of the VPC CNI write, each in its own canonical text, must have a definite answer."""

from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from pathtap.forwarding import NodeModel, Outcome, Packet, Prediction, predict
from pathtap.model.address import FiveTuple, Protocol
from pathtap.model.netfilter import Backend, Random, RuleSet
from pathtap.model.node import IpSet, NodeSnapshot
from tests.unit.forwarding import eks
from tests.unit.forwarding.nodes import interface, iptables, nftables, route, rule, snapshot

RULESETS = Path(__file__).parent / "rulesets"
LAYOUTS = ["kube-proxy-endpoint-chains", "kube-proxy-maps"]


def flow(source: str, destination: str, port: int = 80, protocol: Protocol = Protocol.TCP) -> FiveTuple:
    return FiveTuple(
        protocol=protocol,
        source=ip_address(source),
        source_port=40000,
        destination=ip_address(destination),
        destination_port=port,
    )


def passed(*rule_sets: RuleSet, of: FiveTuple, came_by: str = "eniaaa", sets: tuple[IpSet, ...] = ()) -> Prediction:
    node: NodeSnapshot = replace(eks.node(list(rule_sets)), ip_sets=sets)
    return predict(NodeModel(node), Packet.opening(of, came_by))


def sockets(prediction: Prediction) -> list[str]:
    return sorted(str(each) for each in prediction.dnat.alternatives) if prediction.dnat else []


def masqueraded(prediction: Prediction) -> bool:
    return prediction.snat is not None and prediction.snat.random is Random.FULLY


# kube-proxy, nftables mode: both layouts as nft -j prints them.


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_service_of_kube_proxys_nftables_mode(layout: str) -> None:
    table = nftables((RULESETS / f"{layout}.json").read_text())
    found = passed(table, of=flow(eks.SECONDARY_POD, "10.100.0.10"), came_by="enibbb")
    assert (found.outcome, found.unknown) == (Outcome.FORWARDED, ())
    assert sockets(found) == ["192.168.1.117:8080", "192.168.9.9:8080"]
    assert not masqueraded(found)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_session_affinity_leaves_alternatives_and_no_gap(layout: str) -> None:
    table = nftables((RULESETS / f"{layout}.json").read_text())
    found = passed(table, of=flow(eks.PRIMARY_POD, "10.100.0.20"))
    assert (found.outcome, found.unknown) == (Outcome.FORWARDED, ())
    assert "192.168.9.9:8080" in sockets(found)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_hairpin_is_masqueraded(layout: str) -> None:
    table = nftables((RULESETS / f"{layout}.json").read_text())
    node = NodeModel(eks.node([table]))
    packet = Packet.opening(flow(eks.NEIGHBOUR, "10.100.0.10"), "eniccc")
    ways = {str(each): predict(node, packet, translated_to=each) for each in predict(node, packet).dnat.alternatives}  # type: ignore[union-attr]
    assert {name: masqueraded(each) for name, each in ways.items()} == {
        "192.168.1.117:8080": True,
        "192.168.9.9:8080": False,
    }
    assert all(each.unknown == () for each in ways.values())


@pytest.mark.parametrize("layout", LAYOUTS)
def test_node_ports_and_services_without_endpoints(layout: str) -> None:
    table = nftables((RULESETS / f"{layout}.json").read_text())
    outside = passed(table, of=flow("198.51.100.9", eks.NODE, 30080), came_by="eth0")
    assert (masqueraded(outside), len(sockets(outside)), outside.unknown) == (True, 2, ())
    hollow = passed(table, of=flow(eks.PRIMARY_POD, "10.100.0.66"))
    assert (hollow.outcome, hollow.unknown) == (Outcome.REJECTED, ())
    assert hollow.dropped_by is not None
    assert hollow.dropped_by.chain == "reject-chain"


# kube-proxy, iptables mode.


def test_session_affinity_of_iptables() -> None:
    text = """*nat
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A KUBE-SERVICES -d 10.100.0.20/32 -p tcp -m comment --comment "shop/sticky:http cluster IP" -m tcp --dport 80 -j KUBE-SVC-S
-A KUBE-SVC-S -m comment --comment "shop/sticky:http -> 192.168.9.9:8080" -m recent --rcheck --seconds 10800 --reap --name KUBE-SEP-A --mask 255.255.255.255 --rsource -j KUBE-SEP-A
-A KUBE-SVC-S -m comment --comment "shop/sticky:http -> 192.168.1.117:8080" -m recent --rcheck --seconds 10800 --reap --name KUBE-SEP-B --mask 255.255.255.255 --rsource -j KUBE-SEP-B
-A KUBE-SVC-S -m comment --comment "shop/sticky:http -> 192.168.9.9:8080" -m statistic --mode random --probability 0.50000000000 -j KUBE-SEP-A
-A KUBE-SVC-S -m comment --comment "shop/sticky:http -> 192.168.1.117:8080" -j KUBE-SEP-B
-A KUBE-SEP-A -p tcp -m comment --comment "shop/sticky:http" -m recent --set --name KUBE-SEP-A --mask 255.255.255.255 --rsource -m tcp -j DNAT --to-destination 192.168.9.9:8080
-A KUBE-SEP-B -p tcp -m comment --comment "shop/sticky:http" -m recent --set --name KUBE-SEP-B --mask 255.255.255.255 --rsource -m tcp -j DNAT --to-destination 192.168.1.117:8080
COMMIT
"""
    found = passed(*iptables(text), of=flow(eks.PRIMARY_POD, "10.100.0.20"))
    assert (found.outcome, found.unknown) == (Outcome.FORWARDED, ())
    assert sockets(found) == ["192.168.1.117:8080", "192.168.9.9:8080"]


def test_the_kubelets_firewall_and_local_node_ports() -> None:
    text = """*filter
-A INPUT -m comment --comment "kubernetes health check service ports" -j KUBE-NODEPORTS
-A INPUT -j KUBE-FIREWALL
-A KUBE-NODEPORTS -d 127.0.0.0/8 -m comment --comment "block" -m nfacct --nfacct-name  localhost_nps_accepted_pkts -j ACCEPT
-A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m comment --comment "block incoming localnet connections" -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP
COMMIT
"""
    found = passed(*iptables(text), of=flow(eks.PRIMARY_POD, eks.NODE, 10250))
    assert (found.outcome, found.unknown) == (Outcome.LOCAL, ())


def test_local_traffic_policy() -> None:
    text = """*nat
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING
-A KUBE-SERVICES -d 203.0.113.7/32 -p tcp -m comment --comment "shop/web:http loadbalancer IP" -m tcp --dport 80 -j KUBE-EXT-W
-A KUBE-EXT-W -s 192.168.0.0/16 -m comment --comment "pod traffic for shop/web:http external destinations" -j KUBE-SVC-W
-A KUBE-EXT-W -m comment --comment "masquerade LOCAL traffic for shop/web:http external destinations" -m addrtype --src-type LOCAL -j KUBE-MARK-MASQ
-A KUBE-EXT-W -m comment --comment "route LOCAL traffic for shop/web:http external destinations" -m addrtype --src-type LOCAL -j KUBE-SVC-W
-A KUBE-EXT-W -j KUBE-SVL-W
-A KUBE-SVL-W -m comment --comment "shop/web:http -> 192.168.1.117:8080" -j KUBE-SEP-B
-A KUBE-SVC-W -m comment --comment "shop/web:http -> 192.168.9.9:8080" -j KUBE-SEP-A
-A KUBE-SEP-A -p tcp -m tcp -j DNAT --to-destination 192.168.9.9:8080
-A KUBE-SEP-B -p tcp -m tcp -j DNAT --to-destination 192.168.1.117:8080
-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0
-A KUBE-POSTROUTING -j MASQUERADE --random-fully
COMMIT
"""
    outside = passed(*iptables(text), of=flow("198.51.100.9", "203.0.113.7"), came_by="eth0")
    assert (sockets(outside), masqueraded(outside), outside.unknown) == (["192.168.1.117:8080"], False, ())
    pod = passed(*iptables(text), of=flow(eks.PRIMARY_POD, "203.0.113.7"))
    assert (sockets(pod), pod.unknown) == (["192.168.9.9:8080"], ())


# kube-proxy, IPVS mode: the sets decide, IPVS itself does the rest.


def test_ipvs_marks_by_its_sets() -> None:
    text = """*nat
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING
-A KUBE-SERVICES ! -s 192.168.0.0/16 -m comment --comment "Kubernetes service cluster ip + port for masquerade purpose" -m set --match-set KUBE-CLUSTER-IP dst,dst -j KUBE-MARK-MASQ
-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODE-PORT
-A KUBE-SERVICES -m set --match-set KUBE-CLUSTER-IP dst,dst -j ACCEPT
-A KUBE-NODE-PORT -p tcp -m comment --comment "Kubernetes nodeport TCP port for masquerade purpose" -m set --match-set KUBE-NODE-PORT-TCP dst -j KUBE-MARK-MASQ
-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
-A KUBE-POSTROUTING -m comment --comment "Kubernetes endpoints dst ip:port, source ip for solving hairpin purpose" -m set --match-set KUBE-LOOP-BACK dst,dst,src -j MASQUERADE
-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0
-A KUBE-POSTROUTING -j MASQUERADE --random-fully
COMMIT
"""
    sets = (
        IpSet(name="KUBE-CLUSTER-IP", kind="hash:ip,port", family=4, elements=("10.100.0.10,tcp:80",)),
        IpSet(name="KUBE-NODE-PORT-TCP", kind="bitmap:port", family=4, elements=("30080",)),
        IpSet(
            name="KUBE-LOOP-BACK", kind="hash:ip,port,ip", family=4, elements=("192.168.1.117,tcp:8080,192.168.1.117",)
        ),
    )
    port = passed(*iptables(text), of=flow("198.51.100.9", eks.NODE, 30080), came_by="eth0", sets=sets)
    assert (port.outcome, [change.after for change in port.marks], port.unknown) == (Outcome.LOCAL, [0x4000], ())
    hairpin = passed(*iptables(text), of=flow(eks.NEIGHBOUR, eks.NEIGHBOUR, 8080), came_by="eniccc", sets=sets)
    assert hairpin.snat is not None
    assert (hairpin.snat.random, hairpin.unknown) == (Random.NONE, ())
    plain = passed(*iptables(text), of=flow(eks.PRIMARY_POD, eks.NEIGHBOUR, 8080), sets=sets)
    assert (plain.snat, plain.unknown) == (None, ())


# Calico with its own IPAM.

CALICO = """*nat
:cali-fip-snat - [0:0]
-A PREROUTING -m comment --comment "cali:6gwbT8clXdHdC1b1" -j cali-PREROUTING
-A OUTPUT -m comment --comment "cali:tVnHkvAo15HuiPy0" -j cali-OUTPUT
-A POSTROUTING -m comment --comment "cali:O3lYWMrLQYEMJtB5" -j cali-POSTROUTING
-A cali-OUTPUT -m comment --comment "cali:GBTAv2p5CwevEyJm" -j cali-fip-dnat
-A cali-POSTROUTING -m comment --comment "cali:Z-c7XtVd2Bq7s_hA" -j cali-fip-snat
-A cali-POSTROUTING -m comment --comment "cali:nYKhEzDlr11Jccal" -j cali-nat-outgoing
-A cali-POSTROUTING -o tunl0 -m comment --comment "cali:SXWvdsbh4Mw7wOln" -m addrtype ! --src-type LOCAL --limit-iface-out -m addrtype --src-type LOCAL -j MASQUERADE --random-fully
-A cali-PREROUTING -m comment --comment "cali:r6XmIziWUJsdOK6Z" -j cali-fip-dnat
-A cali-fip-dnat -d 203.0.113.50/32 -m comment --comment "cali:fip" -j DNAT --to-destination 192.168.1.50
-A cali-nat-outgoing -m comment --comment "cali:flqWnvo8yq4ULQLa" -m set --match-set cali40masq-ipam-pools src -m set ! --match-set cali40all-ipam-pools dst -j MASQUERADE --random-fully
COMMIT
"""


@pytest.mark.parametrize(("destination", "expected"), [(eks.INTERNET, True), (eks.FAR_POD, False)])
def test_calico_masquerades_what_leaves_its_pools(destination: str, expected: bool) -> None:
    pools = ("192.168.0.0/17", "192.168.200.0/24", "192.168.1.50/32 nomatch")
    sets = (
        IpSet(name="cali40masq-ipam-pools", kind="hash:net", family=4, elements=("192.168.0.0/17",)),
        IpSet(name="cali40all-ipam-pools", kind="hash:net", family=4, elements=pools),
    )
    found = passed(*iptables(CALICO), of=flow(eks.PRIMARY_POD, destination), sets=sets)
    assert (masqueraded(found), found.unknown) == (expected, ())
    unread = (replace(sets[0], elements=None), sets[1])
    assert bool(passed(*iptables(CALICO), of=flow(eks.PRIMARY_POD, destination), sets=unread).unknown) is expected
    assert sockets(passed(*iptables(CALICO), of=flow(eks.INTERNET, "203.0.113.50"), came_by="eth0", sets=sets)) == [
        "192.168.1.50:80"
    ]


# portmap and egress-cni.


def test_a_host_port_and_its_hairpin() -> None:
    text = r"""*nat
-A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT
-A OUTPUT -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT
-A POSTROUTING -m comment --comment "CNI portfwd requiring masquerade" -j CNI-HOSTPORT-MASQ
-A CNI-DN-a1b2c3 -s 192.168.1.117/32 -p tcp -m tcp --dport 8080 -j CNI-HOSTPORT-SETMARK
-A CNI-DN-a1b2c3 -s 127.0.0.1/32 -p tcp -m tcp --dport 8080 -j CNI-HOSTPORT-SETMARK
-A CNI-DN-a1b2c3 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 192.168.1.117:80
-A CNI-HOSTPORT-DNAT -p tcp -m comment --comment "dnat name: \"aws-cni\" id: \"0a1b2c\"" -m multiport --dports 8080,8443 -j CNI-DN-a1b2c3
-A CNI-HOSTPORT-MASQ -m mark --mark 0x2000/0x2000 -j MASQUERADE
-A CNI-HOSTPORT-SETMARK -m comment --comment "CNI portfwd masquerade mark" -j MARK --set-xmark 0x2000/0x2000
COMMIT
"""
    outside = passed(*iptables(text), of=flow("198.51.100.9", eks.NODE, 8080), came_by="eth0")
    assert (sockets(outside), outside.snat, outside.unknown) == (["192.168.1.117:80"], None, ())
    hairpin = passed(*iptables(text), of=flow(eks.NEIGHBOUR, eks.NODE, 8080), came_by="eniccc")
    assert (sockets(hairpin), hairpin.snat is not None, hairpin.unknown) == (["192.168.1.117:80"], True, ())


@pytest.mark.parametrize("family", [4, 6])
def test_egress_of_the_other_family(family: int) -> None:
    pod, many, far, own = (
        ("169.254.172.10", "224.0.0.0/4", "198.51.100.8", "192.168.1.29")
        if family == 4
        else ("fd00::ac:10", "ff00::/8", "2001:db8::8", "2001:db8:1::29")
    )
    block = "169.254.172.0/22" if family == 4 else "fd00::ac:0/118"
    bits = 32 if family == 4 else 128
    name = '-m comment --comment "name: \\"aws-cni\\" id: \\"containerId-123\\""'
    text = f"""*nat
-A POSTROUTING -s {pod}/{bits} {name} -j CNI-E{family}-5740307710ebfd5fb24f5
-A CNI-E{family}-5740307710ebfd5fb24f5 -d {many} {name} -j ACCEPT
-A CNI-E{family}-5740307710ebfd5fb24f5 {name} -j SNAT --to-source {own} --random-fully
COMMIT
*filter
-A FORWARD -d {block} -m conntrack --ctstate NEW -m comment --comment "Block Node Local Pod access via IPv{family}" -j REJECT --reject-with icmp-port-unreachable
COMMIT
"""
    rules = [rule("0: from all lookup local", family), rule("32766: from all lookup main", family)]
    default = "0.0.0.0/0" if family == 4 else "::/0"
    routes = [
        route(f"{default} dev eth0"),
        route(f"{pod}/{bits} dev eniaaa"),
        route(f"local {own}/{bits} dev eth0", "local"),
    ]
    node = snapshot(
        rules,
        routes,
        iptables(text, Backend.NFT, "ip" if family == 4 else "ip6"),
        [interface(2, "eth0", f"{own}/{bits}")],
    )
    found = predict(NodeModel(node), Packet.opening(flow(pod, far), "eniaaa"))
    assert found.snat is not None
    assert (str(found.snat.address), found.snat.random, found.unknown) == (own, Random.FULLY, ())
    refused = predict(NodeModel(node), Packet.opening(flow(far, pod), "eth0"))
    assert (refused.outcome, refused.unknown) == (Outcome.REJECTED, ())
