"""Sends the frames of a capture file by one interface, over and over: `frames_send.py INTERFACE FILE COUNT RATE`.

RATE is in frames a second, COUNT bounds them.
"""

import socket
import sys
import time
from itertools import cycle, islice
from pathlib import Path

from frames_pcap import read_pcap

AT_ONCE = 50


def main(interface: str, path: str, count: int, rate: int) -> None:
    frames = [packet.data for packet in read_pcap(Path(path))]
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sender:
        sender.bind((interface, 0))
        began = time.monotonic()
        for sent, frame in enumerate(islice(cycle(frames), count), 1):
            sender.send(frame)
            if sent % AT_ONCE == 0:
                time.sleep(max(0.0, began + sent / rate - time.monotonic()))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
