"""What a source socket is translated to towards one destination the kernel reuses towards others, unless a flag forbids it."""

import socket
from collections import Counter
from collections.abc import Iterator
from ipaddress import ip_address

import pytest
from three_namespaces import DESTINATION, SOURCE, Wires, run, wired

from pathtap.agent.readers.conntrack import decode, fetch_all
from pathtap.collector.proving.pairs import MAPPED, Rewriting, recorded_pairs, weighed
from pathtap.model.conntrack import ConntrackEntry
from pathtap.model.netfilter import Random

pytestmark = pytest.mark.netns

NODE, OTHER = ip_address("10.211.1.1"), ip_address("10.211.0.3")
RULES = """
table ip reused {
  chain post {
    type nat hook postrouting priority srcnat
    oifname v-target udp dport 53 masquerade fully-random
    oifname v-target masquerade
  }
}
"""


@pytest.fixture
def wires() -> Iterator[Wires]:
    with wired("reused") as built:
        run("ip", "-n", built.source.name, "addr", "add", f"{OTHER}/24", "dev", "eth0")
        built.nft(RULES)
        yield built


def send(wires: Wires, source: object, port: int, *to: int) -> None:
    with wires.socket(wires.source, socket.SOCK_DGRAM) as sending:
        sending.bind((str(source), port))
        for each in to:
            sending.sendto(b"x", (str(DESTINATION), each))


def entries(wires: Wires) -> tuple[ConntrackEntry, ...]:
    found = wires.on_node(lambda: decode(fetch_all(SOURCE), "n"))
    return tuple({each.original: each for each in found if each.original.source == SOURCE}.values())


def reasons(wires: Wires, *towards: int) -> tuple[int, Counter[str]]:
    """How many of the pairs towards these ports were changed, and why pairs do not count."""
    known = entries(wires)
    pairs = recorded_pairs(each for each in known if each.original.destination_port in towards)
    told = weighed(pairs, Rewriting(random=Random.NONE, gives=NODE), (), sent=False, mappings=known)
    return sum(pair.original.port != pair.translated.port for pair in pairs), Counter(pair.discounted for pair in told)


def test_one_collision_spreads_to_all_destinations_and_counts_once(wires: Wires) -> None:
    send(wires, OTHER, 5_060, 1_000)
    send(wires, SOURCE, 5_060, *range(1_000, 1_064))
    assert reasons(wires, *range(1_000, 1_064)) == (64, Counter({MAPPED: 63, "": 1}))


def test_what_a_rule_with_a_flag_has_drawn_one_without_reuses(wires: Wires) -> None:
    for port in range(30_000, 30_020):
        send(wires, SOURCE, port, 53, 8_080)
    changed, why = reasons(wires, 8_080)
    # One in 64,512 is drawn as it was.
    assert changed >= 19
    assert why[MAPPED] == changed
