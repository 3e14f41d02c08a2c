"""One of two that race for ports: `python -m pathtap.lab.racer SIDE MEMORY CPU tcp|udp PAIRS FIRST ADDRESS:PORT [--apart]`.

Sends one datagram, or one SYN, from each of PAIRS successive source ports, each by a socket of its own that is closed at once.
Before each it meets the other side in shared memory, so that both send from equal ports at the same moment; `--apart` lets
side 1 begin when side 0 has ended, so that nothing races. Prints how many it sent.

MEMORY is the descriptor of a file of `MEMORY_SIZE` octets, where each side writes which turn it has come to. Who waits when
`MOST_SECONDS` are over, or has lost its parent, ends.
"""

import argparse
import mmap
import os
import socket
import sys
import time

MOST_SECONDS = 120.0
MEMORY_SIZE = 4096
# 64-bit words; the two sides' lie in cache lines of their own.
_APART_WORDS = 16
# Some 40 microseconds of looking before the processor is offered to others.
_LOOKS = 1_000
_PAUSE_SECONDS = 0.01
# Empty rounds of a loop, some 15 ns each: how far one side lets the other go ahead. Which of them gets first to the node's NAT is
# up to the machine and drifts, so that each pair tries another distance: one pair a short one, the next perhaps a longer one.
_MOST_LAGS = (128, 512)
# One pair in eight does not race: there one side waits for some 30 microseconds, in turn, so that each is first to hold a port
# now and then also where the other is always the quicker.
_EVERY, _LONG_LAG = 8, 2_048
_KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}


class _Meeting:
    """Where two processes wait for each other."""

    def __init__(self, memory: mmap.mmap, side: int) -> None:
        self._words = memoryview(memory).cast("Q")
        self._mine, self._other = side * _APART_WORDS, (1 - side) * _APART_WORDS
        self._until = time.monotonic() + MOST_SECONDS
        self._parent = os.getppid()

    def arrive(self, turn: int) -> None:
        self._words[self._mine] = turn

    def wait(self, turn: int, *, pausing: bool = False) -> None:
        """Returns when the other side has come to `turn`, at once or, with `pausing`, soon. SystemExit where it does not."""
        words, other = self._words, self._other
        while True:
            for _ in range(_LOOKS):
                if words[other] >= turn:
                    return
            if time.monotonic() > self._until or os.getppid() != self._parent:
                raise SystemExit(f"the other side did not come to turn {turn}")
            if pausing:
                time.sleep(_PAUSE_SECONDS)
            else:
                os.sched_yield()


def lag(side: int, number: int) -> int:
    """How many empty rounds `side` waits before pair `number`: one of the two none, the other 0 to 512, or 2,048."""
    if number % _EVERY == 0:
        return _LONG_LAG if number // _EVERY % 2 == side else 0
    most = _MOST_LAGS[number % 2]
    ahead = number * 37 % (2 * most + 1) - most
    return max(ahead if side == 0 else -ahead, 0)


def _send(made: socket.socket, protocol: str, peer: tuple[str, int]) -> None:
    if protocol == "udp":
        made.send(b"")
    else:
        made.connect_ex(peer)


def race(meeting: _Meeting, side: int, options: argparse.Namespace) -> int:
    """Sends from all ports and returns from how many; one that somebody else holds is passed over."""
    address, _, port = options.peer.partition(":")
    peer, sent = (address, int(port)), 0
    for number in range(options.pairs):
        with socket.socket(socket.AF_INET, _KINDS[options.protocol]) as made:
            made.setblocking(False)
            try:
                made.bind(("", options.first + number))
            except OSError:
                free = False
            else:
                free = True
                if options.protocol == "udp":
                    made.connect(peer)
            if not options.apart:
                meeting.arrive(number + 1)
                meeting.wait(number + 1)
                for _ in range(lag(side, number)):
                    pass
            if free:
                _send(made, options.protocol, peer)
                sent += 1
    return sent


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m pathtap.lab.racer")
    parser.add_argument("side", type=int, choices=(0, 1))
    parser.add_argument("memory", type=int)
    parser.add_argument("cpu", type=int)
    parser.add_argument("protocol", choices=tuple(_KINDS))
    parser.add_argument("pairs", type=int)
    parser.add_argument("first", type=int)
    parser.add_argument("peer", metavar="ADDRESS:PORT")
    parser.add_argument("--apart", action="store_true")
    options = parser.parse_args()
    os.sched_setaffinity(0, {options.cpu})
    meeting = _Meeting(mmap.mmap(options.memory, MEMORY_SIZE), options.side)
    ended = options.pairs + 1
    if options.apart and options.side:
        meeting.wait(ended, pausing=True)
    sent = race(meeting, options.side, options)
    meeting.arrive(ended)
    sys.stdout.write(f"{sent}\n")


if __name__ == "__main__":
    main()
