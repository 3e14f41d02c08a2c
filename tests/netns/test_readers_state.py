"""Ipsets, programs, counters and pods' interiors of namespaces on the real kernel, against what the kernel's tools print."""

import ctypes
import errno
import os
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from three_namespaces import DESTINATION, SOURCE, SOURCE6, SOURCE_VETH, Wires, run, wired

from pathtap.agent import namespaces
from pathtap.agent.interiors import read_interiors
from pathtap.agent.readers import counters, ebpf, ipsets, links, netlink, programs
from pathtap.agent.snapshot import SnapshotReader
from pathtap.model.node import IpSet, Role, RouteKind, TcProgram

pytestmark = pytest.mark.netns

# `ipset restore`; what each element is printed as by `ipset save`, but for the ones in REWORDED.
SETS = """
create networks hash:net
add networks 10.0.0.0/8
add networks 10.1.0.0/16 nomatch
add networks 10.2.3.4
create ports hash:ip,port timeout 300 counters comment
add ports 10.0.0.1,tcp:80 comment "hi there"
add ports 10.0.0.1,udp:53
add ports 10.0.0.1,sctp:9
create three hash:ip,port,net family inet6
add three fd00::1,udp:53,fd00:1::/32
create addresses hash:ip,port,ip
add addresses 10.0.0.1,tcp:80,10.0.0.2
create links hash:net,iface
add links 10.0.0.0/8,eth0
add links 11.0.0.0/8,physdev:eth1
add links 12.0.0.0/8,eni wildcard
create numbers bitmap:port range 0-1024
add numbers 80
add numbers 443
create macs bitmap:ip,mac range 10.0.0.0/24
add macs 10.0.0.1,02:00:00:00:00:AA
create nested list:set
add nested networks
create nobody hash:ip
"""
REWORDED = """
create masked hash:ip netmask 24
add masked 10.0.5.7
create echoes hash:ip,port
add echoes 10.0.0.1,icmp:echo-request
create echoes6 hash:ip,port family inet6
add echoes6 fd00::1,ipv6-icmp:echo-reply
"""


@pytest.fixture(scope="module")
def wires() -> Iterator[Wires]:
    with wired("state") as built:
        yield built


def restore(wires: Wires, text: str) -> None:
    run("ip", "netns", "exec", wires.node.name, "ipset", "restore", feed=text)


@pytest.fixture
def no_sets(wires: Wires) -> Iterator[Wires]:
    yield wires
    # A set that is in another cannot be destroyed.
    wires.command(wires.node, "ipset", "flush")
    wires.command(wires.node, "ipset", "destroy")


def sets(wires: Wires, **limits: Any) -> dict[str, IpSet]:
    return {ip_set.name: ip_set for ip_set in wires.on_node(lambda: ipsets.decode(ipsets.fetch(**limits)))}


def saved(wires: Wires) -> dict[str, set[str]]:
    """By set, its elements as `ipset save` prints them, without the options that say nothing of what they match."""
    found: dict[str, set[str]] = {}
    for line in wires.command(wires.node, "ipset", "save").splitlines():
        verb, name, *words = line.split()
        elements = found.setdefault(name, set())
        if verb == "add":
            elements.add(" ".join([words[0], *(word for word in words[1:] if word in ("nomatch", "wildcard"))]))
    return found


def test_sets_are_worded_as_ipset_save_words_them(no_sets: Wires) -> None:
    restore(no_sets, SETS)
    found = sets(no_sets)
    assert {name: set(ip_set.elements or ()) for name, ip_set in found.items()} == saved(no_sets)
    assert (found["networks"].kind, found["networks"].family) == ("hash:net", 4)
    assert (found["three"].kind, found["three"].family) == ("hash:ip,port,net", 6)
    assert found["nested"].family == found["numbers"].family == 0
    assert found["nobody"].elements == ()


def test_what_ipset_save_leaves_unsaid_is_worded_out(no_sets: Wires) -> None:
    restore(no_sets, REWORDED)
    assert {name: ip_set.elements for name, ip_set in sets(no_sets).items()} == {
        "masked": ("10.0.5.0/24",),
        "echoes": ("10.0.0.1,icmp:8/0",),
        "echoes6": ("fd00::1,ipv6-icmp:129/0",),
    }


def test_a_large_set_is_named_and_not_read(no_sets: Wires) -> None:
    crowd = "".join(f"add large 10.{high}.{low}.1\n" for high in range(8) for low in range(250))
    restore(no_sets, f"create small hash:ip\nadd small 10.0.0.1\ncreate large hash:ip\n{crowd}")
    assert {name: ip_set.elements for name, ip_set in sets(no_sets, most=1999).items()} == {
        "small": ("10.0.0.1",),
        "large": None,
    }
    whole = sets(no_sets, most=2000)["large"].elements
    assert whole is not None
    assert len(set(whole)) == 2000
    assert sets(no_sets, in_all=2000)["large"].elements is None


def test_a_namespace_without_sets_has_none(wires: Wires) -> None:
    assert sets(wires) == {}


# Programs.

PROG_TYPES = {"clsact": 3, "xdp": 6}
# What lets a packet go on: TC_ACT_UNSPEC, XDP_PASS.
PASSING = {"clsact": -1, "xdp": 2}


def load(kind: str, name: bytes) -> int:
    """`return PASSING`, as the two instructions that it is. A descriptor."""
    code = struct.pack("<BBhi", 0xB7, 0, 0, PASSING[kind]) + struct.pack("<BBhi", 0x95, 0, 0, 0)
    instructions, licence = ctypes.create_string_buffer(code), ctypes.create_string_buffer(b"GPL")
    pointers = ctypes.addressof(instructions), ctypes.addressof(licence)
    descriptor, _ = ebpf._bpf(5, struct.pack("=IIQQIIQII16s", PROG_TYPES[kind], 2, *pointers, 0, 0, 0, 0, 0, name))
    return descriptor


def attach(index: int) -> None:
    """By every means that there is, each to the hook that `test_programs` expects."""
    descriptors = {
        name: load(kind, name) for kind, name in (("clsact", b"classic"), ("clsact", b"express"), ("xdp", b"early"))
    }
    try:
        with netlink.rtnetlink() as socket:
            socket.tc("add", "clsact", index)
            socket.tc(
                "add-filter",
                "bpf",
                index,
                fd=descriptors[b"classic"],
                name="classic",
                parent=0xFFFFFFF3,
                classid=1,
                direct_action=True,
            )
            ebpf._bpf(8, struct.pack("=IIII", index, descriptors[b"express"], 46, 0))
            socket.link("set", index=index, xdp_fd=descriptors[b"early"])
    finally:
        for descriptor in descriptors.values():
            os.close(descriptor)


def found_programs() -> tuple[TcProgram, ...]:
    with netlink.rtnetlink() as socket:
        found = links.decode(*links.fetch(socket))
        tcx = ebpf.tcx_programs({link.index: link.name for link in found})
        return programs.decode(programs.fetch(socket, found, tcx), found)


def test_programs(wires: Wires) -> None:
    assert wires.on_node(found_programs) == ()
    index = wires.on_node(lambda: {name: index for index, name in netlink.interface_names().items()}[SOURCE_VETH])
    wires.on_node(lambda: attach(index))
    found = wires.on_node(found_programs)
    assert [(program.hook, program.kind, program.name) for program in found] == [
        ("xdp", "xdp", "early"),
        ("ingress", "tcx", "express"),
        ("egress", "bpf", "classic"),
    ]
    assert {program.interface for program in found} == {SOURCE_VETH}
    assert f" id {found[2].id} name classic " in wires.command(
        wires.node, "tc", "filter", "show", "dev", SOURCE_VETH, "egress"
    )
    assert f"prog/xdp id {found[0].id} " in run("ip", "-n", wires.node.name, "-d", "link", "show", SOURCE_VETH)
    assert found[1].id not in (0, found[0].id, found[2].id)


def test_a_classifier_that_is_no_bpf_is_named_by_its_kind(wires: Wires) -> None:
    run("ip", "-n", wires.destination.name, "link", "add", "hooked", "type", "veth", "peer", "name", "hooked-peer")
    for words in (
        ("qdisc", "add", "dev", "hooked", "ingress"),
        ("filter", "add", "dev", "hooked", "parent", "ffff:", "protocol", "ip", "u32", "match", "u32", "0", "0"),
    ):
        wires.command(wires.destination, "tc", *words)
    found = namespaces.run_in_namespace(wires.destination, found_programs)
    assert {(program.interface, program.hook, program.kind) for program in found} == {("hooked", "ingress", "u32")}


def test_counters_rise_with_what_they_count(wires: Wires) -> None:
    def read() -> dict[str, int]:
        return wires.on_node(lambda: counters.decode(counters.fetch()))

    before = read()
    ping(wires, "-c", "3", "-i", "0.01", str(DESTINATION))
    wires.command(wires.node, "sysctl", "-qw", f"net.ipv4.conf.{SOURCE_VETH}.rp_filter=1")
    run("ip", "-n", wires.source.name, "addr", "add", "10.211.7.7/32", "dev", "lo")
    ping(wires, "-c", "1", "-W", "0.1", "-I", "10.211.7.7", str(DESTINATION))
    after = read()
    risen = {name: after[name] - before[name] for name in after if after[name] != before[name]}
    assert risen["IpForwDatagrams"] == 6
    assert risen["TcpExtIPReversePathFilter"] == 1
    printed = wires.command(wires.node, "nstat", "-asz").splitlines()
    worded = {line.split()[0]: line.split()[1] for line in printed if not line.startswith("#")}
    assert {
        name: str(value) for name, value in after.items() if not name.startswith("conntrack.")
    }.items() <= worded.items()
    assert after["conntrack.insert_failed"] == 0


def ping(wires: Wires, *words: str) -> None:
    subprocess.run(["ip", "netns", "exec", wires.source.name, "ping", "-q", *words], check=False, capture_output=True)


# Interiors.


def test_the_inside_of_a_pod(wires: Wires) -> None:
    run("ip", "-n", wires.source.name, "neigh", "replace", "10.211.0.9", "lladdr", "02:00:00:00:00:09", "dev", "eth0")
    here = os.readlink("/proc/thread-self/ns/net")

    def read() -> Any:
        inside, before = (
            read_interiors((SOURCE, ip_address("10.211.0.99"), SOURCE6)),
            os.stat("/proc/thread-self/ns/net"),
        )
        return inside, before.st_ino

    (pod, stranger, by_ipv6), namespace = wires.on_node(read)
    assert namespace == wires.node.stat().st_ino
    assert os.readlink("/proc/thread-self/ns/net") == here
    assert pod.unread == ()
    assert {interface.name: interface.role for interface in pod.interfaces} == {"lo": Role.LOOPBACK, "eth0": Role.OTHER}
    eth0 = next(interface for interface in pod.interfaces if interface.name == "eth0")
    shown = run("ip", "-n", wires.source.name, "link", "show", "eth0")
    assert f"link/ether {eth0.mac} " in shown
    assert (eth0.mtu, str(eth0.addresses[0])) == (1500, "10.211.0.2/24")
    assert "10.211.0.0/16 via 10.211.0.1 dev eth0" in {
        route.text for route in pod.routes if route.kind is RouteKind.UNICAST
    }
    assert ("10.211.0.9", "02:00:00:00:00:09") in {(str(item.address), item.mac) for item in pod.neighbours}
    assert by_ipv6 == type(pod)(
        address=SOURCE6, interfaces=pod.interfaces, routes=pod.routes, neighbours=pod.neighbours
    )
    assert stranger.interfaces == ()
    assert "lead to holds 10.211.0.99" in stranger.unread[0].reason


def test_interiors_are_bounded_in_number_and_time(wires: Wires) -> None:
    first, second = wires.on_node(lambda: read_interiors((SOURCE, DESTINATION), most=1))
    assert (first.unread, second.unread[0].reason) == ((), "No more than 1 pods are looked into at once.")
    late = wires.on_node(lambda: read_interiors((SOURCE, DESTINATION), seconds=-1))
    assert [pod.unread[0].reason for pod in late] == ["The pods were not all looked into within -1 s."] * 2


def test_each_namespace_is_entered_once(wires: Wires, monkeypatch: pytest.MonkeyPatch) -> None:
    entered: list[Path] = []
    run_in_namespace = namespaces.run_in_namespace

    def counted(path: Path, function: Callable[[], Any]) -> Any:
        entered.append(path)
        return run_in_namespace(path, function)

    monkeypatch.setattr("pathtap.agent.interiors.run_in_namespace", counted)
    strangers = tuple(ip_address(f"10.211.0.{last}") for last in range(90, 99))
    found = wires.on_node(lambda: read_interiors((DESTINATION, *strangers, SOURCE)))
    assert sorted(entered) == sorted([wires.source, wires.destination])
    assert [bool(pod.interfaces) for pod in found] == [True, *[False] * 9, True]


def test_where_bpf_may_not_be_asked_classifiers_are_read_all_the_same(
    wires: Wires, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As under a container's seccomp profile."""

    def refused(*_: object) -> tuple[int, bytes]:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    run("ip", "-n", wires.node.name, "link", "add", "guarded", "type", "veth", "peer", "name", "guarded-peer")
    index = next(index for index, name in wires.on_node(netlink.interface_names).items() if name == "guarded")
    wires.on_node(lambda: attach(index))
    monkeypatch.setattr(ebpf, "_bpf", refused)
    reader = SnapshotReader("n", "b")
    snapshot = wires.on_node(lambda: reader.read(time.time_ns()))
    assert [(program.kind, program.name) for program in snapshot.programs if program.interface == "guarded"] == [
        ("xdp", ""),
        ("bpf", "classic"),
    ]
    reason = snapshot.could_not_read("programs (tcx)")
    assert reason == "bpf(2) does not tell which tcx programs are attached: Operation not permitted"
    assert snapshot.could_not_read("programs") is None


def test_a_snapshot_holds_them_all(no_sets: Wires) -> None:
    restore(no_sets, SETS)
    reader = SnapshotReader("n", "b")
    snapshot = no_sets.on_node(lambda: reader.read(time.time_ns(), (SOURCE,)))
    assert {unread.part for unread in snapshot.unread} <= {"imds", "ipamd"}
    assert [pod.address for pod in snapshot.interiors] == [SOURCE]
    assert {ip_set.name for ip_set in snapshot.ip_sets} == saved(no_sets).keys()
    assert "IpForwDatagrams" in snapshot.counters
    assert snapshot.settings is None
