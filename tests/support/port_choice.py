"""How the kernel chooses source ports, as nf_nat_l4proto_unique_tuple does it (net/netfilter/nf_nat_core.c), for simulations.

Each chooser takes the original port and gives the translated one, which is taken from then on; None where the search gives up.
"""

from collections.abc import Callable, Mapping
from random import Random as Chance
from types import MappingProxyType

from pathtap.model.node import PortRange

CLIENTS = PortRange(first=1024, last=65_535)
MOST_ATTEMPTS = 128
Chooser = Callable[[int], int | None]


class Ports:
    """Those of one address towards one destination; `taken` has a byte for each of the 65,536, `mapped` what the source's
    ports are translated to towards others.
    """

    def __init__(
        self,
        chance: Chance,
        taken: bytes | bytearray = bytes(65_536),
        among: PortRange = CLIENTS,
        mapped: Mapping[int, int] = MappingProxyType({}),
    ) -> None:
        self._chance, self._among, self._size = chance, among, among.last - among.first + 1
        self.taken, self.mapped = bytearray(taken), mapped
        self.start = chance.getrandbits(16)

    def within(self, ports: PortRange) -> "Ports":
        """The same ones, of which no more than `ports` are given."""
        return Ports(self._chance, self.taken, ports, self.mapped)

    def drawn(self, _original: int) -> int | None:
        """With a flag, from Linux 5.0 on: 16 bits at random, then up to 128 ports upwards, then fewer from another place."""
        attempts = min(self._size, MOST_ATTEMPTS)
        while True:
            found = self._search(self._chance.getrandbits(16), attempts)
            if found is not None or attempts >= self._size or attempts < 16:
                return found
            attempts //= 2

    def kept(self, original: int) -> int | None:
        """Without a flag: what the source socket is mapped to towards another destination, where that is free
        (find_appropriate_src); else the port itself where nobody has it. Searches as from Linux 5.0 on.
        """
        for port in (self.mapped.get(original), original):
            if port is not None and not self.taken[port] and port in self._among:
                self.taken[port] = 1
                return port
        return self.drawn(original)

    def counted_up(self, _original: int) -> int | None:
        """With --random before Linux 5.0: from a hash of both addresses and the destination's port upwards."""
        return self._search(self.start, self._size)

    def _search(self, offset: int, attempts: int) -> int | None:
        first, size, taken = self._among.first, self._size, self.taken
        for step in range(attempts):
            port = first + ((offset + step) & 0xFFFF) % size
            if not taken[port]:
                taken[port] = 1
                return port
        return None
