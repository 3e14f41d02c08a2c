"""The cluster of the family ipv6: its addresses, what is said of it, and which options it takes."""

from ipaddress import ip_address, ip_network

import pytest

from pathtap.lab.cluster import EGRESS_NETWORK, VPC_IPV6, Egress
from pathtap.lab.errors import LabError
from pathtap.lab.faults import FAULTS
from pathtap.lab.inventory import inventory
from pathtap.lab.metadata import instance_metadata, introspection
from pathtap.lab.options import LabOptions
from pathtap.lab.rules import native_rules, node_rules, vpc_rules
from pathtap.lab.topology import make_cluster

SIX = LabOptions(family="ipv6")
CLUSTER = make_cluster(SIX)
NODE = CLUSTER.nodes[0]


def test_the_chain_of_a_pods_way_out_is_named_as_the_plugin_names_it() -> None:
    address = EGRESS_NETWORK[10]
    egress = Egress(veth="veth0", host_mac="", mac="", address=address, container="containerId-123")
    assert egress.chain == "CNI-E4-5740307710ebfd5fb24f5"


def test_no_ipv6_address_is_used_twice_and_the_ways_out_are_each_nodes_own() -> None:
    cluster = make_cluster(LabOptions(family="ipv6", nodes=200))
    own = [eni.ipv6.address for node in cluster.nodes for eni in node.enis if eni.ipv6]
    addresses = [*own, *(pod.address for pod in cluster.pods), *(service.address for service in cluster.services)]
    assert len(set(addresses)) == len(addresses) == 400 + len(cluster.pods) + 3
    assert all(address in VPC_IPV6 for address in (*own, *(pod.address for pod in cluster.pods)))
    for node in cluster.nodes:
        ways = [pod.egress for pod in node.pods if pod.egress]
        assert [way.address for way in ways] == [EGRESS_NETWORK[2 + index] for index in range(len(node.pods))]
        assert len({way.veth for way in ways} | {pod.veth for pod in node.pods}) == 2 * len(node.pods)
        assert {pod.device for pod in node.pods} == {0}


def test_kubernetes_knows_ipv6_alone() -> None:
    items = inventory(CLUSTER)["items"]
    node, pod, service = (next(item for item in items if item["kind"] == kind) for kind in ("Node", "Pod", "Service"))
    assert node["status"]["addresses"][0] == {"type": "InternalIP", "address": "2001:db8:64:101::29"}
    assert pod["status"]["podIPs"] == [{"ip": "2001:db8:64:101:a::1"}]
    assert (service["spec"]["clusterIPs"], service["spec"]["ipFamilies"]) == (["fd2e:5e1f:ab1e::10"], ["IPv6"])


def test_metadata_and_ipamd_tell_the_prefix_of_the_primary_eni() -> None:
    paths = instance_metadata(SIX, NODE)
    primary, secondary = (f"network/interfaces/macs/{eni.mac}" for eni in NODE.enis)
    assert paths[f"{primary}/ipv6-prefix"] == "2001:db8:64:101:a::/80"
    assert paths[f"{primary}/ipv6s"] == "2001:db8:64:101::29"
    assert f"{secondary}/ipv6-prefix" not in paths
    enis = introspection(CLUSTER, NODE)["/v1/enis"]["0"]["ENIs"]
    assert enis[NODE.primary.id]["AvailableIPv4Cidrs"] == {}
    prefix = enis[NODE.primary.id]["IPv6Cidrs"]["2001:db8:64:101:a::/80"]
    assert prefix["IsPrefix"] is True
    assert sorted(prefix["IPAddresses"]) == sorted(str(pod.address) for pod in NODE.pods)


def test_services_are_in_the_rules_of_their_family_alone() -> None:
    four, six = node_rules(CLUSTER, NODE), node_rules(CLUSTER, NODE, 6)
    assert "fd2e:" not in four
    assert "cluster IP" not in four
    assert "-d fd2e:5e1f:ab1e::10/128 -p tcp" in six
    assert "-j DNAT --to-destination [2001:db8:64:102:a::1]:6379" in six
    assert "--reject-with icmp6-port-unreachable" in six
    # The kubelet keeps 127.0.0.0/8 to the node; ::1 the kernel keeps itself.
    assert ("127.0.0.0/8" in four, "127.0.0.0/8" in six) == (True, False)
    plain = make_cluster(LabOptions())
    assert (node_rules(plain, plain.nodes[0], 6), vpc_rules(plain, 6)) == ("", "")


def test_a_table_of_kube_proxy_for_each_family() -> None:
    cluster = make_cluster(LabOptions(family="ipv6", kube_proxy="nftables", chains="native"))
    text = native_rules(cluster, cluster.nodes[0])
    four, six = text.split("table ip6 kube-proxy")
    assert "table ip kube-proxy" in four
    assert "aws-cni" not in text
    assert "fd2e:5e1f:ab1e::10 . tcp . 6379 : goto service-" in six
    assert "dnat to [2001:db8:64:102:a::1]:6379" in six
    assert "IP daddr" not in text
    assert not [line for line in six.splitlines() if line.startswith("chain ") and ":" in line.removesuffix("{ }")]


@pytest.mark.parametrize(
    ("randomize", "flag"), [("prng", " --random-fully"), ("hashrandom", " --random"), ("none", "")]
)
def test_the_way_out_is_translated_with_the_flag_of_the_setting(randomize: str, flag: str) -> None:
    cluster = make_cluster(LabOptions(family="ipv6", randomize=randomize))  # type: ignore[arg-type]
    snat = [line for line in node_rules(cluster, cluster.nodes[0]).splitlines() if "-j SNAT" in line]
    assert len(snat) == 3
    assert all(line.endswith(f"-j SNAT --to-source 192.168.1.29{flag}") for line in snat)


def test_what_an_ipv6_cluster_cannot_have_is_refused_and_what_it_does_not_ask_changes_nothing() -> None:
    with pytest.raises(LabError, match="Custom networking"):
        LabOptions(family="ipv6", custom_networking=True)
    with pytest.raises(LabError, match="family is one of"):
        LabOptions(family="ipx")  # type: ignore[arg-type]
    asked = LabOptions(
        family="ipv6", external_snat=True, exclude_cidrs=("203.0.113.0/24",), chains="jump", prefix_mode=True
    )
    other = make_cluster(asked)
    assert node_rules(other, other.nodes[0]) == node_rules(CLUSTER, NODE)
    assert [pod.address for pod in other.pods] == [pod.address for pod in CLUSTER.pods]
    assert all("is written for IPv4 labs" in fault.refusal(SIX) for fault in FAULTS)


def test_the_vpc_takes_from_an_eni_what_it_owns_of_each_family() -> None:
    six = vpc_rules(CLUSTER, 6)
    port = NODE.primary.port
    assert f"-A SOURCE-CHECK -i {port} -s 2001:db8:64:101:a::/80 -j RETURN" in six
    assert f"-A SOURCE-CHECK -i {port} -s 2001:db8:64:101::29/128 -j RETURN" in six
    assert "192.168." not in six
    assert ip_address("2001:db8:64:101:a::1") in ip_network("2001:db8:64:101:a::/80")
