"""A real agent and a real collector that lose each other: who notices, who comes back, and what the packets and traces became.

All cases run side by side, because most consist of waiting for pings that are not answered (docs/wire.md). None is asked for the
seconds that are promised, which `make bench-outages` measures: only that it happened, on a machine that does much else.
"""

import os
import time
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import pytest

from bench.outage_cases import (
    WAYS,
    Case,
    Measured,
    asked_to_end,
    black_hole,
    paused_collector,
    restarted_collector,
    stopped_agent,
    stopped_collector,
)

pytestmark = pytest.mark.netns

# In seconds: what is promised is 20 for a dead peer, and 5 for one that is back.
NOTICED, BACK = 30.0, 15.0


def test_who_is_gone_is_noticed_and_who_is_back_is_found() -> None:
    """Each case also asks `nodes`, and sees its trace end by itself: incomplete, or in a sentence where its collector is gone."""
    idle, writing = (
        [partial(case, writing=way) for case in (black_hole, stopped_collector, stopped_agent)] for way in WAYS
    )
    ending = [partial(asked_to_end, whom=whom) for whom in ("agent", "collector")]
    cases: tuple[Case, ...] = (*idle, *writing, partial(restarted_collector, away=1.0), paused_collector, *ending)
    with ThreadPoolExecutor(len(cases)) as pool:
        running: list[Future[Measured]] = []
        for number, case in enumerate(cases):
            running.append(pool.submit(case, f"dp{os.getpid()}c{number}"))
            # What takes longest is not to wait until all the others have started.
            time.sleep(2.0 if number == len(idle) - 1 else 0.0)
        measured = {name: value for each in running for name, value in each.result().items()}
    # Packets that got lost uncounted, or came twice.
    assert {name: measured.pop(name) for name in ("lost", "twice", "sum")} == {"lost": 0, "twice": 0, "sum": 0}
    ended = {name: measured.pop(name) for name in ("asked to end, agent", "asked to end, collector")}
    back = {name: seconds for name, seconds in measured.items() if name.startswith("back")}
    noticed = {name: seconds for name, seconds in measured.items() if name not in back}
    assert (len(back), len(noticed)) == (7, 8)
    assert max(noticed.values()) < NOTICED, noticed
    assert max([*back.values(), *ended.values()]) < BACK, (back, ended)
