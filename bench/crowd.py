"""A listener that has a small share of a processor: a process that is always busy takes the rest.

So the listener is the limit, also where a generator brings fewer packets than it could read with all of one. Both are sessions of
their own on one processor, to which the kernel gives time by the weights of their nice values (sched_prio_to_weight,
kernel/sched/core.c). What a listener really had of it is measured.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from bench.listeners import LISTENING
from bench.processes import FIRST, Child, set_nice, started

# Weights of 88761 (nice -20) and 2501 (nice -4): the listener has 2.7 % of what both have. For all that the generator brings,
# tcpdump needs some 6 % of a processor.
BUSY, LISTENER = FIRST, -4
SHARE = 100 * 2501 / (2501 + 88761)
SETTLING = 0.3
# Shares that differ by more are not the same share.
MOST_APART = 0.1


@contextmanager
def crowded(listener: Child) -> Iterator[None]:
    """The busy process runs as long as this is open, so that what the listener holds in the end it reads without it."""
    set_nice(listener.pid, LISTENER)
    with started([sys.executable, "-c", "while True: pass"], cpu=LISTENING) as busy:
        set_nice(busy.pid, BUSY)
        time.sleep(SETTLING)
        yield
    set_nice(listener.pid, FIRST)


def same(ours: float, peer: float) -> bool:
    """Whether two shares of a processor are as good as the same."""
    return abs(ours - peer) <= MOST_APART * max(ours, peer)
