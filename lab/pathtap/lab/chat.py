"""Keeps a pod busy: `python -m pathtap.lab.chat [--every S] SECONDS tcp:ADDRESS:PORT udp:ADDRESS:PORT …`.

Talks to one peer after another, bounded in time and in rate, and is quiet about those that do not answer: the traffic is
for others to look at.
"""

import argparse
import socket
import time
from collections.abc import Sequence
from contextlib import suppress

ANSWER_SECONDS = 0.5
MOST_SECONDS = 600.0
LEAST_PAUSE_SECONDS = 0.05


def talk(protocol: str, address: str, port: int) -> None:
    """One connection or datagram, and whatever comes back first."""
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    with suppress(OSError), socket.socket(socket.AF_INET, kind) as made:
        made.settimeout(ANSWER_SECONDS)
        made.connect((address, port))
        made.sendall(b"hello\n")
        made.recv(100)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m pathtap.lab.chat")
    parser.add_argument("--every", type=float, default=0.5, help="seconds between two rounds")
    parser.add_argument("seconds", type=float)
    parser.add_argument("peers", nargs="+", metavar="PROTOCOL:ADDRESS:PORT")
    options = parser.parse_args(arguments)
    until = time.monotonic() + min(options.seconds, MOST_SECONDS)
    while time.monotonic() < until:
        for peer in options.peers:
            protocol, address, port = peer.split(":")
            talk(protocol, address, int(port))
        time.sleep(max(options.every, LEAST_PAUSE_SECONDS))


if __name__ == "__main__":
    main()
