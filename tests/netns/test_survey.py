"""The survey of a real kernel's connection tracking: which entries, whose ports, what was counted, and what comes meanwhile."""

import ctypes
import os
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from socket import AF_INET, AF_INET6

import pytest
from conntrack_entries import Entry, insert
from three_namespaces import run

from pathtap.agent.namespaces import run_in_namespace
from pathtap.agent.readers import conntrack, conntrack_socket, netlink
from pathtap.agent.readers.conntrack_messages import entry_of
from pathtap.agent.survey import survey
from pathtap.model.address import Socket
from pathtap.model.conntrack import ConntrackEntry
from pathtap.model.survey import EXPOSING, SurveyReport, SurveyRequest

pytestmark = pytest.mark.netns

NODE, SERVICE, BACKEND, OUTSIDE = "192.168.1.29", "10.100.0.10", "192.168.1.40", "198.51.100.8"
CART, SEARCH, CLIENT = "192.168.1.30", "192.168.1.31", "192.168.1.99"
NODE6, POD6, OUTSIDE6 = "fd00::29", "fd00::30", "2001:db8::8"


def out(
    source: str, port: int, translated: int, protocol: int = 6, destination: tuple[str, int] = (OUTSIDE, 443)
) -> Entry:
    return Entry(
        protocol=protocol, source=(source, port), destination=destination, reply_destination=(NODE, translated)
    )


TABLE = (
    # Towards one destination: two pods translated, the node's own with its port kept.
    out(CART, 40001, 51001),
    out(CART, 40002, 51002),
    out(SEARCH, 40001, 51003),
    out(NODE, 40009, 40009),
    # By a service's address to the same host, and to another.
    Entry(
        protocol=6,
        source=(CART, 40005),
        destination=(SERVICE, 80),
        reply_source=(OUTSIDE, 443),
        reply_destination=(NODE, 51005),
    ),
    Entry(protocol=6, source=(SEARCH, 40006), destination=(SERVICE, 80), reply_source=(BACKEND, 8080)),
    out(SEARCH, 40007, 51007, destination=(OUTSIDE, 80)),
    out(CART, 777, 4242, protocol=1, destination=(OUTSIDE, 0)),
    out(CART, 40008, 51008, protocol=17, destination=(OUTSIDE, 53)),
    # From outside to a pod: nobody's port is translated, though the client holds one.
    Entry(protocol=6, source=(CLIENT, 33000), destination=(CART, 8080), tcp_state=3),
    Entry(protocol=6, source=(POD6, 40001), destination=(OUTSIDE6, 443), reply_destination=(NODE6, 51001), tcp_state=3),
    Entry(protocol=58, source=(POD6, 778), destination=(OUTSIDE6, 0), reply_destination=(NODE6, 4243)),
    # What no node of the VPC CNI has, and others do.
    Entry(protocol=6, source=(CART, 40001), destination=(OUTSIDE, 8443), zone=7),
    Entry(protocol=6, source=(CART, 40002), destination=(OUTSIDE, 8443), zone=7, zone_direction=1),
    Entry(protocol=132, source=(CART, 40001), destination=(OUTSIDE, 8443)),
    Entry(protocol=47, source=(CART, 1), destination=(OUTSIDE, 2)),
    Entry(protocol=50, source=(CART, 0), destination=(OUTSIDE, 0)),
    Entry(protocol=50, source=(POD6, 0), destination=(OUTSIDE6, 0)),
)


class Table:
    """A namespace with nothing but a connection tracking table."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.path = Path("/run/netns") / name

    def insert(self, *entries: Entry) -> None:
        run_in_namespace(self.path, lambda: insert(entries))

    def survey(self, request: SurveyRequest) -> SurveyReport:
        return run_in_namespace(self.path, lambda: survey("n", request))


@pytest.fixture
def empty() -> Iterator[Table]:
    table = Table(f"srvy{os.getpid()}")
    run("ip", "netns", "add", table.name)
    try:
        yield table
    finally:
        subprocess.run(["ip", "netns", "del", table.name], check=False)


@pytest.fixture
def table(empty: Table) -> Table:
    empty.insert(*TABLE)
    return empty


def at(address: str, port: int) -> Socket:
    return Socket(ip_address(address), port)


def originals(report: SurveyReport) -> set[tuple[str, int]]:
    return {(str(entry.original.source), entry.original.source_port) for entry in report.entries}


def held(report: SurveyReport) -> Mapping[tuple[int, str, str, str], tuple[int, ...]]:
    return {
        (usage.protocol, str(usage.destination), str(usage.translated), str(usage.source)): usage.ports
        for usage in report.usage
    }


@pytest.mark.parametrize("family", [AF_INET, AF_INET6])
def test_every_entry_is_what_the_other_decoder_makes_of_it(table: Table, family: int) -> None:
    def both() -> tuple[set[ConntrackEntry], ...]:
        lean = [entry_of(body, "n") for body in conntrack_socket.dump(family)]
        with netlink.conntrack(family) as opened:
            other = conntrack.decode(netlink.conntrack_dump(opened, family, {}, "original"), "n")
        # A second may begin between the two.
        return tuple({replace(entry, timeout=0) for entry in found if entry} for found in (lean, other))

    lean, other = run_in_namespace(table.path, both)
    assert lean == other
    expected = [entry for entry in TABLE if (ip_address(entry.source[0]).version == 4) == (family == AF_INET)]
    assert len(lean) == len(expected)


@pytest.mark.parametrize(("protocol", "count"), [(6, 10), (17, 1), (1, 1), (132, 1), (50, 1)])
def test_the_kernel_passes_over_other_protocols(table: Table, protocol: int, count: int) -> None:
    bodies = run_in_namespace(table.path, lambda: list(conntrack_socket.dump(AF_INET, protocol)))
    found = [entry_of(body, "n") for body in bodies]
    assert [entry and entry.original.protocol for entry in found] == [protocol] * count


def test_without_sources_all_that_are_translated(table: Table) -> None:
    report = table.survey(SurveyRequest())
    assert report.unread == ()
    assert not report.missed
    assert len(report.entries) == 9
    assert all(entry.source_translation is not None for entry in report.entries)
    assert (report.count, report.left_off) == (len(TABLE), 0)
    assert report.most is not None
    assert report.most > len(TABLE)


def test_of_sources_all_that_they_have_translated_or_not(table: Table) -> None:
    report = table.survey(SurveyRequest(sources=(ip_address(SEARCH), ip_address(NODE))))
    assert originals(report) == {(SEARCH, 40001), (SEARCH, 40006), (SEARCH, 40007), (NODE, 40009)}


@pytest.mark.parametrize(
    ("destination", "protocol", "expected"),
    [
        (at(OUTSIDE, 443), 6, {(CART, 40001), (CART, 40002), (SEARCH, 40001), (CART, 40005)}),
        (at(OUTSIDE, 443), 0, {(CART, 40001), (CART, 40002), (SEARCH, 40001), (CART, 40005)}),
        (at(SERVICE, 80), 6, {(CART, 40005)}),
        (at(OUTSIDE, 0), 17, {(CART, 40008)}),
        (at(OUTSIDE, 443), 17, set()),
        (at(OUTSIDE, 0), 1, {(CART, 777)}),
        (at(OUTSIDE6, 443), 6, {(POD6, 40001)}),
        # ICMP is that of the destination's IP version, and has no port there.
        (at(OUTSIDE6, 443), 1, {(POD6, 778)}),
        (at("203.0.113.1", 0), 0, set()),
    ],
)
def test_a_destination_before_or_after_translation(
    table: Table, destination: Socket, protocol: int, expected: set[tuple[str, int]]
) -> None:
    assert originals(table.survey(SurveyRequest(destination=destination, protocol=protocol))) == expected


def test_who_holds_which_ports_towards_a_destination(table: Table) -> None:
    to = (6, f"{OUTSIDE}:443", NODE)
    expected = {(*to, CART): (51001, 51002, 51005), (*to, SEARCH): (51003,), (*to, NODE): (40009,)}
    for sources in ((), (ip_address(SEARCH),)):
        assert held(table.survey(SurveyRequest(sources=sources, destination=at(OUTSIDE, 443), protocol=6))) == expected


def test_a_services_ports_are_held_where_its_packets_go(table: Table) -> None:
    report = table.survey(SurveyRequest(destination=at(SERVICE, 80), protocol=6))
    assert held(report)[6, f"{BACKEND}:8080", SEARCH, SEARCH] == (40006,)
    # All who hold ports there, by whatever address they asked.
    assert held(report)[6, f"{OUTSIDE}:443", NODE, SEARCH] == (51003,)


def test_an_identifier_is_held_as_a_port_is(table: Table) -> None:
    assert held(table.survey(SurveyRequest(destination=at(OUTSIDE, 0), protocol=1))) == {
        (1, OUTSIDE, NODE, CART): (4242,)
    }


def test_without_a_destination_those_with_most_ports_where_something_is_translated(table: Table) -> None:
    crowd = [out(SEARCH, 1024 + number, 2048 + number, destination=("203.0.113.9", 5000)) for number in range(300)]
    busy = [out(CART, 1024 + number, 2048 + number, destination=("203.0.113.9", 5001)) for number in range(200)]
    table.insert(*crowd, *busy)
    report = table.survey(SurveyRequest())
    counts = [(str(usage.destination), len(usage.ports)) for usage in report.usage]
    assert counts[:2] == [("203.0.113.9:5000", 300), ("203.0.113.9:5001", 200)]
    assert len({(usage.protocol, usage.destination, usage.translated) for usage in report.usage}) == 5
    assert str(CLIENT) not in {str(usage.translated) for usage in report.usage}


def test_no_more_than_the_limit(table: Table) -> None:
    report = table.survey(SurveyRequest(limit=4))
    assert (len(report.entries), report.left_off) == (4, 5)
    assert table.survey(SurveyRequest(limit=0)).left_off == 9


def test_each_processors_counters_by_conntracks_names(table: Table) -> None:
    report = table.survey(SurveyRequest())
    assert [cpu.cpu for cpu in report.cpus] == list(range(len(report.cpus)))
    assert len(report.cpus) >= len(os.sched_getaffinity(0))
    assert all(set(cpu.counters) <= set(EXPOSING) for cpu in report.cpus)
    assert "insert_failed" in report.cpus[0].counters


def test_an_empty_table_is_read_and_empty(empty: Table) -> None:
    report = empty.survey(SurveyRequest(destination=at(OUTSIDE, 443)))
    assert (report.entries, report.usage, report.count, report.unread) == ((), (), 0, ())


# What comes while the survey follows.


def while_following(table: Table, request: SurveyRequest, act: Callable[[], None]) -> tuple[SurveyReport, float]:
    """The report, and how long it took; `act` is called 0.2 s after its beginning."""
    later = threading.Timer(0.2, act)
    later.start()
    started = time.monotonic()
    report = table.survey(request)
    elapsed = time.monotonic() - started
    later.join()
    return report, elapsed


def test_what_begins_meanwhile_comes_after_what_was_there_and_in_its_order(table: Table) -> None:
    new = [out(CART, 45000 + number, 60000 - number) for number in range(20)]
    others = [
        out(SEARCH, 45000, 60001),
        out(CART, 45000, 60002, protocol=17),
        out(CART, 45000, 60003, destination=(OUTSIDE, 80)),
    ]
    request = SurveyRequest(sources=(ip_address(CART),), destination=at(OUTSIDE, 443), protocol=6, follow=1.0)
    report, elapsed = while_following(table, request, lambda: table.insert(*new, *others))
    assert {entry.original.source_port for entry in report.entries[:3]} == {40001, 40002, 40005}
    assert [entry.original.source_port for entry in report.entries[3:]] == [45000 + number for number in range(20)]
    assert report.fresh == 20
    assert [entry.reply.destination_port for entry in report.entries[3:]] == [60000 - number for number in range(20)]
    assert 1.0 <= elapsed < 5
    # The ports in use are those of the table as it was.
    assert held(report)[6, f"{OUTSIDE}:443", NODE, CART] == (51001, 51002, 51005)


def test_of_more_than_the_limit_the_newest_stay(table: Table) -> None:
    new = [out(CART, 45000 + number, 60000 - number) for number in range(20)]
    request = SurveyRequest(sources=(ip_address(CART),), destination=at(OUTSIDE, 443), follow=0.8, limit=5)
    report, _ = while_following(table, request, lambda: table.insert(*new))
    assert [entry.original.source_port for entry in report.entries] == list(range(45015, 45020))
    assert (report.fresh, report.left_off) == (5, 3 + 15)


def test_it_ends_in_time_where_entries_come_without_end(empty: Table) -> None:
    done = threading.Event()

    def flood() -> None:
        for number in range(60_000):
            if done.is_set():
                return
            insert([out(CART, number, number + 1)])

    flooding = threading.Thread(target=lambda: run_in_namespace(empty.path, flood))
    flooding.start()
    try:
        started = time.monotonic()
        report = empty.survey(SurveyRequest(follow=0.5, limit=10))
        assert time.monotonic() - started < 5
    finally:
        done.set()
        flooding.join()
    assert len(report.entries) == 10
    assert report.left_off > 0


def test_what_the_kernel_refuses_is_a_sentence(table: Table) -> None:
    def unprivileged() -> SurveyReport:
        without_capabilities()
        return survey("n", SurveyRequest(follow=0.1))

    report = run_in_namespace(table.path, unprivileged)
    assert {unread.part for unread in report.unread} >= {"conntrack", "conntrack events"}
    assert {unread.reason for unread in report.unread if unread.part.startswith("conntrack")} == {
        "The kernel refused it: Operation not permitted. The agent needs CAP_NET_ADMIN."
    }


def without_capabilities() -> None:
    """Of the calling thread alone, as capset(2) does: version 3 of the header, then six empty sets."""
    header, none = struct.pack("=Ii", 0x20080522, 0), bytes(24)
    assert ctypes.CDLL(None, use_errno=True).capset(header, none) == 0


def test_a_kernel_that_tells_nothing_of_new_entries_is_unread_and_not_waited_for(table: Table) -> None:
    run("ip", "netns", "exec", table.name, "sysctl", "-qw", "net.netfilter.nf_conntrack_events=0")
    started = time.monotonic()
    report = table.survey(SurveyRequest(follow=30.0))
    assert time.monotonic() - started < 20
    assert [unread.part for unread in report.unread] == ["conntrack events"]
    assert "net.netfilter.nf_conntrack_events is 0" in report.unread[0].reason
    assert len(report.entries) == 9


def test_what_comes_while_the_table_is_read_is_told_once(empty: Table) -> None:
    """The table is read while entries come; each is in it or among the events, and none is counted twice."""
    empty.insert(*(out(SEARCH, 1 + number, 1 + number, protocol=17) for number in range(5_000)))
    flows = [out(CART, 1 + number, 2 + number) for number in range(3_000)]
    inserting = threading.Thread(target=lambda: empty.insert(*flows))
    inserting.start()
    report = empty.survey(SurveyRequest(sources=(ip_address(CART),), protocol=6, follow=1.5))
    inserting.join()
    assert not report.missed
    assert len(report.entries) == len(originals(report)) == 3_000
    assert report.left_off == 0


def test_what_the_table_had_and_an_event_told_of_is_fresh_and_the_rest_is_not(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Entries come between the beginning of the listening and the reading of the table: both tell of them."""
    dump = conntrack_socket.dump

    def dump_with_what_just_came(family: int, protocol: int) -> Iterator[bytes]:
        if family == AF_INET:
            insert([out(CART, 46000 + number, 50_000 - number) for number in range(7)])
        yield from dump(family, protocol)

    monkeypatch.setattr("pathtap.agent.survey.dump", dump_with_what_just_came)
    request = SurveyRequest(sources=(ip_address(CART),), destination=at(OUTSIDE, 443), protocol=6, follow=0.3)
    report = table.survey(request)
    assert [entry.original.source_port for entry in report.entries[-7:]] == [46000 + number for number in range(7)]
    assert (len(report.entries), report.fresh, report.left_off) == (3 + 7, 7, 0)
    # Without following nobody can tell what has just come.
    assert table.survey(replace(request, follow=0.0)).fresh == 0


def test_no_events_are_missed_while_a_large_table_is_read(empty: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    """Room for less than a hundred, and 600 come while the table is read."""
    monkeypatch.setattr(conntrack_socket, "EVENT_BYTES", 1 << 16)
    empty.insert(*(out(SEARCH, 1 + number, 1 + number, protocol=17) for number in range(6_000)))
    dump = conntrack_socket.dump

    def dump_while_entries_come(family: int, protocol: int) -> Iterator[bytes]:
        for number, body in enumerate(list(dump(family, protocol))):
            if number % 10 == 0:
                insert([out(CART, 1 + number, 10_000 + number)])
            yield body

    monkeypatch.setattr("pathtap.agent.survey.dump", dump_while_entries_come)
    report = empty.survey(SurveyRequest(sources=(ip_address(CART),), follow=0.1, limit=400))
    assert not report.missed
    assert [entry.original.source_port for entry in report.entries] == list(range(2001, 6001, 10))
    assert (report.fresh, report.left_off) == (400, 200)


@pytest.mark.parametrize("most", ["MOST_ENTRIES", "MOST_FOLLOW_SECONDS"])
def test_nothing_is_reported_or_followed_beyond_the_agents_own_bounds(
    table: Table, monkeypatch: pytest.MonkeyPatch, most: str
) -> None:
    monkeypatch.setattr("pathtap.agent.survey.MOST_FOLLOW_SECONDS", 0.3)
    monkeypatch.setattr("pathtap.agent.survey.MOST_ENTRIES", 4 if most == "MOST_ENTRIES" else 10_000)
    started = time.monotonic()
    report = table.survey(SurveyRequest(limit=2**32 - 1, follow=3600.0))
    assert time.monotonic() - started < 60
    assert (len(report.entries), report.left_off) == ((4, 5) if most == "MOST_ENTRIES" else (9, 0))


def test_events_that_nobody_could_read_in_time_are_told_as_missed(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Room for a few events alone, and many that come while the table is read."""
    monkeypatch.setattr(conntrack_socket, "EVENT_BYTES", 4096)
    dump = conntrack_socket.dump

    def dump_while_entries_come(family: int, protocol: int) -> Iterator[bytes]:
        if family == AF_INET:
            insert([out(CART, 46000 + number, 50_000 - number) for number in range(200)])
        yield from dump(family, protocol)

    monkeypatch.setattr("pathtap.agent.survey.dump", dump_while_entries_come)
    report = table.survey(SurveyRequest(sources=(ip_address(CART),), follow=0.1))
    assert report.missed
    # They were in the table, all the same.
    assert {(CART, 46000 + number) for number in range(200)} <= originals(report)
