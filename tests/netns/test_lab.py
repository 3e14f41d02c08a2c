"""Two labs side by side, one of each backend, name style and chain form: everything holds in both."""

import http.client
import json
import os
import re
import socket
from collections.abc import Callable, Iterator

import pytest

from pathtap.lab.build import LabOptions, build, find, lab_namespaces, tear_down
from pathtap.lab.errors import LabError
from pathtap.lab.inventory import inventory
from pathtap.lab.kernel import command, command_inside, inside
from pathtap.lab.processes import start
from pathtap.lab.procfs import roles
from pathtap.lab.rules import node_rules
from pathtap.lab.state import StateDirectory
from pathtap.lab.status import status
from pathtap.lab.topology import INTERNET_HOST, UDP_ECHO_PORT, Cluster, Eni

pytestmark = pytest.mark.netns

OPTIONS = (
    LabOptions(prefix=f"t{os.getpid()}a", backend="nft", names="eth", chains="return"),
    LabOptions(prefix=f"t{os.getpid()}b", backend="legacy", names="ens", chains="jump", nodes=3),
)
SILENCE = 0.3


@pytest.fixture(scope="module")
def labs() -> Iterator[tuple[Cluster, ...]]:
    try:
        yield tuple(build(options) for options in OPTIONS)
    finally:
        for options in OPTIONS:
            tear_down(options.prefix)


@pytest.fixture(scope="module", params=[0, 1], ids=["nft-eth-return", "legacy-ens-jump"])
def lab(request: pytest.FixtureRequest, labs: tuple[Cluster, ...]) -> Cluster:
    chosen: int = request.param
    return labs[chosen]


def connect(lab: Cluster, source: str, host: str, port: int) -> str:
    """The line that the listener says to the pod `source`."""

    def ask() -> str:
        with socket.create_connection((host, port), timeout=SILENCE) as made:
            return made.recv(100).decode().strip()

    return inside(lab.pod(source).network_namespace, ask)


def ping(lab: Cluster, source: str, destination: object, count: int = 1) -> str:
    argv = ["ping", "-n", "-c", str(count), "-i", "0.01", "-W", "1", str(destination)]
    return command_inside(lab.pod(source).network_namespace, argv)


def conntrack(namespace: str, *selectors: str) -> list[str]:
    return command_inside(namespace, ["conntrack", "-L", *selectors]).splitlines()


def sent(lab: Cluster, eni: Eni) -> int:
    """How many frames the node has put on `eni`."""
    links = json.loads(
        command_inside(lab.nodes[0].network_namespace, ["ip", "-j", "-s", "link", "show", eni.interface])
    )
    return int(links[0]["stats64"]["tx"]["packets"])


def leaves_by(lab: Cluster, send: Callable[[], object], packets: int) -> list[str]:
    """The names of node 1's ENIs that put at least `packets` frames on the wire while `send` ran."""
    enis = lab.nodes[0].enis
    before = [sent(lab, eni) for eni in enis]
    send()
    return [eni.interface for eni, count in zip(enis, before, strict=True) if sent(lab, eni) - count >= packets]


def test_a_ping_between_nodes_has_the_ttl_that_eks_shows(lab: Cluster) -> None:
    assert "ttl=62" in ping(lab, "shop/cart", lab.pod("shop/redis").address)


@pytest.mark.parametrize(("source", "device"), [("shop/cart", 0), ("shop/search", 1)])
def test_pod_to_vpc_leaves_by_the_pods_own_eni_untranslated(lab: Cluster, source: str, device: int) -> None:
    node, there = lab.nodes[0], lab.pod("staging/redis").address
    assert leaves_by(lab, lambda: ping(lab, source, there, 20), 20) == [node.enis[device].interface]
    address = str(lab.pod(source).address)
    entries = conntrack(node.network_namespace, "-p", "icmp", "-s", address, "-d", str(there))
    assert f"dst={address} type=0" in entries[0]
    assert "mark=0" in entries[0]


@pytest.mark.parametrize("source", ["shop/cart", "shop/search"])
def test_pod_to_internet_leaves_by_the_primary_eni_as_the_node(lab: Cluster, source: str) -> None:
    node = lab.nodes[0]
    assert leaves_by(lab, lambda: ping(lab, source, INTERNET_HOST, 20), 20) == [node.primary.interface]
    entries = conntrack(node.network_namespace, "-p", "icmp", "-s", str(lab.pod(source).address))
    entry = next(line for line in entries if f"dst={INTERNET_HOST}" in line)
    before, after = re.findall(r"id=(\d+)", entry)
    assert f"dst={node.address} type=0" in entry
    assert "mark=128" in entry
    # --random-fully draws a new identifier; the same one by chance is 1 in 65,536.
    assert before != after


def test_pods_of_one_node_reach_each_other_without_the_vpc(lab: Cluster) -> None:
    there = lab.pod("shop/search").address
    assert "ttl=63" in ping(lab, "shop/cart", there)
    assert leaves_by(lab, lambda: ping(lab, "shop/cart", there, 20), 20) == []


def test_a_service_address_leads_to_its_backends(lab: Cluster) -> None:
    assert connect(lab, "shop/cart", "10.100.0.10", 6379) == "shop/redis"
    answers = {connect(lab, "shop/search", "10.100.0.20", 80) for _ in range(30)}
    assert answers == {"shop/web", "shop/orders"}


def test_a_service_without_endpoints_refuses(lab: Cluster) -> None:
    with pytest.raises(ConnectionRefusedError):
        connect(lab, "shop/cart", "10.100.0.30", 80)


def test_a_pod_reaches_itself_through_its_service_masqueraded(lab: Cluster) -> None:
    answers = {connect(lab, "shop/web", "10.100.0.20", 80) for _ in range(30)}
    assert answers == {"shop/web", "shop/orders"}


def test_everything_listens_where_the_inventory_says(lab: Cluster) -> None:
    for pod in lab.pods:
        for port in pod.tcp_ports:
            if pod.key != "shop/cart":
                assert connect(lab, "shop/cart", str(pod.address), port) == pod.key
    for node in lab.nodes:
        assert connect(lab, "shop/search", str(node.address), 9100) == node.name
    assert connect(lab, "shop/search", str(INTERNET_HOST), 443) == "internet"


def test_a_datagram_comes_back(lab: Cluster) -> None:
    hosts = [str(pod.address) for pod in lab.pods] + [str(INTERNET_HOST), str(lab.nodes[1].address)]

    def ask() -> list[str]:
        answers = []
        for host in hosts:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
                made.settimeout(1)
                made.connect((host, UDP_ECHO_PORT))
                made.send(host.encode())
                answers.append(made.recv(100).decode())
        return answers

    assert inside(lab.pod("shop/search").network_namespace, ask) == hosts


def test_the_kernel_prints_the_rules_back_word_for_word(lab: Cluster) -> None:
    node = lab.nodes[0]
    saved = command_inside(node.network_namespace, [f"iptables-{lab.options.backend}-save"])
    assert by_chain(saved) == by_chain(node_rules(lab, node))


def by_chain(text: str) -> dict[tuple[str, str], list[str]]:
    """(table, chain) → its rules in order; the tables and chains themselves have none that matters."""
    found: dict[tuple[str, str], list[str]] = {}
    table = ""
    for line in text.splitlines():
        if line.startswith("*"):
            table = line[1:]
        elif line.startswith(":"):
            found[table, line[1:].split()[0]] = []
        elif line.startswith("-A "):
            found[table, line.split()[1]].append(line)
    return found


def test_a_nodes_rules_are_in_one_backend_alone(lab: Cluster) -> None:
    def tables() -> str:
        with open("/proc/thread-self/net/ip_tables_names") as names:
            return names.read()

    there = inside(lab.nodes[0].network_namespace, tables).split()
    ruleset = command_inside(lab.nodes[0].network_namespace, ["nft", "list", "tables"])
    if lab.options.backend == "nft":
        assert there == []
        assert "table ip nat" in ruleset
    else:
        assert sorted(there) == ["filter", "mangle", "nat"]
        assert ruleset == ""


def test_ip_rules_and_routes_are_those_of_the_cni(lab: Cluster) -> None:
    node = lab.nodes[0]
    rules = command_inside(node.network_namespace, ["ip", "rule"]).replace("\t", " ").splitlines()
    assert rules == [
        "0: from all lookup local",
        "512: from all to 192.168.1.41 lookup main",
        "512: from all to 192.168.1.42 lookup main",
        "512: from all to 192.168.1.116 lookup main",
        "1024: from all fwmark 0x80/0x80 lookup main",
        "1536: from 192.168.1.116 lookup 2",
        "32765: from 192.168.1.87 lookup 2",
        "32766: from all lookup main",
        "32767: from all lookup default",
    ]
    secondary = node.secondary.interface
    table = command_inside(node.network_namespace, ["ip", "route", "show", "table", "2"])
    assert [line.strip() for line in table.splitlines()] == [
        f"default via 192.168.1.1 dev {secondary}",
        f"192.168.1.1 dev {secondary} scope link",
    ]
    main = command_inside(node.network_namespace, ["ip", "route"])
    assert secondary not in main
    assert f"192.168.1.116 dev {lab.pod('shop/search').veth} scope link" in main


def test_a_pod_is_wired_as_the_cni_wires_it(lab: Cluster) -> None:
    pod = lab.pod("shop/search")
    routes = command_inside(pod.network_namespace, ["ip", "route"]).splitlines()
    assert [line.strip() for line in routes] == ["default via 169.254.1.1 dev eth0", "169.254.1.1 dev eth0 scope link"]
    neighbour = command_inside(pod.network_namespace, ["ip", "neigh", "show", "169.254.1.1"])
    assert neighbour.strip() == f"169.254.1.1 dev eth0 lladdr {pod.host_mac} PERMANENT"


def test_the_vpc_drops_what_an_eni_does_not_own(lab: Cluster) -> None:
    dropped = source_check_drops(lab)
    node = lab.nodes[0]
    pod = str(lab.pod("shop/search").address)
    # Out by the primary ENI with an address of the secondary one.
    command_inside(node.network_namespace, ["ip", "rule", "add", "priority", "1", "from", pod, "lookup", "main"])
    try:
        with pytest.raises(TimeoutError):
            connect(lab, "shop/search", str(lab.pod("shop/redis").address), 6379)
    finally:
        command_inside(node.network_namespace, ["ip", "rule", "del", "priority", "1"])
    assert source_check_drops(lab) > dropped


def source_check_drops(lab: Cluster) -> int:
    saved = command_inside(lab.vpc_namespace, [f"iptables-{lab.options.backend}-save", "-c", "-t", "mangle"])
    found = re.search(r"\[(\d+):\d+\] -A SOURCE-CHECK -i eni-\+ -j DROP", saved)
    assert found
    return int(found[1])


def test_a_node_asks_the_real_protocols_for_its_enis(lab: Cluster) -> None:
    node = lab.nodes[1]

    def ask() -> tuple[int, str, dict[str, object]]:
        imds = "169.254.169.254"
        refused = fetch(imds, 80, "GET", "/latest/meta-data/mac", {})[0]
        ttl = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
        _, token = fetch(imds, 80, "PUT", "/latest/api/token", ttl)
        path = f"/latest/meta-data/network/interfaces/macs/{node.secondary.mac}/interface-id"
        _, eni_id = fetch(imds, 80, "GET", path, {"X-aws-ec2-metadata-token": token})
        _, enis = fetch("127.0.0.1", 61679, "GET", "/v1/enis", {})
        return refused, eni_id, json.loads(enis)["0"]["ENIs"]

    refused, eni_id, enis = inside(node.network_namespace, ask)
    assert refused == 401
    assert eni_id == node.secondary.id
    assert set(enis) == {eni.id for eni in node.enis}


def fetch(host: str, port: int, method: str, path: str, headers: dict[str, str]) -> tuple[int, str]:
    connection = http.client.HTTPConnection(host, port, timeout=1)
    connection.request(method, path, headers=headers)
    response = connection.getresponse()
    body = response.read().decode()
    connection.close()
    return response.status, body


def test_the_inventory_file_is_what_the_cluster_is(lab: Cluster) -> None:
    written = StateDirectory(lab.options.prefix).inventory.read_text()
    assert json.loads(written) == inventory(lab)


def test_a_lab_is_found_again_and_not_built_twice(lab: Cluster) -> None:
    assert find(lab.options.prefix) == lab
    with pytest.raises(LabError, match=f"pathtap lab down --prefix {lab.options.prefix}"):
        build(lab.options)
    assert set(lab_namespaces(lab.options.prefix)) == set(lab.network_namespaces)


def test_nothing_of_a_lab_is_in_the_root_namespace(lab: Cluster) -> None:
    names = {link["ifname"] for link in json.loads(command(["ip", "-j", "link"]))}
    assert not names & {eni.port for node in lab.nodes for eni in node.enis}
    assert not names & {pod.veth for pod in lab.pods}


def test_the_status_shows_what_is_there(lab: Cluster) -> None:
    text = status(lab.options.prefix)
    assert f"listeners    pid {roles(lab.options.prefix)['listeners']}" in text
    assert all(name in text for name in lab.network_namespaces)
    assert "(gone)" not in text


def test_a_collector_that_is_not_ready_is_named_with_its_log(lab: Cluster) -> None:
    with pytest.raises(LabError, match=r"The lab's collector .*/collector\.log"):
        start(lab, timeout=0)
    assert set(roles(lab.options.prefix)) == {"listeners"}
