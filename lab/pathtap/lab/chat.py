"""Keeps a pod busy: `python -m pathtap.lab.chat SECONDS tcp:ADDRESS:PORT udp:ADDRESS:PORT …`, one after another.

Bounded in time and in rate, and quiet about peers that do not answer: the traffic is for others to look at.
"""

import socket
import sys
import time
from contextlib import suppress

PAUSE_SECONDS = 0.2
ANSWER_SECONDS = 0.5
MOST_SECONDS = 600.0


def talk(protocol: str, address: str, port: int) -> None:
    """One connection or datagram, and whatever comes back first."""
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    with suppress(OSError), socket.socket(socket.AF_INET, kind) as made:
        made.settimeout(ANSWER_SECONDS)
        made.connect((address, port))
        made.sendall(b"hello\n")
        made.recv(100)


def main(arguments: list[str]) -> None:
    seconds, *peers = arguments
    until = time.monotonic() + min(float(seconds), MOST_SECONDS)
    while time.monotonic() < until:
        for peer in peers:
            protocol, address, port = peer.split(":")
            talk(protocol, address, int(port))
        time.sleep(PAUSE_SECONDS)


if __name__ == "__main__":
    main(sys.argv[1:])
