"""How many packets a listener keeps of more than it can read, or of as many as there are."""

import statistics
from collections.abc import Sequence

from bench.crowd import same
from bench.ladder import without_loss
from bench.listeners import Beside, Heard, hear, ours, tcpdump_writing
from bench.processes import BenchError
from bench.rows import Row, at_least, unmeasured, void
from bench.wiring import Wired

ROUNDS = 5


def kept(wires: Wired, name: str, seconds: float, beside: Beside) -> Row:
    """Our capture and tcpdump in turns."""
    try:
        rounds = [
            tuple(hear(wires, who, rate=0, seconds=seconds, beside=beside) for who in (ours, tcpdump_writing))
            for _ in range(ROUNDS)
        ]
    except BenchError as error:
        return unmeasured(name, 1.0, "at least", str(error))
    mine, theirs = zip(*rounds, strict=True)
    return judged(name, mine, theirs)


def judged(name: str, ours: Sequence[Heard], peer: Sequence[Heard]) -> Row:
    """Medians, in packets/s. Void where neither lost anything, and where both did without the same share of a processor."""
    mine, theirs = (statistics.median(each.trial.kept / each.seconds for each in column) for column in (ours, peer))
    shares = tuple(statistics.median(each.share for each in column) for column in (ours, peer))
    row = at_least(name, mine, theirs, 1.0, _told(ours, peer))
    lossless = [without_loss([each.trial for each in column]) for column in (ours, peer)]
    if all(lossless):
        return void(row, f"neither lost anything, the generator was the limit: {row['note']}")
    if not any(lossless) and not same(*shares):
        return void(row, f"they had not the same share of a processor: {row['note']}")
    return row


def _told(ours: Sequence[Heard], peer: Sequence[Heard]) -> str:
    sent, part, share = (
        [statistics.median(find(each) for each in column) for column in (ours, peer)] for find in (_rate, _part, _share)
    )
    return (
        f"{sent[0]:,.0f} and {sent[1]:,.0f} packets/s were sent, {part[0]:.2%} and {part[1]:.2%} of them kept, with "
        f"{share[0]:.2%} and {share[1]:.2%} of a processor"
    )


def _rate(heard: Heard) -> float:
    return heard.trial.rate


def _part(heard: Heard) -> float:
    return heard.trial.kept / heard.trial.sent


def _share(heard: Heard) -> float:
    return heard.share
