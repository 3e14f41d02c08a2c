import json
from dataclasses import asdict
from ipaddress import IPv4Network

import pytest

from pathtap.lab.errors import LabError
from pathtap.lab.options import LabOptions
from pathtap.lab.topology import Pod, make_cluster


def pod_named(namespace: str, name: str) -> Pod:
    cluster = make_cluster(LabOptions())
    found = cluster.pod("shop/cart")
    return Pod(
        namespace=namespace,
        name=name,
        address=found.address,
        device=0,
        tcp_ports=(),
        network_namespace=found.network_namespace,
    )


def test_a_veth_is_named_as_the_cni_names_it() -> None:
    # The check value of amazon-vpc-cni-k8s' own naming: default/netshoot.
    assert pod_named("default", "netshoot").veth == "enie348bef9edc"


def test_the_same_options_give_the_same_cluster() -> None:
    assert make_cluster(LabOptions(nodes=3)) == make_cluster(LabOptions(nodes=3))


def test_the_default_cluster_has_the_pods_that_the_documentation_names() -> None:
    cluster = make_cluster(LabOptions())
    where = {pod.key: (cluster.node_of(pod).index, pod.device, pod.tcp_ports) for pod in cluster.pods}
    assert where == {
        "shop/cart": (1, 0, ()),
        "shop/web": (1, 0, (8080,)),
        "shop/search": (1, 1, (9200,)),
        "shop/redis": (2, 0, (6379,)),
        "shop/orders": (2, 1, (8080,)),
        "staging/redis": (2, 1, (6379,)),
    }
    assert cluster.nodes[0].name == "ip-192-168-1-29"


def test_further_nodes_have_a_pod_on_each_eni() -> None:
    third = make_cluster(LabOptions(nodes=3)).nodes[2]
    assert [pod.device for pod in third.pods] == [0, 1]


@pytest.mark.parametrize("nodes", [2, 3, 200])
@pytest.mark.parametrize("variant", [{}, {"prefix_mode": True}, {"custom_networking": True, "prefix_mode": True}])
def test_no_address_name_or_mac_is_used_twice(nodes: int, variant: dict[str, bool]) -> None:
    cluster = make_cluster(LabOptions(nodes=nodes, **variant))  # type: ignore[arg-type]
    enis = [eni for node in cluster.nodes for eni in node.enis]
    addresses = [address for eni in enis for address in eni.addresses]
    macs = [mac for eni in enis for mac in (eni.mac, eni.port_mac)]
    macs += [mac for pod in cluster.pods for mac in (pod.mac, pod.host_mac)]
    for values in (addresses, macs, [eni.id for eni in enis], [eni.port for eni in enis], cluster.network_namespaces):
        assert len(set(values)) == len(values)
    # Locally administered and unicast: IEEE 802 section 8.2.
    assert all(int(mac[:2], 16) & 0b11 == 0b10 for mac in macs)
    # IFNAMSIZ of linux/if.h, its final zero included.
    assert all(len(eni.port) < 16 for eni in enis)


def test_an_eni_owns_its_pods_addresses_and_leads_by_its_subnets_router() -> None:
    node = make_cluster(LabOptions()).nodes[0]
    search = next(pod for pod in node.pods if pod.name == "search")
    assert search.address in node.secondary.addresses
    assert search.address not in node.primary.addresses
    assert node.secondary.table == 2
    assert str(node.secondary.gateway) == "192.168.1.1"
    assert all(address in node.secondary.subnet for address in node.secondary.addresses)


def test_two_prefixes_share_no_namespace() -> None:
    one, other = (make_cluster(LabOptions(prefix=prefix)) for prefix in ("lab", "lab2"))
    assert not set(one.network_namespaces) & set(other.network_namespaces)


@pytest.mark.parametrize("names", [("eth", "eth0", "eth1"), ("ens", "ens5", "ens6")])
def test_interfaces_are_named_as_asked(names: tuple[str, str, str]) -> None:
    node = make_cluster(LabOptions(names=names[0])).nodes[1]  # type: ignore[arg-type]
    assert (node.primary.interface, node.secondary.interface) == names[1:]


@pytest.mark.parametrize(
    "wrong",
    [
        {"prefix": "my-lab"},
        {"prefix": ""},
        {"prefix": "../etc"},
        {"nodes": 1},
        {"nodes": 201},
        {"backend": "bpf"},
        {"names": "wlan"},
        {"chains": "loop"},
        {"randomize": "maybe"},
        {"kube_proxy": "ipvs"},
        {"vpc_cidrs": 3},
        {"exclude_cidrs": ("somewhere",)},
        {"exclude_cidrs": ("2001:db8::/32",)},
        {"exclude_cidrs": ("0.0.0.0/0",)},
        {"chains": "native", "backend": "legacy"},
        {"kube_proxy": "nftables", "backend": "legacy"},
    ],
)
def test_options_that_cannot_be_built_are_refused_with_a_sentence(wrong: dict[str, object]) -> None:
    with pytest.raises(LabError, match=r"\.$"):
        LabOptions(**wrong)  # type: ignore[arg-type]


def test_custom_networking_leaves_the_primary_eni_to_the_node() -> None:
    cluster = make_cluster(LabOptions(custom_networking=True))
    assert [str(network) for network in cluster.vpc_networks] == ["192.168.0.0/16", "100.64.0.0/16"]
    for node in cluster.nodes:
        assert node.primary.owned == (IPv4Network(node.address),)
        assert {pod.device for pod in node.pods} == {1}
        assert node.secondary.subnet == IPv4Network(f"100.64.{node.index}.0/24")
        assert all(pod.address in node.secondary.subnet for pod in node.pods)


def test_with_prefixes_every_pod_keeps_its_address_and_every_eni_has_a_warm_prefix() -> None:
    plain, prefixed = make_cluster(LabOptions()), make_cluster(LabOptions(prefix_mode=True))
    assert plain.pods == prefixed.pods
    for eni in (eni for node in prefixed.nodes for eni in node.enis):
        used, warm = eni.prefixes
        assert all(address in used for address in eni.pod_addresses)
        assert eni.address not in used
        assert (used.prefixlen, warm.prefixlen) == (28, 28)
        assert not used.overlaps(warm)


def test_options_come_back_from_json_as_they_were_and_host_bits_are_taken_away() -> None:
    options = LabOptions(exclude_cidrs=("203.0.113.8/24",))
    assert options.exclude_cidrs == ("203.0.113.0/24",)
    assert LabOptions(**json.loads(json.dumps(asdict(options)))) == options
