"""Two pods of one node race with equal source ports to one destination: what `--random-fully` exists for, made to happen.

Judges no node: says what the node's own counters and its table show. The senders are `pathtap.lab.racer`. Bounded in count and in
time; what it leaves behind are conntrack entries, which the kernel ends after two minutes.
"""

import ctypes
import os
import socket
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path

from pathtap.agent.readers import counters
from pathtap.collector.proving.depletion import Cause, LostPorts, lost_ports
from pathtap.lab import conntrack_table
from pathtap.lab.cluster import INTERNET, Cluster, Pod
from pathtap.lab.conntrack_table import Held
from pathtap.lab.errors import LabError
from pathtap.lab.kernel import MARK, inside, write_sysctls
from pathtap.lab.racer import MEMORY_SIZE, MOST_SECONDS
from pathtap.lab.state import StateDirectory
from pathtap.model.address import Protocol
from pathtap.model.netfilter import Random

MOST_PAIRS = 32_000
# All from 10,000 up: the class from 1024 to 65535, of which NAT keeps a port (nf_nat_l4proto_unique_tuple).
FIRST_PORT = 10_000
CAPACITY = 64_512
# RFC 863, discard.
_PORT = 9
_PROTOCOLS = {"tcp": Protocol.TCP, "udp": Protocol.UDP}
_KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}
_RANDOM = {"prng": Random.FULLY, "hashrandom": Random.RANDOM, "none": Random.NONE}
_MEANS = {
    Cause.NONE: "every flow has its entry",
    Cause.RACE: "flows lost their ports to others that chose them at the same moment, with ports enough for all",
    Cause.DEPLETION: "flows found no port, so few were left",
}
_COUNTERS = ("insert_failed", "drop", "clash_resolve")
_SO_ATTACH_FILTER = 26
# `ret #0` of classic BPF: a packet is cut down to nothing, and is dropped (sk_filter_trim_cap of net/core/filter.c).
_RETURN_NOTHING = struct.pack("=HBBI", 0x06, 0, 0, 0)
_GRACE_SECONDS = 10.0
_UDP_TIMEOUT = "net/netfilter/nf_conntrack_udp_timeout"
# As long as an unanswered SYN's entry.
_LASTING_SECONDS = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Race:
    """What became of `pairs` of flows with equal source ports, in a lab that was built with `randomize`.

    `rose` is by counter of the node, over all processors. `entries` are those towards the destination afterwards, `in_use` the
    ports of each translated address that they hold.
    """

    node: str
    randomize: str
    pods: tuple[str, str]
    protocol: str
    destination: str
    pairs: int
    apart: bool
    sent: int
    seconds: float
    rose: Mapping[str, int]
    entries: int
    in_use: Mapping[IPv4Address, int]
    lost: LostPorts

    @property
    def lines(self) -> tuple[str, ...]:
        """What happened, for a person; the last line begins with the cause: NONE, RACE or DEPLETION."""
        last = FIRST_PORT + self.pairs - 1
        how = "one pod after the other" if self.apart else "each pair at the same moment"
        first, second = self.pods
        rose = ", ".join(f"{name} +{count}" for name, count in self.rose.items())
        return (
            f"{self.pairs} pairs of {self.protocol} flows from {first} and {second} to {self.destination}, source ports"
            f" {FIRST_PORT} to {last}, {how}, in {self.seconds:.1f} s",
            f"{self.node}, built with --randomize {self.randomize}: {self.sent} packets sent, {self.entries} entries, {rose}",
            *(f"{address}: {count} of {CAPACITY} ports in use" for address, count in self.in_use.items()),
            f"{self.lost.cause.value}: {_MEANS[self.lost.cause]}",
        )


def race(cluster: Cluster, pairs: int, protocol: str, *, apart: bool = False) -> Race:
    """Flushes node 1's conntrack table and lets its first two pods send from the same `pairs` source ports, 32,000 at most.

    With `apart` one sends after the other, so that nothing races and what is lost is lost to the lack of ports. LabError where
    there is one processor alone, on which nothing races either, and where the senders do not end in time.
    """
    if not 1 <= pairs <= MOST_PAIRS:
        raise LabError(f"A race has 1 to {MOST_PAIRS} pairs, not {pairs}.")
    if cluster.options.kube:
        raise LabError("A race is run by pods that the lab has made itself: build one without --kube for it.")
    with StateDirectory(cluster.options.prefix).locked():
        return _race(cluster, pairs, protocol, apart=apart)


def _race(cluster: Cluster, pairs: int, protocol: str, *, apart: bool) -> Race:
    node = cluster.nodes[0]
    contest = _Contest(
        pods=(node.pods[0], node.pods[1]), protocol=protocol, pairs=pairs, apart=apart, mark=cluster.options.prefix
    )
    inside(node.network_namespace, conntrack_table.flush)
    with (
        _lasting_entries(node.network_namespace),
        inside(cluster.outside_namespace(INTERNET), partial(_sink, protocol)),
    ):
        before, began = inside(node.network_namespace, _counted), time.monotonic()
        sent = _run(contest)
        seconds, after = time.monotonic() - began, inside(node.network_namespace, _counted)
    rose = {name: after.get(name, 0) - before.get(name, 0) for name in after}
    towards = partial(conntrack_table.held_towards, _PROTOCOLS[protocol], (INTERNET.address, _PORT))
    held: list[Held] = inside(node.network_namespace, towards)
    in_use = Counter(address for address, _ in {(each.translated, each.port) for each in held})
    return Race(
        node=node.name,
        randomize=cluster.options.randomize,
        pods=(contest.pods[0].key, contest.pods[1].key),
        protocol=protocol,
        destination=contest.destination,
        pairs=pairs,
        apart=apart,
        sent=sent,
        seconds=seconds,
        rose=rose,
        entries=len(held),
        in_use=dict(sorted(in_use.items())),
        lost=lost_ports(
            in_use=max(in_use.values(), default=0),
            capacity=CAPACITY,
            lost=rose.get("insert_failed", 0),
            random=_RANDOM[cluster.options.randomize],
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Contest:
    pods: tuple[Pod, Pod]
    protocol: str
    pairs: int
    apart: bool
    mark: str

    @property
    def destination(self) -> str:
        return f"{INTERNET.address}:{_PORT}"

    def command(self, side: int, memory: int, cpu: int) -> list[str]:
        # -P: what runs as root takes no module from the directory where a person happens to stand.
        python = [sys.executable, "-P", "-m", "pathtap.lab.racer"]
        numbers = [str(side), str(memory), str(cpu), self.protocol, str(self.pairs), str(FIRST_PORT)]
        inside_pod = ["ip", "netns", "exec", self.pods[side].network_namespace]
        return [*inside_pod, *python, *numbers, self.destination, *(["--apart"] if self.apart else [])]


@contextmanager
def _lasting_entries(namespace: str) -> Iterator[None]:
    """On a busy machine a race may take longer than the half minute that an unanswered UDP entry lives."""
    before = inside(namespace, (Path("/proc/sys") / _UDP_TIMEOUT).read_text)
    write_sysctls(namespace, {_UDP_TIMEOUT: str(_LASTING_SECONDS)})
    try:
        yield
    finally:
        write_sysctls(namespace, {_UDP_TIMEOUT: before})


def _sink(protocol: str) -> socket.socket:
    """A socket that takes all that is sent to it and answers nothing: neither replies nor ICMP errors stir the entries."""
    made = socket.socket(socket.AF_INET, _KINDS[protocol])
    program = ctypes.create_string_buffer(_RETURN_NOTHING)
    made.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", 1, ctypes.addressof(program)))
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind((str(INTERNET.address), _PORT))
    if protocol == "tcp":
        made.listen(1)
    return made


def _counted() -> dict[str, int]:
    """Of the calling thread's namespace, over all processors."""
    found = counters.decode(counters.fetch())
    return {name: found[f"conntrack.{name}"] for name in _COUNTERS if f"conntrack.{name}" in found}


def _run(contest: _Contest) -> int:
    """Starts both senders and returns how many packets they sent. LabError where one fails; then both are ended."""
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) == 1 and not contest.apart:
        raise LabError(
            "Two flows race on two processors, and there is one alone here: --apart shows what does not race."
        )
    memory = os.memfd_create("race")
    senders: list[subprocess.Popen[str]] = []
    try:
        os.ftruncate(memory, MEMORY_SIZE)
        for side in (0, 1):
            argv = contest.command(side, memory, cpus[side % len(cpus)])
            senders.append(
                subprocess.Popen(
                    argv,
                    pass_fds=(memory,),
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                    env={**os.environ, MARK: contest.mark},
                )
            )
        return sum(_result(sender) for sender in senders)
    finally:
        os.close(memory)
        for sender in senders:
            sender.kill()
            sender.communicate()


def _result(sender: subprocess.Popen[str]) -> int:
    try:
        out, err = sender.communicate(timeout=MOST_SECONDS + _GRACE_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise LabError(f"A sender of the race did not end within {MOST_SECONDS + _GRACE_SECONDS:.0f} s.") from error
    if sender.returncode != 0:
        last = (err.strip().splitlines() or ["it said nothing"])[-1]
        raise LabError(f"A sender of the race failed: {last}.")
    return int(out)
