"""A capture as the agent runs it, in a process of its own that counts what is handed on.

`python -m bench.ours INTERFACE…` in the node's network namespace: says `ready` once it is armed, then answers each line on its
standard input with {"kept", "lost", "accepted"} as JSON, so far; "accepted" is the kernel's count, 0 until the capture has ended.
The lines `disarm` and `arm` end the capture and open another first; `end` ends the process too.
"""

import json
import sys

import click

from bench.frames import request
from pathtap.agent.capture import Capture, open_capture
from pathtap.agent.delivery import Packets


class Count:
    """A `Deliver` that looks at nothing but how many."""

    def __init__(self) -> None:
        self.kept = 0
        self.lost: dict[str, int] = {}

    def __call__(self, packets: Packets) -> None:
        self.kept += len(packets)
        for lost in packets.lost:
            self.lost[lost.where] = self.lost.get(lost.where, 0) + lost.count

    def so_far(self) -> dict[str, object]:
        return {"kept": self.kept, "lost": dict(self.lost)}


class Tap:
    """The capture, or none."""

    def __init__(self, interfaces: tuple[str, ...]) -> None:
        self._interfaces = interfaces
        self._count = Count()
        self._accepted = 0
        self._capture: Capture | None = None

    def arm(self) -> None:
        """Raises ClickException where an interface cannot be captured."""
        self._count, self._accepted = Count(), 0
        self._capture = open_capture("bench", request(), self._interfaces, self._count)
        if self._capture.armed.unread:
            raise click.ClickException(" ".join(unread.reason for unread in self._capture.armed.unread))

    def disarm(self) -> None:
        if self._capture is not None:
            self._accepted = sum(stats.received for stats in self._capture.end().stats)
            self._capture = None

    def say(self) -> None:
        print(json.dumps({**self._count.so_far(), "accepted": self._accepted}), flush=True)


@click.command()
@click.argument("interfaces", nargs=-1, required=True)
def main(interfaces: tuple[str, ...]) -> None:
    tap = Tap(interfaces)
    try:
        tap.arm()
        print("ready", flush=True)
        for line in sys.stdin:
            word = line.strip()
            if word in ("disarm", "end"):
                tap.disarm()
            elif word == "arm":
                tap.arm()
            tap.say()
            if word == "end":
                return
    finally:
        tap.disarm()


if __name__ == "__main__":
    main()
