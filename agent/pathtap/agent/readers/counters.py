"""Reads what this network namespace's kernel has counted since its start: the drops that leave no other trace.

Names are those that `nstat` prints, and `conntrack.NAME` for the columns of the connection tracking's own statistics,
summed over the processors. A kernel without a counter lacks its name.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from pathtap.model.survey import EXPOSING, CpuCounters

# In the reader's own thread: /proc/net is that of the process's main thread.
ROOT = Path("/proc/thread-self/net")

_CONNTRACK_FILE = "stat/nf_conntrack"
_FILES = ("snmp", "netstat", "snmp6", _CONNTRACK_FILE)
# net/ipv4/proc.c and net/ipv6/proc.c give the names; beside each, what makes it rise.
_WANTED = frozenset(
    {
        "IpInReceives",
        # ip_rcv_core: a malformed header, or a TTL that ended here.
        "IpInHdrErrors",
        # ip_route_input_slow: no route back, a martian, or not for this host while it does not forward.
        "IpInAddrErrors",
        "IpForwDatagrams",
        "IpInDiscards",
        "IpOutDiscards",
        "IpOutNoRoutes",
        # ip_fragment: larger than the MTU, and don't-fragment is set.
        "IpFragFails",
        "IpReasmFails",
        "IpExtInNoRoutes",
        "IpExtInTruncatedPkts",
        # fib_validate_source refused the source by rp_filter.
        "TcpExtIPReversePathFilter",
        "TcpExtListenOverflows",
        "TcpExtListenDrops",
        "TcpExtTCPReqQFullDrop",
        "TcpOutRsts",
        "UdpNoPorts",
        "UdpRcvbufErrors",
        "IcmpOutDestUnreachs",
        "IcmpOutTimeExcds",
        "IcmpOutRateLimitGlobal",
        "IcmpOutRateLimitHost",
        "Ip6InHdrErrors",
        "Ip6InNoRoutes",
        "Ip6InAddrErrors",
        "Ip6InDiscards",
        "Ip6OutDiscards",
        "Ip6OutNoRoutes",
        "Ip6OutForwDatagrams",
        "Ip6InTooBigErrors",
        "Ip6FragFails",
        "Icmp6OutDestUnreachs",
        "Icmp6OutPktTooBigs",
        "Icmp6OutTimeExcds",
    }
)
# nf_conntrack_standalone.c, ct_cpu_seq_show. `entries` is one number for all processors, and a sysctl already.
_CONNTRACK = {
    "found": "found",
    "invalid": "invalid",
    "insert_failed": "insert_failed",
    "drop": "drop",
    "early_drop": "early_drop",
    "icmp_error": "error",
    "search_restart": "search_restart",
    "clashres": "clash_resolve",
    # Since Linux 5.14 the column of `searched` counts chains that were too long.
    "chainlength": "chain_toolong",
}
_LARGEST = 2**64 - 1


def fetch(root: Path = ROOT) -> dict[str, str]:
    """The files' text; one that this kernel does not have is left out. Raises OSError."""
    found = {}
    for name in _FILES:
        try:
            found[name] = (root / name).read_text()
        except FileNotFoundError:
            continue
    return found


def decode(texts: Mapping[str, str]) -> dict[str, int]:
    """The counters that are wanted, by name in order. What is not a number is left out."""
    counted = {
        **_named_lines(texts.get("snmp", "")),
        **_named_lines(texts.get("netstat", "")),
        **dict(_pair(line) for line in texts.get("snmp6", "").splitlines() if len(line.split()) == 2),
    }
    wanted = {name: int(text) for name, text in counted.items() if name in _WANTED and _is_count(text)}
    return dict(sorted((wanted | _conntrack(texts.get(_CONNTRACK_FILE, ""))).items()))


def decode_cpus(texts: Mapping[str, str]) -> tuple[CpuCounters, ...]:
    """Each processor's counters of EXPOSING, numbered from 0 as the lines are: a line does not name its processor."""
    rows = _by_processor(texts.get(_CONNTRACK_FILE, ""))
    return tuple(
        CpuCounters(cpu=cpu, counters={name: row[name] for name in EXPOSING if name in row})
        for cpu, row in enumerate(rows)
    )


def _named_lines(text: str) -> dict[str, str]:
    """Pairs of lines: `Ip: InReceives …` and `Ip: 3178 …`."""
    lines = text.splitlines()
    found: dict[str, str] = {}
    for names, values in zip(lines[::2], lines[1::2], strict=False):
        prefix = names.partition(":")[0]
        found |= {f"{prefix}{name}": value for name, value in zip(names.split()[1:], values.split()[1:], strict=False)}
    return found


def _pair(line: str) -> tuple[str, str]:
    name, value = line.split()
    return name, value


def _conntrack(text: str) -> dict[str, int]:
    sums: dict[str, int] = {}
    for counted in _by_processor(text):
        for name, value in counted.items():
            sums[f"conntrack.{name}"] = sums.get(f"conntrack.{name}", 0) + value
    return sums


def _by_processor(text: str) -> Iterator[dict[str, int]]:
    """A line of names, and one line for each possible processor, in hexadecimal."""
    head, *rows = text.splitlines() or [""]
    columns = head.split()
    for row in rows:
        pairs = zip(columns, row.split(), strict=False)
        yield {_CONNTRACK[column]: int(value, 16) for column, value in pairs if column in _CONNTRACK}


def _is_count(text: str) -> bool:
    return text.isdecimal() and int(text) <= _LARGEST
