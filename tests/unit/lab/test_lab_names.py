import pytest

from pathtap.lab.errors import LabError
from pathtap.lab.names import AmbiguousNameError, resolve
from pathtap.lab.options import LabOptions
from pathtap.lab.topology import make_cluster

CLUSTER = make_cluster(LabOptions())
NODE = CLUSTER.nodes[1]


@pytest.mark.parametrize(
    ("name", "namespace", "expected"),
    [
        ("cart", "", CLUSTER.pod("shop/cart").network_namespace),
        ("shop/redis", "", CLUSTER.pod("shop/redis").network_namespace),
        ("pod/staging/redis", "", CLUSTER.pod("staging/redis").network_namespace),
        ("redis", "staging", CLUSTER.pod("staging/redis").network_namespace),
        (NODE.name, "", NODE.network_namespace),
        (f"node/{NODE.name}", "shop", NODE.network_namespace),
        ("node-exporter-2", "", NODE.network_namespace),
        ("vpc", "", "lab-vpc"),
        ("internet", "", "lab-internet"),
    ],
)
def test_a_place_is_found_by_its_name(name: str, namespace: str, expected: str) -> None:
    assert resolve(CLUSTER, name, namespace) == expected


def test_a_bare_name_in_two_namespaces_is_refused_with_both() -> None:
    with pytest.raises(AmbiguousNameError, match="shop/redis, staging/redis"):
        resolve(CLUSTER, "redis")


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(LabError, match="shop/cart"):
        resolve(CLUSTER, "shop/crat")
