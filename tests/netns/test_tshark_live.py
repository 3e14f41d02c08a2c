"""A capture of real frames on a real veth, against tshark's reading of what tcpdump wrote at the same time.

`make compare-frames` does the same with a million.
"""

from pathlib import Path

import pytest
from frames_live import compare_live

pytestmark = pytest.mark.netns

FRAMES = 100_000


@pytest.mark.timeout(600)
def test_every_captured_frame_says_what_tshark_says_of_it(tmp_path: Path) -> None:
    live = compare_live(FRAMES, tmp_path)
    assert live.complaints() == []
    assert live.unparsed == 0
    assert live.compared > FRAMES // 2
    assert live.beside > FRAMES // 10
