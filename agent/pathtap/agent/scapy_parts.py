"""The two parts of scapy that a capture is made of, without the rest of what scapy does when it is imported.

scapy reads the node's links and routes at its import, and all links again for a name that is new to it, each time through
its own dissector: on a node of 200 pods that takes two seconds, and arming should take milliseconds. Nothing here needs
them: an interface is known by its name, which the kernel looks up. Imported from the first capture on; scapy costs 40 MB.
"""

import socket
import threading
from functools import cache
from importlib import import_module
from typing import Any

# linux/if_arp.h
ARPHRD_ETHER = 1

_IMPORTING = threading.Lock()


def open_deaf(interface: str) -> socket.socket:
    """scapy's listening socket on `interface`, neither promiscuous nor receiving: of protocol 0. Raises OSError."""
    prepare()
    from scapy.arch.linux import L2ListenSocket
    from scapy.interfaces import NetworkInterface

    named = NetworkInterface(None, {"name": interface, "network_name": interface})
    listening: Any = L2ListenSocket(iface=named, type=0, promisc=False, nofilter=1)
    owned: socket.socket = listening.ins
    # scapy's object closes the socket when it is collected; a duplicate of its descriptor is ours alone.
    own = owned.dup()
    listening.close()
    return own


def compile_filter(text: str, link_type: int) -> tuple[tuple[int, int, int, int], ...]:
    """libpcap's classic BPF for `text`: code, jt, jf, k of each instruction. Raises ImportError without libpcap."""
    prepare()
    from scapy.arch import common

    compiled = common.compile_filter(text, linktype=link_type)
    # scapy declares bpf_int32 signed; it is not (pcap/bpf.h).
    rows = tuple(
        (int(row.code), int(row.jt), int(row.jf), int(row.k) & 0xFFFFFFFF)
        for row in compiled.bf_insns[: compiled.bf_len]
    )
    common.free_filter(compiled)
    return rows


@cache
def prepare() -> None:
    """Imports scapy's Linux module while the table of interfaces refuses to fill itself."""
    with _IMPORTING:
        from scapy.interfaces import NetworkInterfaceDict

        reload = NetworkInterfaceDict.reload
        NetworkInterfaceDict.reload = lambda _: None
        try:
            linux: Any = import_module("scapy.arch.linux")
        finally:
            NetworkInterfaceDict.reload = reload
        from scapy.config import conf
        from scapy.packet import Raw

        # scapy's sockets ask for stamps, and as long as any socket does, the kernel stamps every packet that any interface
        # receives (net_enable_timestamp). A ring stamps what its filter accepts. This option means nothing to a packet socket.
        linux.SO_TIMESTAMPNS = socket.SO_BROADCAST
        # Else a socket would look for its link type's dissector, which this program has no use for.
        conf.default_l2 = conf.default_l2 or Raw
        if ARPHRD_ETHER not in conf.l2types:
            conf.l2types.register_num2layer(ARPHRD_ETHER, Raw)
