"""What a capture hands on, and to whom: the contract between those that see packets and those that send them.

Pure values. A capture calls `Deliver` from its own thread, and whoever is called must not block: what it has no room for it
counts as lost.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from pathtap.model.packet import Lost, PacketObservation
from pathtap.model.rows import PacketRows


@dataclass(frozen=True, slots=True, kw_only=True)
class Packets:
    """Packets of one capture, and what was lost of it until then; `len` is how many were seen.

    `observations` are those alone that no row holds (`pathtap.model.rows.fits_a_row`). `sequence` is unique within a capture
    and rises over rows and observations together: it is the order in which the packets were read.
    """

    rows: tuple[PacketRows, ...] = ()
    observations: tuple[PacketObservation, ...] = ()
    lost: tuple[Lost, ...] = ()

    def __len__(self) -> int:
        return sum(map(len, self.rows)) + len(self.observations)


Deliver: TypeAlias = Callable[[Packets], None]
