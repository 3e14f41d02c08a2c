"""What a node's connection tracking recorded of packets that are being sent: heard as it happens, else looked up afterwards."""

import selectors

from pathtap.agent.readers import conntrack, conntrack_sysctls
from pathtap.agent.readers.conntrack_messages import entry_of, tuples_of
from pathtap.agent.readers.conntrack_socket import NewEntries
from pathtap.model.address import FiveTuple
from pathtap.model.conntrack import ConntrackEntry
from pathtap.model.node import Unread


class Recorded:
    """Listens in the network namespace that it is made in, from then on, until it is closed.

    Where there is nothing to listen to, the look-up remains.
    """

    def __init__(self, node: str) -> None:
        self._node = node
        self._expected: dict[tuple[int, bytes, int, bytes, int], FiveTuple] = {}
        self._heard: dict[FiveTuple, ConntrackEntry] = {}
        self._events: NewEntries | None = None
        self._deaf = ""
        try:
            self._events = NewEntries()
        except OSError as error:
            self._deaf = f"The kernel's events of new entries cannot be listened to: {error.strerror or error}."
        if conntrack_sysctls.fetch("nf_conntrack_events") == 0:
            self._deaf = "The kernel tells nothing of new entries: the sysctl net.netfilter.nf_conntrack_events is 0."

    def close(self) -> None:
        if self._events is not None:
            self._events.close()

    def register(self, selector: selectors.BaseSelector) -> None:
        """The selector's key has `hear` as its data. Any thread may do this, in whichever namespace it is."""
        if self._events is not None:
            selector.register(self._events, selectors.EVENT_READ, self.hear)

    def expect(self, five_tuple: FiveTuple) -> None:
        """That this was sent: said before the next `hear`."""
        key = (
            five_tuple.protocol,
            five_tuple.source.packed,
            five_tuple.source_port,
            five_tuple.destination.packed,
            five_tuple.destination_port,
        )
        self._expected[key] = five_tuple

    def hear(self) -> None:
        """Takes what the kernel has told by now. Raises OSError."""
        if self._events is None:
            return
        for body in self._events.read():
            found = tuples_of(body)
            five_tuple = None if found is None else self._expected.get(found[:5])
            # The first entry of several is that of the first packet.
            if five_tuple is not None and five_tuple not in self._heard:
                entry = entry_of(body, self._node)
                if entry is not None:
                    self._heard[five_tuple] = entry

    def entries(self) -> tuple[dict[FiveTuple, ConntrackEntry], tuple[Unread, ...]]:
        """By what was expected; and why some may be missing, where some are. Call it in the node's network namespace."""
        unread: list[Unread] = []
        try:
            self.hear()
            for five_tuple in self._expected.values():
                if five_tuple not in self._heard:
                    self._look_up(five_tuple)
        except OSError as error:
            unread.append(Unread(part="conntrack", reason=str(error)))
        missing = len(self._expected) - len(self._heard)
        reason = self._why_not_heard()
        if missing and reason:
            unread.append(Unread(part="conntrack events", reason=reason))
        return self._heard, tuple(unread)

    def _look_up(self, five_tuple: FiveTuple) -> None:
        found = conntrack.fetch_one(five_tuple)
        for entry in () if found is None else conntrack.decode((found,), self._node):
            # Either tuple finds an entry.
            if entry.original == five_tuple:
                self._heard[five_tuple] = entry

    def _why_not_heard(self) -> str:
        if self._events is not None and self._events.missed:
            return "The kernel told of more new entries than could be read in time, and dropped some."
        return self._deaf
