"""Interfaces, rules, routes and metadata of a node built on the real kernel, as the readers see them."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address, ip_network
from pathlib import Path
from socket import create_server
from socketserver import TCPServer
from threading import Event, Thread
from typing import Any

import pytest
from pyroute2 import netns

from pathtap import wire
from pathtap.agent.readers import ipamd, links, neighbours, netlink, nftables, routes, rules, sysctls
from pathtap.agent.readers.stores import Stored
from pathtap.agent.snapshot import SnapshotReader, read_snapshot
from pathtap.agent.worker import begin
from pathtap.model.node import CniSettings, NodeSnapshot, Role, table_name

pytestmark = pytest.mark.netns

# Input of `ip -batch`.
BATCHES = Path(__file__).parents[1] / "unit" / "agent" / "fixtures" / "nodes"
PRIMARY, SECONDARY = "0e:00:00:00:00:01", "0e:00:00:00:00:02"


class Node:
    def __init__(self, prefix: str) -> None:
        self.name, self.vpc, self.pod = (f"{prefix}{part}" for part in ("n", "v", "p"))

    def configure(self, name: str, family: int = 4) -> None:
        batch = (BATCHES / f"{name}.batch").read_text().replace("VPC", self.vpc).replace("POD", self.pod)
        subprocess.run(["ip", f"-{family}", "-n", self.name, "-batch", "-"], input=batch, check=True, text=True)

    def ip(self, *argv: str) -> str:
        return subprocess.run(["ip", "-n", self.name, *argv], check=True, capture_output=True, text=True).stdout

    def inside(self, read: Callable[[], Any]) -> Any:
        found: list[Any] = []

        def enter() -> None:
            netns.setns(self.name)
            found.append(read())

        thread = Thread(target=enter)
        thread.start()
        thread.join()
        return found[0]

    def netlink(self, read: Callable[[Any], Any]) -> Any:
        def opened() -> Any:
            with netlink.rtnetlink() as socket:
                return read(socket)

        return self.inside(opened)


@pytest.fixture
def node() -> Iterator[Node]:
    built = Node(f"rdnl{os.getpid()}")
    names = (built.name, built.vpc, built.pod)
    try:
        for name in names:
            subprocess.run(["ip", "netns", "add", name], check=True)
        built.configure("links")
        for namespace, far in ((built.vpc, ("far0", "far1", "far2")), (built.pod, ("eth0", "eth1"))):
            for name in far:
                subprocess.run(["ip", "-n", namespace, "link", "set", "dev", name, "up"], check=True)
        yield built
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False)


def roles(snapshot: NodeSnapshot) -> dict[str, Role]:
    return {interface.name: interface.role for interface in snapshot.interfaces}


ROLES = {
    "lo": Role.LOOPBACK,
    "ens5": Role.PRIMARY_ENI,
    "ens6": Role.SECONDARY_ENI,
    "vlan.eth.1": Role.BRANCH_ENI,
    "enipod0": Role.POD_VETH,
    "vlanpod0": Role.POD_VETH,
    "lone0": Role.OTHER,
    "near0": Role.OTHER,
    "near1": Role.OTHER,
}


def test_roles_without_metadata_come_from_routes_and_peers(node: Node) -> None:
    snapshot = node.inside(lambda: read_snapshot("n", "b", 1))
    assert roles(snapshot) == ROLES
    pods = {interface.name: interface.pod_addresses for interface in snapshot.interfaces if interface.pod_addresses}
    assert pods == {"enipod0": (ip_address("192.168.1.116"),), "vlanpod0": (ip_address("192.168.3.77"),)}
    assert all(not interface.eni_id for interface in snapshot.interfaces)
    assert not snapshot.could_not_read("links")
    assert snapshot.could_not_read("ipamd") == "127.0.0.1:61679: Connection refused"
    assert snapshot.sysctls["net.ipv4.conf.vlan.eth.1.rp_filter"] in "012"
    assert snapshot.sysctls["net.ipv4.ip_forward"] == "0"


def test_rules_are_read_and_worded_as_ip_rule_prints_them(node: Node) -> None:
    node.configure("rules")
    node.configure("rules6", family=6)
    found = node.netlink(lambda socket: rules.decode(rules.fetch(socket)))
    for family in (4, 6):
        printed = [" ".join(line.split()) for line in node.ip(f"-{family}", "rule").splitlines()]
        assert [f"{rule.priority}: {rule.text}" for rule in found if rule.family == family] == printed
    by_priority = {rule.priority: rule for rule in found if rule.family == 4}
    assert by_priority[1102].mark == 0
    assert by_priority[1102].mask == 0x80
    assert by_priority[1106].unmodelled == ("uidrange 1000-1010", "suppress_ifgroup 4")
    assert by_priority[1107].unmodelled == ("tun_id 77",)
    assert all(not rule.unmodelled for priority, rule in by_priority.items() if priority not in (1106, 1107))


def test_routes_are_read_and_worded_as_ip_route_prints_them(node: Node) -> None:
    node.configure("routes")
    node.configure("routes6", family=6)

    def read(socket: Any) -> Any:
        names = {link.index: link.name for link in links.decode(*links.fetch(socket))}
        return routes.decode(routes.fetch(socket), names)

    found = node.netlink(read)
    for family in (4, 6):
        tables = {route.table for route in found if route.family == family}
        assert tables == ({2, 9, 101, 254, 255} if family == 4 else {254, 255})
        for table in tables:
            printed = node.ip(f"-{family}", "route", "show", "table", str(table)).replace("\n\t", " ").splitlines()
            mine = [route.text for route in found if (route.family, route.table) == (family, table)]
            assert sorted(mine) == sorted(" ".join(line.split()) for line in printed), table_name(table)


def test_neighbours_are_read_with_their_state(node: Node) -> None:
    node.ip("neigh", "add", "192.168.1.116", "lladdr", "02:00:00:00:00:aa", "dev", "enipod0", "nud", "permanent")
    node.ip("-6", "neigh", "add", "fe80::1", "lladdr", "02:00:00:00:00:bb", "dev", "ens5", "nud", "stale")
    found = node.netlink(lambda socket: neighbours.decode(neighbours.fetch(socket), {}))
    states = {str(item.address): (item.mac, item.state) for item in found}
    assert states["192.168.1.116"] == ("02:00:00:00:00:aa", "permanent")
    assert states["fe80::1"] == ("02:00:00:00:00:bb", "stale")


IMDS = {
    f"{PRIMARY}/interface-id": "eni-0a1f",
    f"{PRIMARY}/device-number": "0",
    f"{PRIMARY}/local-ipv4s": "192.168.1.29\n192.168.1.116",
    f"{PRIMARY}/vpc-ipv4-cidr-blocks": "192.168.0.0/16\n100.64.0.0/16",
    f"{PRIMARY}/vpc-ipv6-cidr-blocks": "2001:db8::/56",
    f"{SECONDARY}/interface-id": "eni-0b77",
    f"{SECONDARY}/device-number": "1",
    f"{SECONDARY}/network-card": "0",
    f"{SECONDARY}/local-ipv4s": "192.168.2.40",
    f"{SECONDARY}/ipv4-prefix": "192.168.2.64/28",
}


class Server(ThreadingHTTPServer):
    def server_bind(self) -> None:
        """Without HTTPServer's look-up of its own name, which waits for a resolver."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "metadata", self.server_address[1]


class Metadata(BaseHTTPRequestHandler):
    """IMDSv2 and ipamd's introspection, each at its own address."""

    protocol_version = "HTTP/1.1"

    def do_PUT(self) -> None:
        asks = self.path == "/latest/api/token" and self.headers["X-aws-ec2-metadata-token-ttl-seconds"]
        self.answer("token" if asks else None)

    def do_GET(self) -> None:
        macs = "/latest/meta-data/network/interfaces/macs/"
        if self.path == "/v1/enis":
            infos = {
                "ENIs": {
                    "eni-0b77": {"ID": "eni-0b77", "DeviceNumber": 1, "AvailableIPv4Cidrs": {"192.168.2.9/32": {}}}
                }
            }
            self.answer(json.dumps({"0": infos}))
        elif self.path == "/v1/networkutils-env-settings":
            self.answer(json.dumps({"AWS_VPC_K8S_CNI_EXTERNALSNAT": True, "AWS_VPC_K8S_CNI_CONNMARK": 128}))
        elif self.headers["X-aws-ec2-metadata-token"] != "token":
            self.send_error(401)
        elif self.path == macs:
            self.answer(f"{PRIMARY}/\n{SECONDARY}/")
        else:
            self.answer(IMDS.get(self.path.removeprefix(macs)))

    def answer(self, text: str | None) -> None:
        self.send_response(404 if text is None else 200)
        body = (text or "").encode()
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


def test_enis_are_known_by_what_imds_and_ipamd_say(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    node.ip("addr", "add", "169.254.169.254/32", "dev", "lo")
    servers = [
        node.inside(partial(Server, address, Metadata))
        for address in (("169.254.169.254", 80), ("127.0.0.1", ipamd.PORT))
    ]
    threads = [Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}) for server in servers]
    for thread in threads:
        thread.start()
    reader = SnapshotReader("n", "b")
    try:
        snapshot = node.inside(lambda: reader.read(1))
    finally:
        for server, thread in zip(servers, threads, strict=True):
            server.shutdown()
            thread.join()
            server.server_close()
    assert snapshot.unread == ()
    assert roles(snapshot) == ROLES
    assert {item.name: item.eni_id for item in snapshot.interfaces if item.eni_id} == {
        "ens5": "eni-0a1f",
        "ens6": "eni-0b77",
    }
    secondary = snapshot.interface("ens6")
    assert secondary is not None
    assert [str(network) for network in secondary.eni_addresses] == [
        "192.168.2.40/32",
        "192.168.2.64/28",
        "192.168.2.9/32",
    ]
    assert snapshot.settings == CniSettings(external_snat=True)
    assert [str(network) for network in snapshot.vpc_networks] == ["192.168.0.0/16", "100.64.0.0/16", "2001:db8::/56"]
    assert ip_network("192.168.1.116/32") in snapshot.interface("ens5").eni_addresses
    # The services have gone; IMDS is remembered, ipamd is not.
    later = node.inside(lambda: reader.read(29 * 10**9))
    assert later.interface("ens6").eni_id == "eni-0b77"
    assert [unread.part for unread in later.unread] == ["ipamd"]
    assert (later.settings, later.vpc_networks) == (None, snapshot.vpc_networks)
    assert {unread.part for unread in node.inside(lambda: reader.read(31 * 10**9)).unread} == {"imds", "ipamd"}


def test_a_silent_metadata_service_costs_a_second_once(node: Node) -> None:
    node.ip("route", "add", "169.254.169.254", "dev", "ens5")
    node.ip("neigh", "add", "169.254.169.254", "lladdr", "02:00:00:00:00:aa", "dev", "ens5", "nud", "permanent")
    reader = SnapshotReader("n", "b")
    started = time.monotonic()
    snapshot = node.inside(lambda: reader.read(1))
    first = time.monotonic() - started
    assert snapshot.could_not_read("imds") == "169.254.169.254:80 did not answer within 1 s"
    assert roles(snapshot) == ROLES
    assert node.inside(lambda: reader.read(2)).could_not_read("imds") == snapshot.could_not_read("imds")
    assert 1.0 <= first < 1.5
    assert time.monotonic() - started - first < 0.7


def test_a_silent_ipamd_is_waited_for_once(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """It listens and never answers: half a deadline for each of two questions would be told twice, and each time."""
    node.ip("route", "add", "unreachable", "169.254.169.254")
    silent = node.inside(lambda: create_server(("127.0.0.1", ipamd.PORT)))
    reader = SnapshotReader("n", "b")
    with closing(silent):
        first = node.inside(lambda: reader.read(1))
        assert first.could_not_read("ipamd") == "127.0.0.1:61679 did not answer within 1 s"
        assert first.could_not_read("settings") is None
        asked: list[str] = []
        monkeypatch.setattr(ipamd, "fetch", lambda: asked.append("again"))
        assert node.inside(lambda: reader.read(29 * 10**9)).could_not_read("ipamd") == first.could_not_read("ipamd")
        assert asked == []


def test_arming_waits_for_no_rule_set(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tens of thousands of rules take seconds to read, and a capture is armed while they are."""
    node.ip("route", "add", "unreachable", "169.254.169.254")
    reading, go_on = Event(), Event()

    def slow() -> Stored:
        reading.set()
        assert go_on.wait(10)
        return Stored()

    monkeypatch.setattr(nftables, "read", slow)
    reader = SnapshotReader("n", "b")
    snapshot = begin(lambda: node.inside(lambda: reader.read(1)))
    assert reading.wait(5)
    started = time.monotonic()
    interfaces = node.inside(lambda: reader.interfaces(2))
    assert time.monotonic() - started < 1
    assert {item.name: item.role for item in interfaces} == ROLES
    assert not snapshot.done()
    go_on.set()
    assert snapshot.result().interfaces == interfaces


def test_the_interfaces_of_a_fresh_snapshot_serve_to_arm(node: Node) -> None:
    reader = SnapshotReader("n", "b")
    seen = node.inside(lambda: reader.read(1)).interfaces
    node.ip("link", "set", "ens6", "down")
    assert node.inside(lambda: reader.interfaces(2 * 10**9)) == seen
    later = {item.name: item.up for item in node.inside(lambda: reader.interfaces(2 * 10**9 + 2))}
    assert not later["ens6"]


def test_a_name_of_any_bytes_is_read_and_sent(node: Node) -> None:
    """dev_valid_name refuses `/`, `:` and white space alone."""
    strange = b"v\xff\x1b[1m"
    subprocess.run(["ip", "-n", node.name, "link", "set", "ens6", "down"], check=True)
    subprocess.run([b"ip", b"-n", node.name.encode(), b"link", b"set", b"ens6", b"name", strange], check=True)
    subprocess.run([b"ip", b"-n", node.name.encode(), b"link", b"set", strange, b"up"], check=True)
    subprocess.run([b"ip", b"-n", node.name.encode(), b"rule", b"add", b"iif", strange, b"lookup", b"9"], check=True)
    snapshot = node.inside(lambda: read_snapshot("n", "b", 1))
    shown = "v\\xff\x1b[1m"
    assert snapshot.interface(shown) is not None
    assert f"net.ipv4.conf.{shown}.rp_filter" in snapshot.sysctls
    assert [rule.in_interface for rule in snapshot.rules if rule.table == 9] == [shown]
    assert shown in node.inside(netlink.interface_names).values()
    assert wire.snapshot_from_wire(wire.snapshot_to_wire(snapshot)) == snapshot


def test_sysctls_of_the_namespace_are_read(node: Node) -> None:
    subprocess.run(["ip", "netns", "exec", node.name, "sysctl", "-qw", "net.ipv4.conf.ens5.rp_filter=2"], check=True)
    found = node.inside(lambda: sysctls.decode(sysctls.fetch()))
    assert found["net.ipv4.conf.ens5.rp_filter"] == "2"
    assert {"net.ipv4.conf.all.forwarding", "net.netfilter.nf_conntrack_count"} <= found.keys()
