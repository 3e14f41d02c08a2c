"""Entries of the kernel's connection tracking table: the RECORDED witness of translation."""

from dataclasses import dataclass

from pathtap.model.address import FiveTuple, Socket


@dataclass(frozen=True, slots=True, kw_only=True)
class Translation:
    before: Socket
    after: Socket


@dataclass(frozen=True, slots=True, kw_only=True)
class ConntrackEntry:
    """Both tuples of a connection. The reply tuple is what the far end answers with, so NAT is the difference of the two.

    `status` holds the kernel's IPS_* names without the prefix: SEEN_REPLY, ASSURED, CONFIRMED, SRC_NAT, DST_NAT, DYING …
    `tcp_state` is empty for other protocols; `timeout` is seconds.
    """

    node: str
    original: FiveTuple
    reply: FiveTuple
    zone: int = 0
    mark: int = 0
    status: frozenset[str] = frozenset()
    tcp_state: str = ""
    timeout: int = 0

    @property
    def source_translation(self) -> Translation | None:
        before, after = self.original.source_socket, self.reply.destination_socket
        return None if before == after else Translation(before=before, after=after)

    @property
    def destination_translation(self) -> Translation | None:
        before, after = self.original.destination_socket, self.reply.source_socket
        return None if before == after else Translation(before=before, after=after)

    @property
    def forward_tuples(self) -> tuple[FiveTuple, FiveTuple]:
        """The originator's packets before and after this node's NAT."""
        return self.original, self.reply.reversed

    @property
    def reply_tuples(self) -> tuple[FiveTuple, FiveTuple]:
        """The answering packets before and after this node's NAT is undone."""
        return self.reply, self.original.reversed
