"""What was set for a packet: by ipamd, by the VPC's own networks, by the egress plugin's configuration, or by nobody."""

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest
from wired_node import CART, NODE, OWN, SEARCH, snapshot, veth, with_link

from pathtap.collector.inspections.intent import exempted_from, intent_of
from pathtap.model.netfilter import Backend, Random
from pathtap.model.node import CniSettings, EgressPlugin, NodeSnapshot
from pathtap.model.snat import Intent
from tests.unit.forwarding.nodes import iptables, route

OUTSIDE = ip_address("198.51.100.8")
OUTSIDE6 = ip_address("2001:db8::8")
EGRESS, EGRESS6 = ip_address("169.254.172.10"), ip_address("fd00::ac:a")
POD6 = ip_address("2600:1f14::10")
CONFLIST = "/etc/cni/net.d/10-aws.conflist"
RANDOM = {0: ("none", Random.NONE), 1: ("hashrandom", Random.RANDOM), 2: ("prng", Random.FULLY)}


def told(**settings: object) -> NodeSnapshot:
    return replace(snapshot(), settings=CniSettings(**settings))  # type: ignore[arg-type]  # a test's short form


def with_plugin(**plugin: object) -> NodeSnapshot:
    given: dict[str, object] = {"enabled": True, "path": CONFLIST, **plugin}
    return replace(told(), egress_plugin=EgressPlugin(**given))  # type: ignore[arg-type]  # as above


def untranslated(says: str, source: str) -> Intent:
    return Intent(translated=False, random=Random.NONE, says=says, source=source)


@pytest.mark.parametrize("randomize", RANDOM)
@pytest.mark.parametrize("source", [CART, SEARCH, ip_address(OWN)])
@pytest.mark.parametrize("translating", ["VPC CNI", "", "Calico", "ip-masq-agent"])
def test_what_leaves_the_vpc_is_to_be_translated_as_ipamd_says(
    randomize: int, source: object, translating: str
) -> None:
    """Whoever really translates it, the node's own packets too."""
    name, random = RANDOM[randomize]
    assert intent_of(told(randomize=randomize), source, OUTSIDE, translating) == Intent(  # type: ignore[arg-type]
        translated=True, random=random, says=f"AWS_VPC_K8S_CNI_RANDOMIZESNAT is {name}", source=f"{NODE} ipamd"
    )


def test_a_way_that_the_cni_does_not_know_is_prng_to_it() -> None:
    found = intent_of(told(randomize=9), CART, OUTSIDE, "VPC CNI")
    assert found is not None
    assert (found.random, found.says) == (Random.FULLY, "AWS_VPC_K8S_CNI_RANDOMIZESNAT is prng")


def test_a_cidr_of_the_vpc_is_exempt_by_the_word_of_imds_alone() -> None:
    node = replace(told(), vpc_networks=(ip_network("10.11.0.0/16"), ip_network("192.168.0.0/16")), settings=None)
    expected = untranslated("192.168.0.0/16 is a CIDR of the VPC", f"{NODE} imds")
    for translating in ("", "VPC CNI"):
        assert intent_of(node, CART, ip_address("192.168.9.9"), translating) == expected
    assert intent_of(node, CART, OUTSIDE, "VPC CNI") is None


def test_an_excluded_cidr_is_exempt() -> None:
    node = told(excluded_networks=(ip_network("10.12.0.0/16"), ip_network("198.51.100.0/24")))
    says = "AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS has 198.51.100.0/24"
    assert intent_of(node, CART, OUTSIDE, "") == untranslated(says, f"{NODE} ipamd")


def test_everything_is_exempt_where_snat_is_external() -> None:
    for node in (told(external_snat=True), replace(told(external_snat=True), vpc_networks=())):
        expected = untranslated("AWS_VPC_K8S_CNI_EXTERNALSNAT is true", f"{NODE} ipamd")
        assert intent_of(node, CART, OUTSIDE, "") == expected
        assert intent_of(node, ip_address(OWN), OUTSIDE, "VPC CNI") == expected


@pytest.mark.parametrize("translating", ["kube-proxy", "Calico", "unknown writer"])
def test_what_the_cni_exempts_and_another_one_translates_is_the_others_to_set(translating: str) -> None:
    assert intent_of(told(), CART, ip_address("192.168.9.9"), translating) is None
    assert intent_of(told(external_snat=True), CART, OUTSIDE, translating) is None
    assert intent_of(told(), POD6, OUTSIDE6, translating) is None


def test_nobody_told() -> None:
    assert intent_of(snapshot(metadata=False), CART, OUTSIDE, "VPC CNI") is None


def test_without_the_vpcs_networks_only_what_the_cni_translates_is_known_to_leave_it() -> None:
    node = replace(told(), vpc_networks=())
    assert intent_of(node, CART, OUTSIDE, "") is None
    assert intent_of(node, CART, OUTSIDE, "kube-proxy") is None
    found = intent_of(node, CART, OUTSIDE, "VPC CNI")
    assert found is not None
    assert (found.translated, found.random) == (True, Random.FULLY)


@pytest.mark.parametrize("destination", [OUTSIDE6, ip_address("2600:1f14::20")])
def test_ipv6_keeps_its_source(destination: object) -> None:
    says = "the VPC CNI translates no IPv6"
    assert intent_of(told(), POD6, destination, "") == untranslated(says, "VPC CNI")  # type: ignore[arg-type]


def test_the_node_of_an_ipv6_cluster_keeps_its_source_too() -> None:
    node = with_link(told(), veth("cart"), pod_addresses=(POD6, EGRESS))
    says = "the VPC CNI translates nothing in an IPv6 cluster"
    assert intent_of(node, ip_address(OWN), OUTSIDE, "") == untranslated(says, "VPC CNI")
    of_ipv4 = with_link(told(), veth("cart"), pod_addresses=(CART, EGRESS6))
    found = intent_of(of_ipv4, ip_address(OWN), OUTSIDE, "VPC CNI")
    assert found is not None
    assert found.translated


def test_what_goes_to_the_node_itself_keeps_its_source() -> None:
    node = replace(told(), vpc_networks=(ip_network("10.0.0.0/8"),))
    says = f"the VPC CNI translates nothing to the node's own address {OWN}"
    assert intent_of(node, CART, ip_address(OWN), "") == untranslated(says, "VPC CNI")


def test_a_pod_with_a_branch_eni_keeps_its_source() -> None:
    node = told()
    strict = replace(node, routes=(*node.routes, route("192.168.1.60 dev vlan0365022ad4d scope link", table="101")))
    says = "the VPC CNI translates nothing that leaves by a branch ENI"
    assert intent_of(strict, ip_address("192.168.1.60"), OUTSIDE, "") == untranslated(says, "VPC CNI")
    found = intent_of(strict, CART, OUTSIDE, "VPC CNI")
    assert found is not None
    assert found.translated


@pytest.mark.parametrize("randomize", RANDOM)
@pytest.mark.parametrize(("source", "destination"), [(EGRESS, OUTSIDE), (EGRESS6, OUTSIDE6)])
def test_an_address_of_the_egress_plugins_is_translated_as_its_configuration_says(
    randomize: int, source: object, destination: object
) -> None:
    """ipamd has no say in it, and neither external SNAT nor excluded CIDRs hold for it."""
    name, random = RANDOM[randomize]
    node = replace(with_plugin(randomize=randomize), settings=CniSettings(external_snat=True, randomize=2 - randomize))
    for translating in ("egress-cni", "kube-proxy", ""):
        assert intent_of(node, source, destination, translating) == Intent(  # type: ignore[arg-type]
            translated=True, random=random, says=f"randomizeSNAT is {name}", source=f"{NODE} {CONFLIST}"
        )


def test_nobody_told_of_the_egress_plugin() -> None:
    assert intent_of(told(), EGRESS, OUTSIDE, "egress-cni") is None
    assert intent_of(with_plugin(enabled=False), EGRESS, OUTSIDE, "egress-cni") is None


@pytest.mark.parametrize("store", [Backend.LEGACY, Backend.NFT])
def test_an_address_of_another_network_is_the_egress_plugins_where_it_has_a_chain(store: Backend) -> None:
    other, digits = ip_address("100.64.3.4"), "5740307710ebfd5fb24f5"
    said = '-m comment --comment "name: \\"aws-cni\\" id: \\"0\\""'
    text = f"""*nat
-A POSTROUTING -s {other}/32 {said} -j CNI-E4-{digits}
-A CNI-E4-{digits} {said} -j SNAT --to-source {OWN}
COMMIT"""
    node = with_plugin(randomize=1)
    found = intent_of(replace(node, rule_sets=tuple(iptables(text, store))), other, OUTSIDE, "egress-cni")
    assert found is not None
    assert (found.random, found.source) == (Random.RANDOM, f"{NODE} {CONFLIST}")
    without = intent_of(node, other, OUTSIDE, "VPC CNI")
    assert without is not None
    assert without.source == f"{NODE} ipamd"


def test_the_egress_plugin_translates_no_multicast() -> None:
    found = intent_of(with_plugin(), EGRESS, ip_address("224.0.0.251"), "")
    assert found == untranslated("the egress-cni plugin translates no multicast", f"{NODE} {CONFLIST}")
    assert intent_of(with_plugin(), EGRESS, ip_address("224.0.0.251"), "kube-proxy") is None


def test_without_metadata_a_pod_or_node_of_the_inventory_is_known_to_be_inside() -> None:
    node, pod = snapshot(metadata=False), ip_address("192.168.9.9")
    expected = untranslated("192.168.9.9 is pod shop/redis of the cluster", "inventory")
    assert intent_of(node, CART, pod, "", "pod shop/redis") == expected
    assert intent_of(node, CART, pod, "VPC CNI", "pod shop/redis") == expected
    assert intent_of(node, CART, pod, "") is None
    # With the VPC's CIDRs these decide: a hybrid node's pods lie outside of them, and are translated to.
    far = intent_of(told(), CART, OUTSIDE, "", "pod shop/far")
    assert far is not None
    assert far.translated


def test_what_the_cni_exempts_and_another_one_translates_is_told() -> None:
    node = told(excluded_networks=(ip_network("198.51.100.0/24"),))
    assert exempted_from(node, CART, OUTSIDE, "Calico") == (
        f"AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS has 198.51.100.0/24 ({NODE} ipamd), and Calico translates it all the same: nobody "
        "tells what that is set to"
    )
    for translating in ("", "VPC CNI"):
        assert exempted_from(node, CART, OUTSIDE, translating) == ""
    assert exempted_from(told(), CART, OUTSIDE, "Calico") == ""
