"""Entries of connection tracking from the bytes of ctnetlink's messages, whatever they are of, and whole or not."""

from ipaddress import ip_address

import pytest
from conntrack_entries import Entry, attribute, message
from hypothesis import given, settings
from hypothesis import strategies as st

from pathtap.agent.readers.conntrack_messages import entry_of, original_of, reply_of, tuples_of
from pathtap.model.address import FiveTuple, Socket

NLMSGHDR = 16
FOUR, SIX = "10.0.0.5", "fd00::5"
PORT = st.integers(0, 65535)
ENDS = {4: st.ip_addresses(v=4).map(str), 6: st.ip_addresses(v=6).map(str)}


def body(entry: Entry) -> bytes:
    return message(entry)[NLMSGHDR:]


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    version = draw(st.sampled_from([4, 6]))
    protocol = draw(st.sampled_from([6, 17, 33, 132, 136]))
    ends = [(draw(ENDS[version]), draw(PORT)) for _ in range(4)]
    return Entry(
        protocol=protocol,
        source=ends[0],
        destination=ends[1],
        reply_source=ends[2],
        reply_destination=ends[3],
        mark=draw(st.integers(0, 2**32 - 1)),
        timeout=draw(st.integers(0, 2**31)),
        zone=draw(st.sampled_from([0, 0, 7])),
        zone_direction=draw(st.sampled_from([0, 1])),
    )


def five_tuple(protocol: int, source: tuple[str, int], destination: tuple[str, int]) -> FiveTuple:
    return FiveTuple(
        protocol=protocol,
        source=ip_address(source[0]),
        source_port=source[1],
        destination=ip_address(destination[0]),
        destination_port=destination[1],
    )


@settings(deadline=None)
@given(entry=entries())
def test_both_tuples_mark_and_timeout(entry: Entry) -> None:
    found = tuples_of(body(entry))
    decoded = entry_of(body(entry), "n")
    assert found is not None
    assert decoded is not None
    assert entry.reply_source is not None
    assert entry.reply_destination is not None
    assert original_of(found) == decoded.original == five_tuple(entry.protocol, entry.source, entry.destination)
    assert reply_of(found) == decoded.reply == five_tuple(entry.protocol, entry.reply_source, entry.reply_destination)
    assert (decoded.mark, decoded.timeout, decoded.node) == (entry.mark, entry.timeout, "n")
    assert found.translates_source is (decoded.source_translation is not None)
    assert decoded.status == {"SEEN_REPLY", "ASSURED", "CONFIRMED"}
    # A zone of one direction stands within the tuple, which is longer by it.
    assert decoded.zone == (0 if entry.zone_direction else entry.zone)


@pytest.mark.parametrize(("protocol", "here"), [(1, FOUR), (58, SIX)])
def test_an_identifier_stands_at_the_end_that_asks(protocol: int, here: str) -> None:
    there = "198.51.100.8" if protocol == 1 else "2001:db8::8"
    entry = Entry(protocol=protocol, source=(here, 777), destination=(there, 0), reply_destination=(here, 4242))
    found = entry_of(body(entry), "n")
    assert found is not None
    assert found.original == five_tuple(protocol, (here, 777), (there, 0))
    assert found.reply == five_tuple(protocol, (there, 0), (here, 4242))
    assert found.source_translation is not None
    assert found.source_translation.after == Socket(ip_address(here), 4242)


def test_a_protocol_without_ports_has_none() -> None:
    found = tuples_of(body(Entry(protocol=50, source=(FOUR, 0), destination=("10.0.0.6", 0))))
    assert found is not None
    assert (found.protocol, found.source_port, found.reply_destination_port) == (50, 0, 0)


def test_a_tcp_state_is_the_kernels_word() -> None:
    states = {}
    for number in (0, 3, 99):
        entry = entry_of(body(Entry(protocol=6, source=(FOUR, 1), destination=(FOUR, 2), tcp_state=number)), "n")
        states[number] = entry and entry.tcp_state
    assert states == {0: "NONE", 3: "ESTABLISHED", 99: "99"}


@settings(deadline=None)
@given(entry=entries(), cut=st.integers(0, 200), noise=st.binary(max_size=40))
def test_what_is_cut_short_or_nonsense_breaks_nothing(entry: Entry, cut: int, noise: bytes) -> None:
    whole = body(entry)
    for data in (whole[:cut], whole[:cut] + noise, noise, whole + noise):
        found, decoded = tuples_of(data), entry_of(data, "n")
        assert (found is None) == (decoded is None)
        if found is not None and decoded is not None:
            assert (original_of(found), reply_of(found)) == (decoded.original, decoded.reply)


def test_every_length_of_a_message_is_an_entry_or_none() -> None:
    for entry in (
        Entry(protocol=6, source=(FOUR, 1), destination=(FOUR, 2)),
        Entry(protocol=17, source=(SIX, 1), destination=(SIX, 2)),
    ):
        whole = body(entry)
        known = [tuples_of(whole[:length]) is not None for length in range(len(whole) + 1)]
        assert known == sorted(known)
        assert known[-1]
        assert not known[60]


def test_other_families_and_other_messages_are_no_entries() -> None:
    assert tuples_of(b"") is None
    assert tuples_of(b"\x07\0\0\0" + body(Entry(protocol=6, source=(FOUR, 1), destination=(FOUR, 2)))[4:]) is None
    assert entry_of(b"\x02\0\0\0" + attribute(8, b"\0\0\0\1"), "n") is None
