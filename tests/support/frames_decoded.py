"""Frames through the capture's own decoder, as a capture's blocks are: what it makes of each, in their order."""

from collections.abc import Sequence

from pathtap.agent.captured import frames_of
from pathtap.agent.decoding import Place, decode
from pathtap.model.packet import Headers
from pathtap.model.rows import PacketRows

PLACE = Place(node="node-1", capture="c1", interface="eth0", number=0)


def decoded(data: Sequence[bytes]) -> list[Headers | None]:
    """The headers of each frame; None for one that is counted as unparsed. A frame's number is its time of capture."""
    numbers = range(len(data))
    result = decode(frames_of(data, numbers, [0] * len(data), [None] * len(data)), PLACE, 0, 1 << 40)
    rows = PacketRows(node="node-1", capture="c1", interfaces=("eth0",), rows=result.rows)
    found: list[Headers | None] = [None] * len(data)
    for observation in (*rows.observations(), *result.observations):
        found[observation.captured_at] = observation.headers
    assert sum(result.unparsed.values()) == found.count(None)
    return found
