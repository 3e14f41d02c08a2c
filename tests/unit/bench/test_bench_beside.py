"""Counters of a namespace, read from the kernel's own tables; what windows with and without a trace say."""

from bench.beside import Three, Window, costs, datagrams_of, received

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


def three(untraced: float, bare: float, traced: float) -> Three:
    windows = [Window(rate=2e9, cost=cost, loss=0.0) for cost in (untraced, bare, traced)]
    return Three(untraced=windows[0], bare=windows[1], traced=windows[2])


def test_a_traces_price_is_told_beside_what_the_kernel_takes_for_any_socket() -> None:
    # A machine whose pace drifts: each three is twice as dear as the last, and the ratios within them stay.
    whole, kernels, above = costs("UDP", [three(2.0**n, 1.04 * 2.0**n, 1.05 * 2.0**n) for n in range(6)])
    assert [round(row["ours"] or 0, 4) for row in (whole, kernels, above)] == [1.05, 1.04, 1.0096]
    assert [row["met"] for row in (whole, kernels, above)] == [False, None, True]
    assert whole["note"].startswith("6 pairs at 2.0 Gbit/s: median 1.050, 97% between 1.050 and 1.050")
    assert kernels["note"].startswith("what the kernel takes for any packet socket")
