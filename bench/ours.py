"""A capture as the agent runs it, in a process of its own that counts what is handed on.

`python -m bench.ours INTERFACE…` in the node's network namespace: says `ready` once it is armed, then answers each line on its
standard input with {"kept", "lost"} as JSON, so far; at `end` it ends the capture and adds "accepted", the kernel's count.
"""

import json
import sys

import click

from bench.frames import request
from pathtap.agent.capture import open_capture
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


@click.command()
@click.argument("interfaces", nargs=-1, required=True)
def main(interfaces: tuple[str, ...]) -> None:
    count = Count()
    capture = open_capture("bench", request(), interfaces, count)
    try:
        if capture.armed.unread:
            raise click.ClickException(" ".join(unread.reason for unread in capture.armed.unread))
        print("ready", flush=True)
        for line in sys.stdin:
            if line.strip() == "end":
                break
            print(json.dumps(count.so_far()), flush=True)
    finally:
        ended = capture.end()
    accepted = sum(stats.received for stats in ended.stats)
    print(json.dumps({**count.so_far(), "accepted": accepted}), flush=True)


if __name__ == "__main__":
    main()
