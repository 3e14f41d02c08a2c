"""Which source MASQUERADE takes of IPv6: ipv6_dev_get_saddr, by RFC 6724's rules, where a snapshot can tell."""

from ipaddress import ip_address, ip_interface

import pytest

from pathtap.forwarding.node import NodeModel
from pathtap.model.node import Interface, NodeSnapshot, Role

POD = "2001:db8:64:101:a::1"


def masqueraded(towards: str, by: str, **addresses: str) -> str | None:
    """The source towards an address by an interface; `addresses` are those of the interfaces, in the kernel's order."""
    interfaces = tuple(
        Interface(
            index=index,
            name=name,
            role=Role.LOOPBACK if name == "lo" else Role.OTHER,
            mac="",
            mtu=9001,
            up=True,
            addresses=tuple(ip_interface(text) for text in own.split()),
        )
        for index, (name, own) in enumerate(addresses.items(), start=1)
    )
    snapshot = NodeSnapshot(node="node", boot_id="1", taken_at=0, interfaces=interfaces)
    found = NodeModel(snapshot).masquerade_address(by, ip_address(towards))
    return None if found is None else str(found)


@pytest.mark.parametrize(
    ("addresses", "taken"),
    [
        ({"eth0": "192.168.1.29/24 2001:db8:64:101::29/128 fe80::29/64", "veth": "fe80::1/64"}, "2001:db8:64:101::29"),
        # Of two that share as much with the pod's, the first.
        ({"eth0": "2001:db8:64:101::29/128", "eth1": "2001:db8:64:101::87/128", "veth": ""}, "2001:db8:64:101::29"),
        ({"eth0": "2001:db8:9::29/128", "eth1": "2001:db8:64:101::87/128", "veth": ""}, "2001:db8:64:101::87"),
        # No more than its own prefix counts.
        ({"eth0": "2001:db8:64:100::29/48", "eth1": "2001:db8:64:101::87/40", "veth": ""}, "2001:db8:64:100::29"),
        ({"eth0": "2001:db8:64:101::29/128", "veth": "2001:db8:9::1/64"}, "2001:db8:9::1"),
        ({"eth0": "fd00::29/128", "eth1": "2001:db8:9::87/128", "veth": ""}, "2001:db8:9::87"),
        ({"lo": "::1/128", "eth0": "192.168.1.29/24 fe80::29/64", "veth": ""}, None),
        ({"eth0": "2001:db8:64:101::29/128", "veth": "2001:db8:9::1/64 2001:db8:a::1/64"}, None),
    ],
)
def test_a_veth_borrows_the_nearest_address_and_keeps_to_one_of_its_own(
    addresses: dict[str, str], taken: str | None
) -> None:
    assert masqueraded(POD, "veth", **addresses) == taken


def test_unique_local_addresses_keep_among_themselves() -> None:
    assert masqueraded("fd00::9", "veth", eth0="2001:db8:9::87/128", eth1="fd00:1::29/128", veth="") == "fd00:1::29"
