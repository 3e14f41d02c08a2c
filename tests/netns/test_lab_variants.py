"""A spread of the CNI's switches, each built for itself: traffic flows, is translated where it should be, and the kernel
prints the rules that were meant."""

import os
import re
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from pathtap.agent.readers import cni_config, imds, ipamd, settings
from pathtap.lab.build import LabOptions, build, lab_namespaces, tear_down
from pathtap.lab.cluster import INTERNET, PEER, OutsideHost
from pathtap.lab.kernel import command_inside, inside
from pathtap.lab.procfs import roles
from pathtap.lab.rules import node_rules
from pathtap.lab.state import StateDirectory
from pathtap.lab.topology import WEB_NODE_PORT, Cluster, Node, Pod

pytestmark = pytest.mark.netns

PEERED = ("203.0.113.0/24",)
# Every two values of different switches that go together are together in one of these.
VARIANTS: dict[str, dict[str, object]] = {
    "native": {"chains": "native"},
    "nft-jump-kube-nftables-no-node-port": {"chains": "jump", "kube_proxy": "nftables", "node_port": False},
    "native-second-cidr-excluded-prefixes": {
        "chains": "native",
        "vpc_cidrs": 2,
        "exclude_cidrs": PEERED,
        "prefix_mode": True,
    },
    "native-custom-kube-nftables-no-node-port": {
        "chains": "native",
        "custom_networking": True,
        "kube_proxy": "nftables",
        "node_port": False,
    },
    "native-external-second-cidr-no-node-port": {
        "chains": "native",
        "external_snat": True,
        "vpc_cidrs": 2,
        "node_port": False,
    },
    "nft-external-prefixes-kube-nftables-excluded": {
        "external_snat": True,
        "prefix_mode": True,
        "kube_proxy": "nftables",
        "exclude_cidrs": PEERED,
    },
    "nft-jump-custom-excluded-prefixes": {
        "chains": "jump",
        "custom_networking": True,
        "exclude_cidrs": PEERED,
        "prefix_mode": True,
        "names": "ens",
    },
    "nft-kube-nftables-second-cidr-excluded": {"kube_proxy": "nftables", "vpc_cidrs": 2, "exclude_cidrs": PEERED},
    "legacy-external-custom": {"backend": "legacy", "external_snat": True, "custom_networking": True},
    "legacy-second-cidr-excluded-no-node-port": {
        "backend": "legacy",
        "vpc_cidrs": 2,
        "node_port": False,
        "exclude_cidrs": PEERED,
        "randomize": "none",
    },
    "legacy-jump-external-prefixes-no-node-port": {
        "backend": "legacy",
        "chains": "jump",
        "external_snat": True,
        "prefix_mode": True,
        "node_port": False,
    },
    "legacy-jump-second-cidr": {"backend": "legacy", "chains": "jump", "vpc_cidrs": 2, "names": "ens"},
}
ANSWER_SECONDS = 0.5


@pytest.fixture(scope="module", params=tuple(VARIANTS.values()), ids=tuple(VARIANTS))
def lab(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    options = LabOptions(prefix=f"v{os.getpid()}", **request.param)
    try:
        yield build(options)
    finally:
        tear_down(options.prefix)
        assert not lab_namespaces(options.prefix)
        assert not roles(options.prefix)
        assert not StateDirectory(options.prefix).path.exists()


def told(namespace: str, host: object, port: int) -> str:
    """What the listener says, or nothing where nobody answers in time."""

    def ask() -> str:
        try:
            with socket.create_connection((str(host), port), timeout=ANSWER_SECONDS) as made:
                return made.recv(100).decode().strip()
        except TimeoutError:
            return ""

    return inside(namespace, ask)


def source_there(node: Node, pod: Pod, host: OutsideHost) -> str:
    """As whom `host` knows the last connection of `pod`: where the kernel expects its answers to go."""
    selectors = ["-p", "tcp", "-s", str(pod.address), "-d", str(host.address)]
    entries = command_inside(node.network_namespace, ["conntrack", "-L", *selectors]).splitlines()
    found = re.search(rf"src={re.escape(str(host.address))} dst=(\S+)", entries[-1])
    assert found
    return found[1]


def test_pods_reach_pods_by_address_and_by_service(lab: Cluster) -> None:
    for source in ("shop/cart", "shop/search"):
        namespace = lab.pod(source).network_namespace
        for destination in ("shop/redis", "staging/redis"):
            assert told(namespace, lab.pod(destination).address, 6379) == destination
        assert told(namespace, "10.100.0.10", 6379) == "shop/redis"
        assert {told(namespace, "10.100.0.20", 80) for _ in range(20)} == {"shop/web", "shop/orders"}
        with pytest.raises(ConnectionRefusedError):
            told(namespace, "10.100.0.30", 80)


@pytest.mark.parametrize("source", ["shop/cart", "shop/search"])
@pytest.mark.parametrize("host", [INTERNET, PEER], ids=lambda host: host.name)
def test_hosts_outside_know_a_pod_by_the_address_that_the_switches_say(
    lab: Cluster, source: str, host: OutsideHost
) -> None:
    pod, node = lab.pod(source), lab.nodes[0]
    # The VPC drops what an ENI does not own: an answer says that it left by the right one.
    assert told(pod.network_namespace, host.address, 443) == host.name
    keeps = lab.options.external_snat or any(host.address in network for network in lab.options.excluded_networks)
    assert source_there(node, pod, host) == str(pod.address if keeps else node.address)


def test_a_node_port_leads_to_every_backend_whose_answer_can_come_back(lab: Cluster) -> None:
    backends = [pod for service in lab.services if service.node_port for pod, _ in service.backends]
    for node in lab.nodes:
        # Without node port support nothing leads the answer of a secondary ENI's pod back to the primary ENI.
        there = {pod.key for pod in backends if lab.options.node_port or not pod.device or pod not in node.pods}
        # At once: those that come to nothing cost their whole time.
        with ThreadPoolExecutor(16) as pool:
            asked = [pool.submit(told, lab.internet_namespace, node.address, WEB_NODE_PORT) for _ in range(16)]
        answers = {answer.result() for answer in asked}
        assert answers - {""} == there
        assert lab.options.node_port <= ("" not in answers)


def test_the_kernel_prints_back_the_rules_that_were_meant(lab: Cluster) -> None:
    node = lab.nodes[0]
    saved = command_inside(node.network_namespace, [f"iptables-{lab.options.backend}-save"])
    assert appended(saved) == appended(node_rules(lab, node))
    rules = command_inside(node.network_namespace, ["ip", "rule"])
    assert ("1024:" in rules) == (lab.options.node_port or not lab.options.external_snat)


def appended(text: str) -> dict[str, list[str]]:
    """Chain of a table → its rules in order."""
    found: dict[str, list[str]] = {}
    table = ""
    for line in text.splitlines():
        if line.startswith("*"):
            table = line
        elif line.startswith("-A "):
            found.setdefault(f"{table} {line.split()[1]}", []).append(line)
    return found


def test_connmark_is_native_where_that_was_asked_for(lab: Cluster) -> None:
    node = lab.nodes[0].network_namespace
    native = lab.options.chains == "native" and not lab.options.external_snat
    assert ("table ip aws-cni" in command_inside(node, ["nft", "list", "tables"])) == native
    if not native:
        return
    listed = command_inside(node, ["nft", "--stateless", "list", "chain", "ip", "aws-cni", "snat-mark"])
    returns = [line.split()[3] for line in listed.splitlines() if line.endswith("return")]
    exempt = [*map(str, lab.vpc_networks), *lab.options.exclude_cidrs]
    assert returns == exempt[::-1]


def test_the_metadata_service_and_ipamd_tell_what_the_lab_is(lab: Cluster) -> None:
    node, options = lab.nodes[0], lab.options
    metadata = inside(node.network_namespace, imds.fetch)
    told = inside(node.network_namespace, ipamd.fetch)
    by_imds = {eni.id: eni for eni in imds.decode(metadata)}
    by_ipamd = {eni.id: eni for eni in ipamd.decode(told.enis)}
    for eni in node.enis:
        assert set(by_imds[eni.id].addresses) == set(eni.owned)
        assert by_ipamd[eni.id].addresses == eni.delegated
    assert all(any(pod.address in network for network in node.eni_of(pod).delegated) for pod in node.pods)
    assert imds.vpc_networks(metadata) == lab.vpc_networks
    said = settings.decode(told.settings)
    assert (said.external_snat, said.node_port_support) == (options.external_snat, options.node_port)
    assert said.excluded_networks == options.excluded_networks


def test_the_cni_configuration_of_an_ipv4_node_has_the_egress_plugin_and_leaves_it_off(lab: Cluster) -> None:
    directory = StateDirectory(lab.options.prefix).cni_config(lab.nodes[0].name)
    plugin = cni_config.decode(cni_config.fetch(directory))
    assert plugin is not None
    assert (plugin.enabled, plugin.path) == (False, str(directory / "10-aws.conflist"))


def test_what_is_written_over_ipamds_settings_is_told_from_then_on(lab: Cluster) -> None:
    node, directory = lab.nodes[0].network_namespace, StateDirectory(lab.options.prefix)
    directory.write(directory.settings, {"AWS_VPC_K8S_CNI_CONNMARK": 256})
    try:
        assert settings.decode(inside(node, ipamd.fetch).settings).connmark == 256
    finally:
        directory.settings.unlink()
    assert settings.decode(inside(node, ipamd.fetch).settings).connmark == 128
