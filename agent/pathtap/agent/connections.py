"""Opens many connections to one destination from inside a pod, and says what the node's connection tracking made of each.

What the node recorded is heard from it while they are opened, since the kernel deletes the entry of a connection that is
answered by a reset at once (nf_ct_kill_acct in nf_conntrack_proto_tcp.c). What was not heard is looked up afterwards.
"""

import selectors
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace

from pathtap.agent.attempts import Attempt, Way, attempt, reason, silence
from pathtap.agent.namespaces import NamespaceError, find_pod_namespace, run_in_namespace
from pathtap.agent.recorded import Recorded
from pathtap.agent.shares import Shares
from pathtap.model.address import FiveTuple
from pathtap.model.conntrack import ConntrackEntry
from pathtap.model.request import (
    MOST_ANSWER_SECONDS,
    MOST_CONNECTIONS,
    MOST_OPENING_SECONDS,
    MOST_RATE,
    Connection,
    ConnectionsReport,
    OpenConnections,
    ProbeOutcome,
)

# Of openings that come late, so much is made up for at a burst; in seconds.
_CATCHING_UP = 0.05
# How often a kernel that gives a port again is asked for another.
_PORTS_TRIED = 16
# How often it is looked whether anybody still wants the answer; in seconds.
_LOOK = 0.2


def open_connections(
    node: str, request: OpenConnections, shares: Shares, over: Callable[[], bool] = lambda: False
) -> ConnectionsReport:
    """Blocks until all are opened, answered or given up, and closed. Call it in the node's own network namespace.

    Answers are waited for no longer than MOST_ANSWER_SECONDS, whatever is asked for: whoever asked may be gone, and each
    holds a socket. No second has more openings than MOST_RATE either. `over` tells that nobody wants the report: then no more
    are opened, and all are closed.

    Where the source's namespace cannot be found or entered, one FAILED connection says why. Raises ValueError for a count
    or a rate that cannot be meant.
    """
    request = _bounded(request)
    try:
        # Before anything is listened to: it takes a while where there are many pods, and events would wait unread.
        namespace = None if request.source is None else find_pod_namespace(request.source)
        with closing(Recorded(node)) as recorded, selectors.DefaultSelector() as selector:
            recorded.register(selector)
            opening = _Opening(request, recorded, selector, shares, over)
            if namespace is None:
                opening.run()
            else:
                run_in_namespace(namespace, opening.run)
            if over():
                return ConnectionsReport(connections=opening.connections)
            entries, unread = recorded.entries()
    except NamespaceError as error:
        return ConnectionsReport(connections=(Connection(outcome=ProbeOutcome.FAILED, detail=str(error)),))
    found = tuple(_with_entry(each, entries) for each in opening.connections)
    # Where something is unread nobody knows of the others.
    said = found if unread else tuple(_with_why_not(each, request) for each in found)
    return ConnectionsReport(connections=said, unread=unread)


def _bounded(request: OpenConnections) -> OpenConnections:
    """Raises ValueError for what cannot be meant, or takes too long to open."""
    if not (0 < request.count <= MOST_CONNECTIONS and request.rate > 0):
        raise ValueError(f"From 1 to {MOST_CONNECTIONS} connections can be opened, and at least one a second.")
    if request.count / request.rate > MOST_OPENING_SECONDS:
        raise ValueError(
            f"{request.count} connections at {request.rate} a second take longer than {MOST_OPENING_SECONDS} s to open: ask "
            "for fewer, or for more a second."
        )
    return replace(request, timeout=min(request.timeout, MOST_ANSWER_SECONDS), rate=min(request.rate, MOST_RATE))


def _with_entry(connection: Connection, entries: Mapping[FiveTuple, ConntrackEntry]) -> Connection:
    return (
        connection if connection.five_tuple is None else replace(connection, entry=entries.get(connection.five_tuple))
    )


def _with_why_not(connection: Connection, request: OpenConnections) -> Connection:
    """With what it may mean that the node recorded nothing of it: an answer can come from the pod's own namespace."""
    if connection.five_tuple is None or connection.entry is not None:
        return connection
    why = [
        # Whoever answers had the packet; a reset or an ICMP error may be a firewall's of the node (reject).
        *([] if connection.outcome is ProbeOutcome.ANSWERED else ["it was dropped or rejected before"]),
        *([] if request.source is None else ["its own network namespace redirects or translates it"]),
        "the node does not track it (notrack)",
    ]
    return replace(
        connection,
        detail=f"{connection.detail} The node's connection tracking recorded nothing of it: {', or '.join(why)}.",
    )


class _Opening:
    """The connections while they are opened and waited for, in the network namespace of the thread that calls `run`."""

    def __init__(
        self,
        request: OpenConnections,
        recorded: Recorded,
        selector: selectors.BaseSelector,
        shares: Shares,
        over: Callable[[], bool],
    ) -> None:
        self._request = request
        self._recorded = recorded
        self._way = Way(
            protocol=request.protocol, source=request.source, destination=request.destination, own_port=True
        )
        # By five-tuple, or by number where nothing was sent; in the order of opening.
        self._outcomes: dict[FiveTuple | int, Connection] = {}
        self._waiting: dict[FiveTuple, Attempt] = {}
        self._used: set[int] = set()
        self._selector = selector
        self._shares = shares
        self._over = over
        self._shared: Attempt | None = None

    @property
    def connections(self) -> tuple[Connection, ...]:
        return tuple(self._outcomes.values())

    def run(self) -> None:
        try:
            self._open_all()
            self._attend(time.monotonic() + self._request.timeout, lambda: not self._waiting)
        finally:
            for opened in {*self._waiting.values(), *filter(None, [self._shared])}:
                self._close(opened)

    def _open_all(self) -> None:
        interval = 1 / self._request.rate
        due = time.monotonic()
        # When each of the last was sent, at the latest: the first of them must be a second ago.
        sent: deque[float] = deque(maxlen=self._request.rate)
        for number in range(1, self._request.count + 1):
            self._attend(due, lambda: False)
            if self._over():
                return
            self._open(number)
            sent.append(time.monotonic())
            due = max(due, sent[-1] - _CATCHING_UP) + interval
            if len(sent) == self._request.rate:
                due = max(due, sent[0] + 1)

    def _open(self, number: int) -> None:
        try:
            opened = self._shared or self._opened()
            five_tuple = self._ask(opened, number)
        except OSError as error:
            self._failed(number, reason(error, self._way))
            return
        if opened is not self._shared:
            self._selector.register(opened.socket, opened.events, lambda: self._hear(opened))
        if opened.shared:
            self._shared = opened
        self._used.add(five_tuple.source_port)
        self._recorded.expect(five_tuple)
        self._waiting[five_tuple] = opened
        self._outcomes[five_tuple] = Connection(
            outcome=ProbeOutcome.SILENT, five_tuple=five_tuple, detail=silence(self._request.timeout)
        )

    def _ask(self, opened: Attempt, number: int) -> FiveTuple:
        """Raises OSError, the socket closed again where it is of no further use."""
        try:
            return opened.ask(number)
        except BaseException:
            if opened is not self._shared:
                self._close(opened)
            raise

    def _close(self, opened: Attempt) -> None:
        opened.close()
        self._shares.give_socket()

    def _opened(self) -> Attempt:
        """Raises OSError."""
        self._shares.take_socket()
        try:
            return self._of_new_port()
        except BaseException:
            self._shares.give_socket()
            raise

    def _of_new_port(self) -> Attempt:
        """A socket whose port none of the earlier ones had; those are held meanwhile that had it again. Raises OSError."""
        again: list[Attempt] = []
        try:
            for _ in range(_PORTS_TRIED):
                opened = attempt(self._way)
                if opened.shared or opened.source_port not in self._used:
                    return opened
                again.append(opened)
        finally:
            for each in again:
                each.close()
        raise OSError(f"the kernel gave {_PORTS_TRIED} times a source port that was used before")

    def _failed(self, number: int, why: str) -> None:
        detail = f"The connection could not be opened: {why}."
        self._outcomes[number] = Connection(outcome=ProbeOutcome.FAILED, detail=detail)

    def _attend(self, until: float, enough: Callable[[], bool]) -> None:
        """Hears what comes until that time of the monotonic clock, in seconds, until it is enough or nobody wants it."""
        while not (enough() or self._over()):
            remaining = until - time.monotonic()
            for key, _ in self._selector.select(max(0.0, min(remaining, _LOOK))):
                key.data()
            if remaining <= 0:
                return

    def _hear(self, opened: Attempt) -> None:
        for heard in opened.heard():
            if self._waiting.pop(heard.five_tuple, None) is None:
                continue
            self._outcomes[heard.five_tuple] = Connection(
                outcome=heard.outcome, five_tuple=heard.five_tuple, detail=heard.detail
            )
            if not opened.shared:
                self._selector.unregister(opened.socket)
                self._close(opened)
