"""The bytes of a probe, and what the kernel's error queue says, without a socket."""

import socket
import struct
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP

from pathtap.agent.echo import echo_request, internet_checksum, payload, read_echo
from pathtap.agent.socket_errors import decode_error


@given(identifier=st.integers(1, 65535), sequence=st.integers(0, 70000))
def test_an_echo_request_is_what_scapy_would_build(identifier: int, sequence: int) -> None:
    message = echo_request(4, identifier, sequence)
    built = ICMP(message)
    assert (built.type, built.code, built.id, built.seq) == (8, 0, identifier, sequence & 0xFFFF)
    del built.chksum
    assert bytes(built) == message
    assert internet_checksum(message) == 0


@pytest.mark.parametrize("size", [1, 37, 38, 39, 4000, 65_507])
def test_a_payload_has_the_size_that_was_asked_for(size: int) -> None:
    assert len(payload(size)) == size
    message = echo_request(4, 7, 1, size)
    assert (len(message), internet_checksum(message)) == (8 + size, 0)


def test_the_usual_payload_tells_who_sent_it() -> None:
    assert payload(0) == payload(38) == b"pathtap probe: please answer or ignore"


def test_the_kernel_fills_in_the_checksum_of_icmpv6() -> None:
    assert echo_request(6, 7, 1)[:8] == struct.pack("!BBHHH", 128, 0, 0, 7, 1)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (struct.pack("!BBHHH", 0, 0, 0xABCD, 7, 1), True),
        (struct.pack("!BBHHH", 0, 0, 0xABCD, 7, 1) + b"payload", True),
        (struct.pack("!BBHHH", 8, 0, 0, 7, 1), False),
        (struct.pack("!BBHHH", 0, 0, 0, 8, 1), False),
        (struct.pack("!BBHHH", 0, 0, 0, 7, 2), False),
        (b"\0\0\0\0\0\x07\0", False),
        (b"", False),
    ],
)
def test_a_reply_is_known_by_type_identifier_and_sequence(message: bytes, expected: bool) -> None:
    assert (read_echo(message) == (0, 7, 1)) is expected


def extended(origin: int, kind: int = 3, code: int = 13) -> bytes:
    return struct.pack("=IBBBBII", 113, origin, kind, code, 0, 0, 0)


def test_an_icmp_error_and_who_sent_it() -> None:
    sender = struct.pack("=HH4s8x", socket.AF_INET, 0, ip_address("192.0.2.9").packed)
    error = decode_error(extended(2) + sender, b"quoted")
    assert error is not None
    assert error.quoted == b"quoted"
    assert error.sentence() == "No route to host: ICMP type 3 code 13 from 192.0.2.9."


def test_an_icmpv6_error_and_who_sent_it() -> None:
    sender = struct.pack("=HHI16sI", socket.AF_INET6, 0, 0, ip_address("2001:db8::9").packed, 0)
    error = decode_error(extended(3, 1, 4) + sender, b"")
    assert error is not None
    assert (error.type, error.code, error.sender) == (1, 4, ip_address("2001:db8::9"))


def test_an_unknown_sender_is_said_to_be_unknown() -> None:
    error = decode_error(extended(2) + struct.pack("=H14x", 0), b"")
    assert error is not None
    assert error.sender is None
    assert error.sentence().endswith("from an unknown address.")


def test_what_no_icmp_message_brought_is_passed_over() -> None:
    assert decode_error(extended(1), b"") is None
    assert decode_error(extended(2)[:10], b"") is None


@pytest.mark.parametrize(
    ("origin", "kind", "code", "mtu"), [(2, 3, 4, 1300), (3, 2, 0, 1300), (2, 3, 13, 0), (3, 3, 0, 0)]
)
def test_only_a_packet_too_large_names_an_mtu(origin: int, kind: int, code: int, mtu: int) -> None:
    error = decode_error(struct.pack("=IBBBBII", 90, origin, kind, code, 0, 1300, 0), b"")
    assert error is not None
    assert error.mtu == mtu
    assert ("where the next link's MTU is 1300." in error.sentence()) is bool(mtu)
