"""The part of scapy that a capture is made of, libpcap's compiler, without the rest of what scapy does when it is imported.

scapy reads the node's links and routes at its import, through its own dissector: on a node of 200 pods that takes two seconds,
and arming should take milliseconds. Nothing here needs them. Imported from the first capture on; scapy costs 40 MB.
"""

import threading
from functools import cache
from importlib import import_module

_IMPORTING = threading.Lock()


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
            import_module("scapy.arch.linux")
        finally:
            NetworkInterfaceDict.reload = reload
