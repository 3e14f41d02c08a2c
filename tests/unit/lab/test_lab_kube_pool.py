from pathlib import Path

import pytest

from pathtap.lab.errors import LabError
from pathtap.lab.kube.pool import Claim, Pool, occupied, pool_of
from pathtap.lab.metadata import introspection
from pathtap.lab.options import LabOptions
from pathtap.lab.state import StateDirectory
from pathtap.lab.topology import make_cluster


def claim(number: int) -> Claim:
    return Claim(
        container=f"sandbox-{number}", namespace="shop", name=f"cart-{number}", network_namespace=f"cni-{number}"
    )


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    return Pool(node=make_cluster(LabOptions(kube=True)).nodes[0], file=tmp_path / "ipam.json")


def test_pods_are_spread_over_the_enis_the_primary_first(pool: Pool) -> None:
    pods = [pool.assign(claim(number), now=1.0) for number in range(4)]
    told = [(str(pod.address), pod.device) for pod in pods]
    assert told == [("192.168.1.41", 0), ("192.168.1.116", 1), ("192.168.1.42", 0), ("192.168.1.117", 1)]
    assert pool.pods() == tuple(pods)


def test_who_asks_again_gets_the_same_address(pool: Pool) -> None:
    assert pool.assign(claim(1), now=1.0) == pool.assign(claim(1), now=2.0)
    assert len(pool.pods()) == 1


def test_what_was_released_last_is_given_again_last(pool: Pool) -> None:
    first = pool.assign(claim(1), now=1.0)
    pool.release("sandbox-1", now=2.0)
    pool.release("sandbox-1", now=3.0)
    others = [pool.assign(claim(number), now=4.0).address for number in range(2, 18)]
    assert first.address not in others
    assert pool.assign(claim(18), now=5.0).address == first.address


def test_an_empty_pool_is_told_in_a_sentence(pool: Pool) -> None:
    for number in range(18):
        pool.assign(claim(number), now=1.0)
    with pytest.raises(LabError, match=r"No address is free on ip-192-168-1-29: 18 pods have them\."):
        pool.assign(claim(18), now=2.0)


def test_with_prefixes_every_address_of_them_is_for_pods(tmp_path: Path) -> None:
    node = make_cluster(LabOptions(kube=True, prefix_mode=True)).nodes[0]
    pool = Pool(node=node, file=tmp_path / "ipam.json")
    assert str(pool.assign(claim(1), now=1.0).address) == "192.168.1.32"


def test_ipamd_tells_of_the_pods_that_have_addresses_now(
    pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pathtap.lab.state.RUN", tmp_path)
    directory = StateDirectory("mine")
    assert occupied(directory, pool.node) == pool.node
    directory.kube_node(pool.node.name).mkdir(parents=True)
    pool_of(directory, pool.node).assign(claim(7), now=1.0)
    cluster = make_cluster(LabOptions(kube=True))
    enis = introspection(cluster, occupied(directory, pool.node))["/v1/enis"]["0"]
    assert (enis["AssignedIPs"], enis["TotalIPs"]) == (1, 18)
    told = enis["ENIs"][pool.node.primary.id]["AvailableIPv4Cidrs"]["192.168.1.41/32"]["IPAddresses"]["192.168.1.41"]
    assert told["IPAMMetadata"] == {"k8sPodNamespace": "shop", "k8sPodName": "cart-7", "interfacesCount": 1}
