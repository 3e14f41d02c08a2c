"""Which interfaces a capture is opened on."""

from ipaddress import ip_address

import pytest

from pathtap.agent.capture import choose_interfaces
from pathtap.model.node import Interface, Role
from pathtap.model.request import CaptureRequest

CART, REDIS = ip_address("192.168.1.116"), ip_address("192.168.1.117")


def link(name: str, role: Role, up: bool = True, pods: tuple[object, ...] = ()) -> Interface:
    return Interface(
        index=1,
        name=name,
        role=role,
        mac="",
        mtu=9001,
        up=up,
        pod_addresses=pods,  # type: ignore[arg-type]
    )


NODE = (
    link("lo", Role.LOOPBACK),
    link("ens5", Role.PRIMARY_ENI),
    link("ens6", Role.SECONDARY_ENI),
    link("ens7", Role.SECONDARY_ENI, up=False),
    link("vlan.eth.1", Role.BRANCH_ENI),
    link("eni0cart", Role.POD_VETH, pods=(CART,)),
    link("eni1redis", Role.POD_VETH, up=False, pods=(REDIS, ip_address("2001:db8::7"))),
    link("docker0", Role.OTHER),
)
ENIS = ("ens5", "ens6", "vlan.eth.1")


@pytest.mark.parametrize(
    ("pods", "expected"),
    [
        ((), ENIS),
        ((ip_address("192.168.9.9"),), ENIS),
        ((CART,), (*ENIS, "eni0cart")),
        ((ip_address("2001:db8::7"), CART), (*ENIS, "eni0cart", "eni1redis")),
    ],
)
def test_every_eni_that_is_up_and_the_pods_veths(pods: tuple[object, ...], expected: tuple[str, ...]) -> None:
    request = CaptureRequest(id="c", protocol=0, near=(CART,), pods=pods)  # type: ignore[arg-type]
    assert choose_interfaces(NODE, request) == expected
