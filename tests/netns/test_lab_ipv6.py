"""A lab of an IPv6 cluster, in both backends: traffic of both families, and the wiring and the rules that the CNI gives it."""

import os
import re
import socket
from collections.abc import Iterator
from ipaddress import ip_address, ip_network

import pytest

from pathtap.agent.readers import cni_config, imds, ipamd
from pathtap.lab.build import LabOptions, build, lab_namespaces, tear_down
from pathtap.lab.cluster import INTERNET, PEER, VPC_IPV6
from pathtap.lab.errors import LabError
from pathtap.lab.kernel import command_inside, inside
from pathtap.lab.procfs import roles
from pathtap.lab.rules import native_rules, node_rules
from pathtap.lab.state import StateDirectory
from pathtap.lab.topology import NODE_EXPORTER_PORT, WEB_NODE_PORT, Cluster

pytestmark = pytest.mark.netns

VARIANTS: dict[str, dict[str, object]] = {
    "nft": {},
    "legacy-ens-hashrandom": {"backend": "legacy", "names": "ens", "randomize": "hashrandom"},
    "nft-kube-nftables-external": {"kube_proxy": "nftables", "external_snat": True, "node_port": False},
}
ANSWER_SECONDS = 2.0
CART, SEARCH, REDIS = "shop/cart", "shop/search", "shop/redis"


@pytest.fixture(scope="module", params=tuple(VARIANTS.values()), ids=tuple(VARIANTS))
def lab(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    options = LabOptions(prefix=f"s{os.getpid()}", family="ipv6", **request.param)
    try:
        yield build(options)
    finally:
        tear_down(options.prefix)
        assert not lab_namespaces(options.prefix)
        assert not roles(options.prefix)


def told(namespace: str, host: object, port: int) -> str:
    """What the listener says."""

    def ask() -> str:
        with socket.create_connection((str(host), port), timeout=ANSWER_SECONDS) as made:
            return made.recv(100).decode().strip()

    return inside(namespace, ask)


def printed(namespace: str, *words: str) -> list[str]:
    """The lines, without the blanks at their ends."""
    return [line.rstrip() for line in command_inside(namespace, words).splitlines()]


def test_pods_reach_pods_and_services_by_ipv6_at_once(lab: Cluster) -> None:
    for source in (CART, SEARCH):
        namespace = lab.pod(source).network_namespace
        for destination in (REDIS, "staging/redis"):
            assert told(namespace, lab.pod(destination).address, 6379) == destination
        services = {service.name: service.address for service in lab.services}
        assert told(namespace, services["redis"], 6379) == REDIS
        assert {told(namespace, services["web"], 80) for _ in range(20)} == {"shop/web", "shop/orders"}
        with pytest.raises(ConnectionRefusedError):
            told(namespace, services["hollow"], 80)
    # By its own service a pod reaches itself.
    assert told(lab.pod(REDIS).network_namespace, lab.services[0].address, 6379) == REDIS


def test_a_ping_between_nodes_loses_two_hops_as_by_ipv4(lab: Cluster) -> None:
    ping = ["ping", "-n", "-c", "1", "-W", "2", str(lab.pod(REDIS).address)]
    assert "ttl=62" in command_inside(lab.pod(CART).network_namespace, ping)


@pytest.mark.parametrize("host", [INTERNET, PEER], ids=lambda host: host.name)
def test_outside_a_pod_is_itself_by_ipv6_and_its_node_by_ipv4(lab: Cluster, host: object) -> None:
    assert isinstance(host, type(INTERNET))
    pod, node = lab.pod(CART), lab.nodes[0]
    assert pod.egress is not None
    for address, source, known in (
        (host.address_ipv6, pod.address, pod.address),
        (host.address, pod.egress.address, node.address),
    ):
        assert told(pod.network_namespace, address, 443) == host.name
        family = "ipv6" if address.version == 6 else "ipv4"
        selectors = ["-f", family, "-p", "tcp", "-s", str(source), "-d", str(address)]
        entry = command_inside(node.network_namespace, ["conntrack", "-L", *selectors])
        assert f"src={address} dst={known} " in entry


def test_nodes_answer_at_both_addresses_and_serve_node_ports_by_ipv6(lab: Cluster) -> None:
    pod = lab.pod(CART).network_namespace
    for node in lab.nodes:
        assert {told(pod, address, NODE_EXPORTER_PORT) for address in node.addresses} == {node.name}
        there = {told(lab.internet_namespace, node.cluster_address, WEB_NODE_PORT) for _ in range(20)}
        assert there == {"shop/web", "shop/orders"}
        with pytest.raises(ConnectionRefusedError):
            told(pod, node.address, WEB_NODE_PORT)


def test_pods_do_not_reach_each_other_by_their_ways_out(lab: Cluster) -> None:
    other = lab.pod("shop/web").egress
    assert other is not None
    with pytest.raises(OSError, match=r"refused|unreachable"):
        told(lab.pod(CART).network_namespace, other.address, 8080)


def test_the_kernel_prints_back_the_rules_that_were_meant(lab: Cluster) -> None:
    node = lab.nodes[0]
    for version, program in ((4, "iptables"), (6, "ip6tables")):
        saved = printed(node.network_namespace, f"{program}-{lab.options.backend}-save")
        meant = [line for line in node_rules(lab, node, version).splitlines() if line.startswith("-A ")]
        # Either orders the chains in its own way, and keeps the rules of each in their order.
        assert sorted(line for line in saved if line.startswith("-A ")) == sorted(meant)
    assert bool(native_rules(lab, node)) == (lab.options.kube_proxy == "nftables")


def test_the_rules_are_those_of_egress_cni_and_none_of_the_cni_itself(lab: Cluster) -> None:
    node, pod = lab.nodes[0], lab.pod(CART)
    assert pod.egress is not None
    saved = printed(node.network_namespace, f"iptables-{lab.options.backend}-save", "-t", "nat")
    assert not [line for line in saved if "AWS" in line]
    own = [line for line in saved if pod.egress.chain in line]
    flag = {"prng": " --random-fully", "hashrandom": " --random"}[lab.options.randomize]
    comment = rf'-m comment --comment "name: \"aws-cni\" id: \"{pod.egress.container}\""'
    assert [line for line in own if line.startswith("-A")] == [
        f"-A POSTROUTING -s {pod.egress.address}/32 {comment} -j {pod.egress.chain}",
        f"-A {pod.egress.chain} -d 224.0.0.0/4 {comment} -j ACCEPT",
        f"-A {pod.egress.chain} {comment} -j SNAT --to-source {node.address}{flag}",
    ]
    assert re.fullmatch(r"CNI-E4-[0-9a-f]{21}", pod.egress.chain)


def test_ip_rules_are_of_ipv6_and_those_of_ipv4_are_the_enis(lab: Cluster) -> None:
    node = lab.nodes[0]
    assert node.secondary.ipv6 is not None
    marked = lab.options.node_port or not lab.options.external_snat
    assert printed(node.network_namespace, "ip", "-6", "rule") == [
        "0:\tfrom all lookup local",
        *(f"512:\tfrom all to {pod.address} lookup main" for pod in node.pods),
        *(["1024:\tfrom all fwmark 0x80/0x80 lookup main"] if marked else []),
        f"32765:\tfrom {node.secondary.ipv6.address} lookup 2",
        "32766:\tfrom all lookup main",
    ]
    assert [line.split(":")[0] for line in printed(node.network_namespace, "ip", "rule")] == [
        "0",
        "32765",
        "32766",
        "32767",
    ]


def test_a_pod_leads_ipv6_to_the_link_local_gateway_and_ipv4_by_its_second_interface(lab: Cluster) -> None:
    pod = lab.pod(CART)
    assert pod.egress is not None
    inner = printed(pod.network_namespace, "ip", "-6", "route", "show", "default")
    assert inner[0].startswith("default via fe80::1 dev eth0")
    assert printed(pod.network_namespace, "ip", "route") == [
        "default via 169.254.172.1 dev v4if0",
        f"169.254.172.0/22 via 169.254.172.1 dev v4if0 src {pod.egress.address}",
        f"169.254.172.1 dev v4if0 scope link src {pod.egress.address}",
    ]
    neighbours = printed(pod.network_namespace, "ip", "neigh", "show", "nud", "permanent")
    assert f"fe80::1 dev eth0 lladdr {pod.host_mac} PERMANENT" in neighbours
    outer = printed(lab.nodes[0].network_namespace, "ip", "route", "show", "dev", pod.egress.veth)
    assert outer == [f"{pod.egress.address} scope link"]
    assert pod.egress.address in ip_network("169.254.172.0/22")


def test_the_metadata_service_and_ipamd_tell_ipv6_and_the_prefix(lab: Cluster) -> None:
    node = lab.nodes[0]
    metadata = inside(node.network_namespace, imds.fetch)
    by_imds = {eni.id: eni for eni in imds.decode(metadata)}
    by_ipamd = {eni.id: eni for eni in ipamd.decode(inside(node.network_namespace, ipamd.fetch).enis)}
    for eni in node.enis:
        assert set(by_imds[eni.id].addresses) == set(eni.owned)
    assert node.primary.ipv6 is not None
    assert by_ipamd[node.primary.id].addresses == node.primary.ipv6.prefixes
    assert {network.prefixlen for network in node.primary.ipv6.prefixes} == {80}
    assert all(any(pod.address in network for network in node.primary.ipv6.prefixes) for pod in node.pods)
    assert VPC_IPV6 in imds.vpc_networks(metadata)


def test_each_node_has_the_cni_configuration_that_its_egress_rules_were_made_of(lab: Cluster) -> None:
    for node in lab.nodes:
        plugin = cni_config.decode(cni_config.fetch(StateDirectory(lab.options.prefix).cni_config(node.name)))
        assert plugin is not None
        assert (plugin.enabled, plugin.randomize) == (True, {"prng": 2, "hashrandom": 1}[lab.options.randomize])


def test_the_vpc_drops_what_an_eni_does_not_own(lab: Cluster) -> None:
    node, stranger = lab.nodes[0], ip_address("2001:db8:64:101::bad")
    command_inside(node.network_namespace, ["ip", "address", "add", f"{stranger}/128", "dev", "lo"])
    ping = ["ping", "-n", "-c", "1", "-W", "0.3", "-I", str(stranger), str(INTERNET.address_ipv6)]
    with pytest.raises(LabError):
        command_inside(node.network_namespace, ping)
    ping[ping.index(str(stranger))] = str(node.cluster_address)
    assert "1 received" in command_inside(node.network_namespace, ping)
