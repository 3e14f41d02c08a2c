"""One flow that lasts: `python -m pathtap.lab.lasting [--from PORT] SECONDS tcp|udp:ADDRESS:PORT`.

Writes one byte to standard output once the flow has begun. A TCP connection is held open and says nothing; over UDP a
datagram goes out four times a second. Ends by itself after SECONDS, an hour at most, and is quiet about what it is answered.
"""

import argparse
import os
import socket
import sys
import time
from contextlib import suppress

_MOST_SECONDS = 3600.0
_PAUSE_SECONDS = 0.25
_CONNECT_SECONDS = 5.0


def _begin(protocol: str, here: int, peer: tuple[str, int]) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM)
    made.bind(("", here))
    made.settimeout(_CONNECT_SECONDS)
    made.connect(peer)
    return made


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m pathtap.lab.lasting")
    parser.add_argument("--from", type=int, default=0, dest="here", metavar="PORT")
    parser.add_argument("seconds", type=float)
    parser.add_argument("peer", metavar="PROTOCOL:ADDRESS:PORT")
    options = parser.parse_args()
    protocol, address, port = options.peer.split(":")
    until = time.monotonic() + min(options.seconds, _MOST_SECONDS)
    with _begin(protocol, options.here, (address, int(port))) as made:
        if protocol == "udp":
            made.send(b"hello\n")
        os.write(sys.stdout.fileno(), b"\n")
        while time.monotonic() < until:
            time.sleep(_PAUSE_SECONDS)
            if protocol == "udp":
                with suppress(OSError):
                    made.send(b"hello\n")


if __name__ == "__main__":
    main()
