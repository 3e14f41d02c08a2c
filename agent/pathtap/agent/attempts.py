"""How each protocol is asked, and what its answers mean: one handshake, one datagram, or echoes. Waits for nothing itself.

The errors that come back as ICMP are `socket_errors`'. Nothing is left behind: no listening socket, no connection, no
TIME_WAIT.
"""

import errno
import os
import resource
import secrets
import selectors
import socket
import struct
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from pathtap.agent.echo import ECHO_REPLY, ECHO_REQUEST, echo_request, payload, read_echo
from pathtap.agent.socket_errors import ask_for_errors, forbid_fragments, is_broadcast, read_error
from pathtap.model.address import Address, FiveTuple, Protocol, Socket
from pathtap.model.request import ProbeOutcome

RECEIVE_BYTES = 65_535
# Beside the payload: IP header without options, and UDP's or echo's 8 bytes.
HEADER_BYTES = {4: 20 + 8, 6: 40 + 8}
FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
# A raw socket tells with the next call of an error that came for an earlier echo.
_SENDINGS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """What is asked, from where to where; `size` as in a ProbeRequest.

    `source` None leaves the address to the kernel. With `own_port` the socket has its source port before it asks, and no
    other socket shares it; the port of a connect(2) without bind(2) may be used towards other destinations too.
    """

    protocol: int
    source: Address | None
    destination: Socket
    size: int = 0
    own_port: bool = False

    @property
    def version(self) -> int:
        return self.destination.address.version

    @property
    def of_version(self) -> Protocol:
        """The protocol, where ICMP means that of the destination's IP version."""
        if Protocol(self.protocol).is_icmp:
            return Protocol.ICMP if self.version == 4 else Protocol.ICMPV6
        return Protocol(self.protocol)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What became of the one that was sent as `five_tuple`; `detail` is a sentence."""

    five_tuple: FiveTuple
    outcome: ProbeOutcome
    detail: str


class Attempt(ABC):
    """An open socket, bound and where that sends nothing connected. `ask` sends, `heard` gives what has come by now.

    All raise OSError, `heard` excepted. `events` is what a selector should wait for before `heard` is called.
    """

    kind: ClassVar[socket.SocketKind] = socket.SOCK_DGRAM
    events: ClassVar[int] = selectors.EVENT_READ
    # Whether one socket asks many times.
    shared: ClassVar[bool] = False

    def __init__(self, way: Way) -> None:
        self.way = way
        self.socket = socket.socket(FAMILIES[way.version], self.kind, way.of_version)
        try:
            self.socket.setblocking(False)
            ask_for_errors(self.socket)
            if way.size:
                forbid_fragments(self.socket)
            if way.source is not None or way.own_port:
                self.socket.bind(("" if way.source is None else str(way.source), 0))
            self._prepare()
        except BaseException:
            self.socket.close()
            raise

    def close(self) -> None:
        self.socket.close()

    @property
    def source_port(self) -> int:
        """0 before the socket has one."""
        return int(self.socket.getsockname()[1])

    @abstractmethod
    def ask(self, number: int) -> FiveTuple:
        """Sends the `number`th request, and gives the five-tuple that it left the socket with."""

    @abstractmethod
    def heard(self) -> tuple[Heard, ...]: ...

    @abstractmethod
    def _prepare(self) -> None:
        """What is to be done to the bound socket before it asks."""

    def _five_tuple(self, source_port: int, destination_port: int) -> FiveTuple:
        """The socket's own address is the packet's source: it is bound or connected by now."""
        destination = self.way.destination.address
        return FiveTuple(
            protocol=self.way.of_version,
            source=type(destination)(self.socket.getsockname()[0].partition("%")[0]),
            source_port=source_port,
            destination=destination,
            destination_port=destination_port,
        )

    def _endpoint(self) -> tuple[str, int]:
        return str(self.way.destination.address), self.way.destination.port


class Handshake(Attempt):
    """A real connect(2), taken back by a reset.

    SO_LINGER with 0 makes close(2) send RST and forget the connection (RFC 9293, section 3.6 as ABORT): neither end keeps
    a TIME_WAIT or waits for data, and a server's accept queue gets rid of it.
    """

    kind = socket.SOCK_STREAM
    events = selectors.EVENT_WRITE

    def _prepare(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("@ii", 1, 0))

    def ask(self, number: int) -> FiveTuple:
        del number
        code = self.socket.connect_ex(self._endpoint())
        if code not in (0, errno.EINPROGRESS):
            raise OSError(code, os.strerror(code))
        self._asked = self._five_tuple(self.source_port, self.way.destination.port)
        return self._asked

    def heard(self) -> tuple[Heard, ...]:
        outcome, detail = self._outcome()
        return (Heard(five_tuple=self._asked, outcome=outcome, detail=detail),)

    def _outcome(self) -> tuple[ProbeOutcome, str]:
        code = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code == 0:
            return ProbeOutcome.ANSWERED, "The handshake was completed and the connection reset again."
        # A port-unreachable message makes connect fail with ECONNREFUSED, as a reset does; only the latter is the peer's own.
        error = read_error(self.socket)
        if error is not None:
            return ProbeOutcome.UNREACHABLE, error.sentence()
        if code == errno.ECONNREFUSED:
            return ProbeOutcome.REFUSED, "The connection was refused with a reset (RST)."
        if code == errno.ETIMEDOUT:
            return ProbeOutcome.SILENT, "Nothing came back until the kernel gave up."
        return ProbeOutcome.UNREACHABLE, f"{os.strerror(code)}."


class Datagram(Attempt):
    """One datagram, and one answer from the same address and port: it may have another length than what was sent."""

    def _prepare(self) -> None:
        self.socket.connect(self._endpoint())

    def ask(self, number: int) -> FiveTuple:
        del number
        self.socket.send(payload(self.way.size))
        self._asked = self._five_tuple(self.source_port, self.way.destination.port)
        return self._asked

    def heard(self) -> tuple[Heard, ...]:
        error = read_error(self.socket)
        if error is not None:
            return (Heard(five_tuple=self._asked, outcome=ProbeOutcome.UNREACHABLE, detail=error.sentence()),)
        try:
            answer = self.socket.recv(RECEIVE_BYTES)
        except OSError:
            # A wake-up without a datagram, or an error that is in the queue by now.
            return ()
        detail = f"A datagram of {len(answer)} bytes came back."
        return (Heard(five_tuple=self._asked, outcome=ProbeOutcome.ANSWERED, detail=detail),)


class Echoes(Attempt):
    """Echo requests, each with an identifier of its own. A reply is known by its source, as the socket is connected, and by
    identifier and sequence.
    """

    kind = socket.SOCK_RAW
    shared = True

    def _prepare(self) -> None:
        self._asked: dict[int, tuple[int, FiveTuple]] = {}
        self.socket.connect((self._endpoint()[0], 0))

    def ask(self, number: int) -> FiveTuple:
        identifier = self._new_identifier()
        self._send(echo_request(self.way.version, identifier, number, self.way.size))
        five_tuple = self._five_tuple(identifier, 0)
        self._asked[identifier] = (number & 0xFFFF, five_tuple)
        return five_tuple

    def heard(self) -> tuple[Heard, ...]:
        return tuple(self._errors()) + tuple(self._replies())

    def _new_identifier(self) -> int:
        """Not 0, which would read as "no identifier" in a five-tuple. There are fewer askings than identifiers."""
        while True:
            identifier = secrets.randbelow(0xFFFF) + 1
            if identifier not in self._asked:
                return identifier

    def _send(self, message: bytes) -> None:
        for remaining in reversed(range(_SENDINGS)):
            try:
                self.socket.send(message)
            except OSError:
                if not (self._asked and remaining):
                    raise
            else:
                return

    def _errors(self) -> Iterator[Heard]:
        while (error := read_error(self.socket)) is not None:
            five_tuple = self._whose(error.quoted, ECHO_REQUEST[self.way.version])
            if five_tuple is not None:
                yield Heard(five_tuple=five_tuple, outcome=ProbeOutcome.UNREACHABLE, detail=error.sentence())

    def _replies(self) -> Iterator[Heard]:
        version = self.way.version
        while True:
            try:
                answer = self.socket.recv(RECEIVE_BYTES)
            except OSError:
                # An empty queue, or an error: the next call finds what it left.
                return
            # A raw IPv4 socket gives the IP header as well (raw(7)), an IPv6 one does not.
            reply = answer[4 * (answer[0] & 0x0F) :] if version == 4 and answer else answer
            five_tuple = self._whose(reply, ECHO_REPLY[version])
            if five_tuple is not None:
                yield Heard(five_tuple=five_tuple, outcome=ProbeOutcome.ANSWERED, detail="An echo reply came back.")

    def _whose(self, message: bytes, expected: int) -> FiveTuple | None:
        found = read_echo(message)
        if found is None:
            return None
        kind, identifier, sequence = found
        number, five_tuple = self._asked.get(identifier, (None, None))
        return five_tuple if (kind, sequence) == (expected, number) else None


_ATTEMPTS: dict[Protocol, type[Attempt]] = {Protocol.TCP: Handshake, Protocol.UDP: Datagram}


def attempt(way: Way) -> Attempt:
    """Opens a socket in the current network namespace and sends nothing. Raises OSError."""
    return _ATTEMPTS.get(way.of_version, Echoes)(way)


def silence(seconds: float) -> str:
    return f"Nothing came back within {seconds:g} s."


def reason(error: OSError, way: Way) -> str:
    """Why nothing could be sent: a pod without a route, an address that is not its own, no privilege; no full stop.

    Call it in the network namespace that was to send.
    """
    match error.errno:
        case errno.EACCES | errno.ENETUNREACH if is_broadcast(way.destination.address):
            return f"{way.destination.address} is a broadcast address there, to which nothing is sent"
        case errno.EMSGSIZE:
            whole = way.size + HEADER_BYTES[way.version]
            return f"with its headers it has {whole} bytes, more than the MTU of the interface that it would leave by"
        case errno.ENETUNREACH:
            return "its network namespace has no route to the destination"
        case errno.EADDRNOTAVAIL if way.source is not None:
            return f"{way.source} is not an address of the namespace"
        case errno.EPERM | errno.EACCES:
            why = "a rule or a route of its network namespace forbids it, or the agent lacks CAP_NET_RAW"
            return f"{os.strerror(error.errno)}: {why}"
        case errno.EMFILE:
            most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
            return f"the agent has as many files open as it may have ({most}, RLIMIT_NOFILE)"
        case number:
            return os.strerror(number) if number else str(error)
