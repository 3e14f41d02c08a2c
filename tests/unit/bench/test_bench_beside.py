"""Counters of a namespace, read from the kernel's own tables."""

from bench.beside import datagrams_of, received

DEV = """Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:      70       1    0    0    0     0          0         0       70       1    0    0    0     0       0          0
  node:119254400 1192544    0    0    0     0          0         0      0       0    0    0    0     0       0          0
"""
SNMP = """Icmp: InMsgs InErrors
Icmp: 5 0
Udp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors InCsumErrors IgnoredMulti MemErrors
Udp: 1200 3 7 1300 7 0 0 0 0
UdpLite: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors InCsumErrors IgnoredMulti MemErrors
UdpLite: 0 0 0 0 0 0 0 0 0
"""


def test_the_bytes_of_one_interface_are_read() -> None:
    assert received(DEV, "node") == 119254400
    assert received(DEV, "lo") == 70


def test_datagrams_are_those_that_sockets_took_and_sent() -> None:
    assert datagrams_of(SNMP) == (1200, 1300)
