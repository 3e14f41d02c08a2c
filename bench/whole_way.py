"""How many packets a second come from one agent's ring into the collector's log, none lost, beside tcpdump's lossless rate.

A real agent, and the collector's own intake, with gRPC over a unix socket between them. The generator is on one processor, the
agent on the other; the collector shares them.
"""

import os
import time

from bench.agent import Joined, joined
from bench.capture import FAST, highest
from bench.ladder import Highest, Trial, climb, compared
from bench.listeners import LISTENING, generator, tcpdump_writing
from bench.processes import BenchError
from bench.rows import Row, unmeasured
from bench.wiring import Wired, wired

ROUNDS = 5
SECONDS = 3.0
# What has not arrived so long after the last packet was sent is late, and what is late for three seconds of packets is no rate.
GRACE = 0.2
GOAL = 0.25
FIGURE = (
    "events/s from one agent's ring to the collector's log without loss; peer: tcpdump -s 96 -w /dev/null without loss"
)


def measure() -> list[Row]:
    try:
        with wired(f"bench{os.getpid()}s") as wires:
            theirs = highest(wires, tcpdump_writing, FAST)
            with joined(wires, cpu=LISTENING) as pair:
                mine = _climbs(wires, pair)
    except BenchError as error:
        return [unmeasured(FIGURE, GOAL, "at least", str(error))]
    return [compared(FIGURE, mine, theirs, GOAL, peer_as_measured=True)]


def _climbs(wires: Wired, pair: Joined) -> list[Highest]:
    found: list[Highest] = []
    for _ in range(ROUNDS):
        found.append(climb(FAST, lambda rate: trial(wires, pair, rate), found[-1].rung if found else None))
    return found


def trial(wires: Wired, pair: Joined, rate: float, seconds: float = SECONDS) -> Trial:
    """`kept` is what is in the collector's log in time. Raises BenchError where the account does not add up."""
    with generator(wires, rate=rate, seconds=seconds) as sender:
        pair.arm()
        sent = sender.say().answer()
        time.sleep(GRACE)
        kept = pair.ask("count")["kept"]
        end = pair.ask("end")
    if end["accepted"] != end["kept"] + sum(end["lost"].values()):
        raise BenchError(f"the account does not add up: {end}")
    return Trial(rate=sent["rate"], sent=sent["sent"], kept=kept)
