"""ipset elements as `ipset save` 7.17 prints them; what matches was measured on 6.18."""

from ipaddress import ip_address

import pytest

from pathtap.forwarding.answer import Answer
from pathtap.forwarding.ipsets import IpSets
from pathtap.forwarding.packet import Packet
from pathtap.model.address import FiveTuple, Protocol
from pathtap.model.node import IpSet


def packet(
    source: str = "10.0.0.5", protocol: int = Protocol.TCP, destination: str = "10.1.0.5", **fields: object
) -> Packet:
    flow = FiveTuple(
        protocol=protocol,
        source=ip_address(source),
        source_port=1000,
        destination=ip_address(destination),
        destination_port=80,
    )
    given: dict[str, object] = {"in_interface": "x0", "out_interface": "x1", "mark": 7} | fields
    return Packet(five_tuple=flow, **given)  # type: ignore[arg-type]


def answer(
    kind: str, elements: tuple[str, ...] | None, ends: str, asked: Packet | None = None, **options: bool
) -> Answer:
    sets = IpSets([IpSet(name="s", kind=kind, family=4, elements=elements)])
    return sets.answer("s", tuple(end == "src" for end in ends.split(",")), asked or packet(), **options)


@pytest.mark.parametrize(
    ("kind", "elements", "ends", "expected"),
    [
        ("hash:ip", ("10.0.0.5", "10.0.0.6"), "src", "yes"),
        ("hash:ip", ("10.0.0.5",), "dst", "no"),
        ("hash:ip", ("10.0.0.5",), "src,dst", "yes"),
        ("hash:net", ("10.0.0.0/24",), "src", "yes"),
        ("hash:net", ("10.0.0.0/24", "10.0.0.5 nomatch"), "src", "no"),
        ("hash:net", ("10.0.0.0/25 nomatch", "10.0.0.5"), "src", "yes"),
        ("hash:ip,port", ("10.1.0.5,tcp:80",), "dst,dst", "yes"),
        ("hash:ip,port", ("10.1.0.5,udp:80",), "dst,dst", "no"),
        ("hash:ip,port", ("10.1.0.5,tcp:1000",), "dst,src", "yes"),
        ("hash:ip,port", ("10.1.0.5,tcp:80",), "dst", "no"),
        ("hash:net,port", ("10.1.0.0/16,tcp:80",), "dst,dst", "yes"),
        ("hash:ip,port,ip", ("10.1.0.5,tcp:80,10.0.0.5",), "dst,dst,src", "yes"),
        ("hash:ip,port,net", ("10.1.0.5,tcp:80,10.0.0.0/24",), "dst,dst,src", "yes"),
        ("hash:net,net", ("10.0.0.0/8,10.2.0.0/16", "10.0.0.0/8,10.1.0.0/16"), "src,dst", "yes"),
        ("hash:net,iface", ("10.0.0.0/24,x0",), "src,src", "yes"),
        ("hash:net,iface", ("10.0.0.0/24,x0",), "src,dst", "no"),
        ("hash:ip,mark", ("10.0.0.5,0x00000007",), "src,src", "yes"),
        ("bitmap:port", ("80",), "dst", "yes"),
        ("bitmap:port", ("70-79", "81-90"), "dst", "no"),
        ("bitmap:ip", ("10.0.0.0-10.0.0.9",), "src", "yes"),
        ("hash:ip", (), "src", "no"),
        # With a netmask.
        ("hash:ip", ("10.0.0.0/24",), "src", "yes"),
        ("hash:net,iface", ("10.0.0.0/24,x wildcard",), "src,src", "unknown"),
        ("hash:ip", None, "src", "unknown"),
        ("hash:mac", ("02:00:00:00:00:01",), "src", "unknown"),
        ("hash:net,iface", ("10.0.0.0/24,physdev:x0",), "src,src", "unknown"),
        ("hash:ip", ("garbled",), "src", "unknown"),
    ],
)
def test_a_packet_is_in_a_set(kind: str, elements: tuple[str, ...] | None, ends: str, expected: str) -> None:
    assert answer(kind, elements, ends) is Answer(expected)


def test_return_nomatch_asks_for_the_exceptions_alone() -> None:
    elements = ("10.0.0.0/24", "10.0.0.9 nomatch")
    exception = packet("10.0.0.9")
    assert answer("hash:net", elements, "src", exception) is Answer.NO
    assert answer("hash:net", elements, "src", exception, nomatch=True) is Answer.YES
    assert answer("hash:net", elements, "src", nomatch=True) is Answer.NO


def test_icmp_counts_its_type_as_the_port() -> None:
    ping = packet(protocol=Protocol.ICMP, icmp_type=8)
    for element in ("10.1.0.5,icmp:echo-request", "10.1.0.5,icmp:8/0"):
        assert answer("hash:ip,port", (element,), "dst,dst", ping) is Answer.YES
    assert answer("hash:ip,port", ("10.1.0.5,icmp:0/0",), "dst,dst", ping) is Answer.NO
    assert answer("hash:ip,port", ("10.1.0.5,icmp:8/0",), "dst,dst", packet(protocol=Protocol.ICMP)) is Answer.UNKNOWN
    assert answer("bitmap:port", ("8",), "dst", ping) is Answer.NO


def test_a_list_asks_each_of_its_sets() -> None:
    one = IpSet(name="one", kind="hash:ip", family=4, elements=("10.9.9.9",))
    two = IpSet(name="two", kind="hash:ip", family=4, elements=("10.0.0.5",))
    unread = IpSet(name="unread", kind="hash:ip", family=4, elements=None)

    def asked(*names: str) -> Answer:
        listed = IpSet(name="all", kind="list:set", family=4, elements=names)
        return IpSets([one, two, unread, listed]).answer("all", (True,), packet())

    assert (asked("one", "two"), asked("one"), asked("one", "unread")) == (Answer.YES, Answer.NO, Answer.UNKNOWN)
    assert asked("unread", "two") is Answer.YES
    assert asked("all") is Answer.UNKNOWN


def test_a_set_that_is_named_and_absent_is_unknown() -> None:
    assert IpSets().answer("nowhere", (True,), packet()) is Answer.UNKNOWN


def test_a_set_of_the_other_family_has_no_such_packet() -> None:
    six = packet("fd00::5", destination="fd00::6")
    assert answer("hash:net", ("10.0.0.0/8",), "src", six) is Answer.NO
    assert (
        IpSets([IpSet(name="s", kind="hash:net", family=6, elements=("fd00::/64",))]).answer("s", (True,), six)
        is Answer.YES
    )
