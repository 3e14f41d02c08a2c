"""A packet socket on each interface, with a capture's filter and no ring, never read: what the kernel takes for listening at all.

`python -m bench.sockets INTERFACE…` in the node's network namespace: says `ready`, then answers each line on its standard input
with {"kept": 0}. The lines `arm` and `disarm` open the sockets and close them first; `end` ends the process too.

A socket that hears all protocols is handed a clone of every packet that leaves the interface, before any filter is asked
(dev_queue_xmit_nit, net/core/dev.c).
"""

import ctypes
import json
import socket
import struct
import sys
from contextlib import ExitStack

import click

from bench.frames import request
from pathtap.agent.bpf import encode
from pathtap.agent.filter import header_program

# asm-generic/socket.h, linux/if_ether.h.
SO_ATTACH_FILTER, ETH_P_ALL = 26, 0x0003


def open_socket(interface: str) -> socket.socket:
    """Raises OSError. It hears nothing until its filter is attached."""
    program = header_program(request())
    code = ctypes.create_string_buffer(encode(program))
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    try:
        header = struct.pack("@HP", len(program), ctypes.addressof(code))
        opened.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, header)
        opened.bind((interface, ETH_P_ALL))
    except OSError:
        opened.close()
        raise
    return opened


@click.command()
@click.argument("interfaces", nargs=-1, required=True)
def main(interfaces: tuple[str, ...]) -> None:
    with ExitStack() as opened:
        print("ready", flush=True)
        for line in sys.stdin:
            word = line.strip()
            opened.close()
            if word == "arm":
                for interface in interfaces:
                    opened.enter_context(open_socket(interface))
            print(json.dumps({"kept": 0}), flush=True)
            if word == "end":
                return


if __name__ == "__main__":
    main()
