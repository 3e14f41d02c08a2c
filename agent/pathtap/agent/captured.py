"""Many captured frames at once, as columns over the memory that they lie in. Knows no headers and not who captured them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Column: TypeAlias = npt.NDArray[Any]

# sll_pkttype of linux/if_packet.h.
OTHERHOST, OUTGOING = 3, 4
NO_VLAN = -1
# More than the headers of any frame that is not made of options alone; what is cut is dissected as truncated.
FRAME_BYTES = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Frames:
    """Frames in the order in which they came; all columns are of one length, which is the number of frames.

    `memory` is one-dimensional, of uint8. Frame i's Ethernet header begins at `start[i]` (int64), and `room[i]` (int64) bytes
    of it were captured. `captured_at` (uint64) is in nanoseconds since the Unix epoch, `kind` (uint8) the kernel's packet type
    (OTHERHOST, OUTGOING), `vlan` (int32) the tag that the kernel took off, or NO_VLAN.
    """

    memory: Column
    start: Column
    room: Column
    captured_at: Column
    kind: Column
    vlan: Column

    def __len__(self) -> int:
        return len(self.start)

    def data(self, number: int) -> bytes:
        """One frame's bytes, FRAME_BYTES at most."""
        start = int(self.start[number])
        return self.memory[start : start + min(int(self.room[number]), FRAME_BYTES)].tobytes()


def frames_of(
    data: Sequence[bytes], captured_at: Sequence[int], kind: Sequence[int], vlan: Sequence[int | None]
) -> Frames:
    """Frames that lie in no ring: each copied behind the one before."""
    room = np.array([len(frame) for frame in data], np.int64)
    return Frames(
        memory=np.frombuffer(b"".join(data), np.uint8),
        start=np.cumsum(room) - room,
        room=room,
        captured_at=np.array(captured_at, np.uint64),
        kind=np.array(kind, np.uint8),
        vlan=np.array([NO_VLAN if tag is None else tag for tag in vlan], np.int32),
    )
