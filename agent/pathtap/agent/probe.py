"""Sends the one thing that pathtap ever sends: the probe a user asked for, from inside the source pod's network namespace.

Knows how each protocol is asked and what its answers mean; the errors that come back as ICMP are `socket_errors`'. Nothing
is left behind: no listening socket, no connection, no TIME_WAIT.
"""

import errno
import os
import secrets
import select
import socket
import struct
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import TypeAlias

from pathtap.agent.namespaces import NamespaceError, find_pod_namespace, run_in_namespace
from pathtap.agent.socket_errors import IcmpError, ask_for_errors, forbid_fragments, read_error
from pathtap.model.address import FiveTuple, Protocol
from pathtap.model.request import ProbeOutcome, ProbeReport, ProbeRequest

PAYLOAD = b"pathtap probe: please answer or ignore"
RECEIVE_BYTES = 65_535
# Beside the payload: IP header without options, and UDP's or echo's 8 bytes.
HEADER_BYTES = {4: 20 + 8, 6: 40 + 8}
# RFC 792 and RFC 4443.
ECHO_REQUEST = {4: 8, 6: 128}
ECHO_REPLY = {4: 0, 6: 129}
FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}

Clock: TypeAlias = Callable[[], int]


def send_probe(request: ProbeRequest, now: Clock) -> tuple[ProbeReport, ...]:
    """`count` probes one after another; `now` gives `sent_at`, nanoseconds since the Unix epoch. Blocks until all are done.

    Where the source's namespace cannot be found or entered, or a size is asked of TCP, one FAILED report says why.
    """
    if request.size and request.protocol == Protocol.TCP:
        detail = "A TCP probe is a handshake, which carries no payload: ask with UDP or ICMP for a size."
        return (ProbeReport(outcome=ProbeOutcome.FAILED, sent_at=now(), detail=detail),)

    def all_of_them() -> tuple[ProbeReport, ...]:
        return tuple(_probe(request, number, now) for number in range(1, request.count + 1))

    if request.source is None:
        return all_of_them()
    try:
        return run_in_namespace(find_pod_namespace(request.source), all_of_them)
    except NamespaceError as error:
        return (ProbeReport(outcome=ProbeOutcome.FAILED, sent_at=now(), detail=str(error)),)


@dataclass(slots=True, kw_only=True)
class _Attempt:
    """One probe on its way: its open socket, and what a report of it says whatever comes."""

    request: ProbeRequest
    socket: socket.socket
    number: int
    sent_at: int
    started: int = 0
    five_tuple: FiveTuple | None = None

    @property
    def deadline(self) -> int:
        return self.started + int(self.request.timeout * 1_000_000_000)

    def begin(self, now: Clock) -> None:
        self.sent_at, self.started = now(), time.monotonic_ns()

    def sent(self, source_port: int, destination_port: int) -> None:
        """The socket's own address is the packet's source: it is bound or connected by now."""
        destination = self.request.destination.address
        self.five_tuple = FiveTuple(
            protocol=_protocol(self.request),
            source=type(destination)(self.socket.getsockname()[0].partition("%")[0]),
            source_port=source_port,
            destination=destination,
            destination_port=destination_port,
        )

    def wait(self, events: int) -> int:
        """The events that the socket has, errors among them; 0 when the time is over."""
        poll = select.poll()
        poll.register(self.socket, events)
        remaining = max(0, self.deadline - time.monotonic_ns())
        # Rounded up, so that a last wait is never a busy one.
        found = poll.poll(-(-remaining // 1_000_000))
        return found[0][1] if found else 0

    def report(self, outcome: ProbeOutcome, detail: str) -> ProbeReport:
        elapsed = time.monotonic_ns() - self.started
        return ProbeReport(
            outcome=outcome,
            five_tuple=self.five_tuple,
            sent_at=self.sent_at,
            round_trip=elapsed if outcome is ProbeOutcome.ANSWERED else None,
            detail=detail,
        )

    def silent(self) -> ProbeReport:
        return self.report(ProbeOutcome.SILENT, f"Nothing came back within {self.request.timeout:g} s.")

    def unreachable(self, error: IcmpError) -> ProbeReport:
        return self.report(ProbeOutcome.UNREACHABLE, error.sentence())


def _protocol(request: ProbeRequest) -> Protocol:
    """ICMP means the ICMP of the destination's IP version."""
    if Protocol(request.protocol).is_icmp:
        return Protocol.ICMP if request.destination.address.version == 4 else Protocol.ICMPV6
    return Protocol(request.protocol)


def _probe(request: ProbeRequest, number: int, now: Clock) -> ProbeReport:
    """An error before anything was sent is FAILED: a pod without a route, an address that is not its own, no privilege."""
    protocol = _protocol(request)
    kind, ask = {
        Protocol.TCP: (socket.SOCK_STREAM, _tcp),
        Protocol.UDP: (socket.SOCK_DGRAM, _udp),
    }.get(protocol, (socket.SOCK_RAW, _echo))
    sent_at = now()
    try:
        opened = socket.socket(FAMILIES[request.destination.address.version], kind, protocol)
        with closing(opened):
            opened.setblocking(False)
            ask_for_errors(opened)
            if request.size:
                forbid_fragments(opened)
            if request.source is not None:
                opened.bind((str(request.source), 0))
            return ask(_Attempt(request=request, socket=opened, number=number, sent_at=sent_at), now)
    except OSError as error:
        detail = f"The probe could not be sent: {_reason(error, request)}."
        return ProbeReport(outcome=ProbeOutcome.FAILED, sent_at=sent_at, detail=detail)


def _reason(error: OSError, request: ProbeRequest) -> str:
    match error.errno:
        case errno.EMSGSIZE:
            whole = request.size + HEADER_BYTES[request.destination.address.version]
            return f"with its headers it has {whole} bytes, more than the MTU of the interface that it would leave by"
        case errno.ENETUNREACH:
            return "its network namespace has no route to the destination"
        case errno.EADDRNOTAVAIL:
            return f"{request.source} is not an address of the namespace"
        case errno.EPERM | errno.EACCES:
            return f"{os.strerror(error.errno)}: a rule of its network namespace forbids it, or the agent lacks CAP_NET_RAW"
        case number:
            return os.strerror(number) if number else str(error)


def _address(request: ProbeRequest) -> tuple[str, int]:
    return str(request.destination.address), request.destination.port


def _tcp(attempt: _Attempt, now: Clock) -> ProbeReport:
    """A handshake by a real connect(2), taken back by a reset.

    SO_LINGER with 0 makes close(2) send RST and forget the connection (RFC 9293, section 3.6 as ABORT): neither end keeps
    a TIME_WAIT or waits for data, and a server's accept queue gets rid of it.
    """
    opened = attempt.socket
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("@ii", 1, 0))
    attempt.begin(now)
    code = opened.connect_ex(_address(attempt.request))
    if code not in (0, errno.EINPROGRESS):
        raise OSError(code, os.strerror(code))
    attempt.sent(opened.getsockname()[1], attempt.request.destination.port)
    if not attempt.wait(select.POLLOUT):
        return attempt.silent()
    code = opened.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code == 0:
        return attempt.report(ProbeOutcome.ANSWERED, "The handshake was completed and the connection reset again.")
    # A port-unreachable message makes connect fail with ECONNREFUSED, as a reset does; only the latter is the peer's own.
    error = read_error(opened)
    if error is not None:
        return attempt.unreachable(error)
    if code == errno.ECONNREFUSED:
        return attempt.report(ProbeOutcome.REFUSED, "The connection was refused with a reset (RST).")
    if code == errno.ETIMEDOUT:
        return attempt.silent()
    return attempt.report(ProbeOutcome.UNREACHABLE, f"{os.strerror(code)}.")


def _udp(attempt: _Attempt, now: Clock) -> ProbeReport:
    """One datagram, and one answer from the same address and port: it may have another length than what was sent."""
    opened = attempt.socket
    opened.connect(_address(attempt.request))
    attempt.begin(now)
    opened.send(payload(attempt.request.size))
    attempt.sent(opened.getsockname()[1], attempt.request.destination.port)
    while attempt.wait(select.POLLIN):
        error = read_error(opened)
        if error is not None:
            return attempt.unreachable(error)
        try:
            answer = opened.recv(RECEIVE_BYTES)
        except OSError:
            # A wake-up without a datagram, or an error that is in the queue by now.
            continue
        return attempt.report(ProbeOutcome.ANSWERED, f"A datagram of {len(answer)} bytes came back.")
    return attempt.silent()


def _echo(attempt: _Attempt, now: Clock) -> ProbeReport:
    """An echo request; its reply is known by source (the socket is connected), identifier and sequence."""
    opened = attempt.socket
    version = attempt.request.destination.address.version
    # 0 would read as "no identifier" in a five-tuple.
    identifier = secrets.randbelow(0xFFFF) + 1
    opened.connect((_address(attempt.request)[0], 0))
    message = echo_request(version, identifier, attempt.number, attempt.request.size)
    attempt.begin(now)
    opened.send(message)
    attempt.sent(identifier, 0)
    while attempt.wait(select.POLLIN):
        error = read_error(opened)
        if error is not None and is_echo(error.quoted, ECHO_REQUEST[version], identifier, attempt.number):
            return attempt.unreachable(error)
        try:
            answer = opened.recv(RECEIVE_BYTES)
        except OSError:
            continue
        # A raw IPv4 socket gives the IP header as well (raw(7)), an IPv6 one does not.
        reply = answer[4 * (answer[0] & 0x0F) :] if version == 4 and answer else answer
        if is_echo(reply, ECHO_REPLY[version], identifier, attempt.number):
            return attempt.report(ProbeOutcome.ANSWERED, "An echo reply came back.")
    return attempt.silent()


def payload(size: int) -> bytes:
    """So many bytes of it, over and over; for 0 all of it once."""
    return (PAYLOAD * (size // len(PAYLOAD) + 1))[:size] if size else PAYLOAD


def echo_request(version: int, identifier: int, sequence: int, size: int = 0) -> bytes:
    """The message with its checksum over IPv4; over IPv6 the kernel fills it in (RFC 3542, section 3.1)."""
    head = struct.pack("!BBHHH", ECHO_REQUEST[version], 0, 0, identifier, sequence & 0xFFFF)
    message = head + payload(size)
    checksum = internet_checksum(message) if version == 4 else 0
    return message[:2] + struct.pack("!H", checksum) + message[4:]


def internet_checksum(data: bytes) -> int:
    """RFC 1071."""
    padded = data + b"\0" * (len(data) % 2)
    total: int = sum(word for (word,) in struct.iter_unpack("!H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def is_echo(message: bytes, kind: int, identifier: int, sequence: int) -> bool:
    """Whether `message` begins as an echo message of this type, identifier and sequence."""
    if len(message) < 8:
        return False
    found_kind, _, _, found_identifier, found_sequence = struct.unpack_from("!BBHHH", message)
    return (found_kind, found_identifier, found_sequence) == (kind, identifier, sequence & 0xFFFF)
