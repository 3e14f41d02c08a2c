"""A flow that asks at a fixed pace, whether it was answered or not: what a node's other traffic gets while a trace is armed.

`python -m bench.paced serve ADDRESS` says `ready` and answers each request on its one TCP connection. `python -m bench.paced ask
ADDRESS` connects, says `ready`, and answers each line on its standard input, a number of seconds, with a `Window` as JSON: for so
long it asks REQUESTS times a second. A round trip is counted from when its request was due, so that an asker who was held up
hides nothing.
"""

import json
import select
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass

import click

from pathtap.agent.prctl import set_timer_slack

PORT = 5301
# 131 Mbit/s of answers.
REQUESTS, REQUEST_BYTES, ANSWER_BYTES = 1_000, 64, 16 << 10
# In seconds, after the last request: for what is under way. It is no part of a window.
GRACE = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """`due` and `delivered` are bytes of answers, the latter those that arrived within the window. Of the round trips, in µs, the
    median and the 99th percentile."""

    due: int
    delivered: int
    median: float
    highest: float


class Pace:
    """Requests that fall due at a fixed pace and answers that come in their order. Pure; times are in seconds."""

    def __init__(self, began: float, seconds: float) -> None:
        self._began = began
        self.ends = began + seconds
        self._count = int(seconds * REQUESTS)
        self._asked = 0
        self._bytes = 0
        self._late = 0
        # When each that is not answered was due.
        self._waiting: deque[float] = deque()
        self._round_trips: list[float] = []

    @property
    def next(self) -> float | None:
        """When the next request is due; None where there is none any more."""
        return self._began + self._asked / REQUESTS if self._asked < self._count else None

    @property
    def over(self) -> bool:
        return self.next is None and not self._waiting

    def ask(self, now: float) -> int:
        """How many are to be sent at once: those that are due."""
        before = self._asked
        while (due := self.next) is not None and due <= now:
            self._waiting.append(due)
            self._asked += 1
        return self._asked - before

    def take(self, size: int, now: float) -> None:
        """So many bytes of answers have come."""
        if now > self.ends:
            self._late += size
        self._bytes += size
        while self._waiting and self._bytes >= (len(self._round_trips) + 1) * ANSWER_BYTES:
            self._round_trips.append(now - self._waiting.popleft())

    def window(self) -> Window:
        """What is not answered, or was never asked, counts as if it were answered when patience ends."""
        unasked = (self._began + number / REQUESTS for number in range(self._asked, self._count))
        unanswered = [self.ends + GRACE - due for due in (*self._waiting, *unasked)]
        ordered = sorted([*self._round_trips, *unanswered])
        return Window(
            due=self._count * ANSWER_BYTES,
            delivered=self._bytes - self._late,
            median=1e6 * share(ordered, 0.5),
            highest=1e6 * share(ordered, 0.99),
        )


def share(ordered: Sequence[float], part: float) -> float:
    """The least of the values that this part of them does not exceed; 0 where there are none."""
    return ordered[min(int(part * len(ordered)), len(ordered) - 1)] if ordered else 0.0


def asked(connection: socket.socket, seconds: float, now: Callable[[], float]) -> Window:
    """Raises OSError where the other end is gone."""
    pace = Pace(now(), seconds)
    request = bytes(REQUEST_BYTES)
    buffer = bytearray(1 << 20)
    while not pace.over and (moment := now()) < pace.ends + GRACE:
        if count := pace.ask(moment):
            connection.sendall(request * count)
        due = pace.next
        until = due if due is not None else pace.ends + GRACE
        if select.select([connection], [], [], max(0.0, until - now()))[0]:
            size = connection.recv_into(buffer)
            if not size:
                raise ConnectionResetError("the other end is gone")
            pace.take(size, now())
    return pace.window()


@click.group()
def main() -> None:
    # Who waits for a due time is not woken together with others.
    set_timer_slack(1e-9)


@main.command()
@click.argument("address")
def serve(address: str) -> None:
    with socket.create_server((address, PORT)) as listener:
        print("ready", flush=True)
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        answer, rest = bytes(ANSWER_BYTES), 0
        with connection, suppress(ConnectionError):
            while data := connection.recv(65536):
                count, rest = divmod(rest + len(data), REQUEST_BYTES)
                connection.sendall(answer * count)


@main.command()
@click.argument("address")
def ask(address: str) -> None:
    with socket.create_connection((address, PORT), timeout=10) as connection:
        connection.settimeout(None)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        print("ready", flush=True)
        for line in sys.stdin:
            print(json.dumps(asdict(asked(connection, float(line), time.monotonic))), flush=True)


if __name__ == "__main__":
    main()
