"""Every fault in a lab of each backend: it breaks what it says, for real packets, and heals to the exact former state."""

import difflib
import errno
import json
import os
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.request import urlopen

import pytest

from pathtap.lab.breaking import break_lab, fault_named, heal_lab
from pathtap.lab.build import LabOptions, build, tear_down
from pathtap.lab.errors import LabError
from pathtap.lab.faults import FAULTS, Fault
from pathtap.lab.faults.changes import CommandChange
from pathtap.lab.kernel import command_inside, inside, network_namespaces
from pathtap.lab.procfs import roles
from pathtap.lab.state import StateDirectory
from pathtap.lab.status import status
from pathtap.lab.topology import INTERNET_HOST, UDP_ECHO_PORT, Cluster

pytestmark = pytest.mark.netns

OPTIONS = {
    "nft": LabOptions(prefix=f"f{os.getpid()}a", backend="nft", names="eth", chains="return"),
    "legacy": LabOptions(prefix=f"f{os.getpid()}b", backend="legacy", names="ens", chains="jump"),
}
SILENCE = 0.3
NOTICING = 3.0
# What one ICMP error of routing costs of what the kernel saves up, and longer than a SYN waits to be repeated.
LIMITED, PATIENCE, TRIES = 2.1, 1.5, 4
# What the source's own socket is told; nothing (a time-out) where a fault is not listed.
TOLD = {
    "forward-reject": errno.ECONNREFUSED,
    "no-default-route": errno.ENETUNREACH,
    "unreachable-route": errno.EHOSTUNREACH,
    "prohibit-route": errno.EHOSTUNREACH,
    "host-unreachable": errno.EHOSTUNREACH,
    "no-endpoints": errno.ECONNREFUSED,
    "nothing-listens": errno.ECONNREFUSED,
    "duplicate-address": errno.ECONNREFUSED,
}
# The packets are answered as before; what is wrong is seen otherwise.
ANSWERED = {
    "stale-rule-set",
    "unexpected-snat",
    "stale-conntrack",
    "snat-random-fallback",
    "snat-not-random",
    "masquerade-before-snat",
}


@pytest.fixture(scope="module", params=OPTIONS)
def lab(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    options = OPTIONS[request.param]
    try:
        yield build(options)
    finally:
        tear_down(options.prefix)


@contextmanager
def broken(lab: Cluster, *names: str) -> Iterator[None]:
    """In force in this order, and healed in the same."""
    made: list[str] = []
    try:
        for name in names:
            break_lab(lab.options.prefix, name)
            made.append(name)
        yield
    finally:
        for name in made:
            heal_lab(lab.options.prefix, name)


def address_of(lab: Cluster, name: str) -> str:
    """Of a pod, a Service or the address itself."""
    if name.startswith("svc/"):
        return next(str(each.address) for each in lab.services if each.key == name.removeprefix("svc/"))
    return str(lab.pod(name).address) if "/" in name else name


def outcome(lab: Cluster, fault: Fault, *, patience: float = SILENCE) -> int:
    """0 where what the fault's trace asks for is answered, else the errno; ETIMEDOUT where nothing came."""
    trace, host = fault.trace, address_of(lab, fault.trace.destination)
    if trace.port:
        protocol = trace.protocol or "tcp"
        return inside(lab.pod(trace.source).network_namespace, lambda: connected(protocol, host, trace.port, patience))
    whole = ["-M", "do", "-s", str(trace.size)] if trace.size else []
    try:
        ping = ["ping", "-n", "-c", "1", "-W", str(patience), *whole, host]
        command_inside(lab.pod(trace.source).network_namespace, ping)
    except LabError:
        return errno.ETIMEDOUT
    return 0


def outcome_once_told(lab: Cluster, fault: Fault, expected: int) -> int:
    """The kernel limits the ICMP errors for one host, and one that comes while connect() has the socket is only noted: who is
    to be told asks again, for long enough that the SYN is repeated.
    """
    told = outcome(lab, fault)
    for _ in range(TRIES):
        if told in (expected, 0):
            break
        time.sleep(LIMITED)
        told = outcome(lab, fault, patience=PATIENCE)
    return told


def connected(protocol: str, host: str, port: int, patience: float = SILENCE) -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM) as made:
        made.settimeout(patience)
        try:
            made.connect((host, port))
            made.send(b"hello\n")
            return 0 if made.recv(100) else errno.ECONNRESET
        except TimeoutError:
            return errno.ETIMEDOUT
        except OSError as error:
            return error.errno or -1


def settled(lab: Cluster) -> dict[str, str]:
    """Everything that a fault may change, as text, by where it was read."""
    here = StateDirectory(lab.options.prefix)
    there = {path.name: path.read_text() for path in here.path.iterdir() if path.suffix == ".json"}
    own = f"{lab.options.prefix}-"
    there["namespaces"] = " ".join(sorted(name for name in network_namespaces() if name.startswith(own)))
    there["processes"] = " ".join(sorted(roles(lab.options.prefix)))
    inside_pods = {pod.network_namespace for pod in lab.pods}
    for namespace in lab.network_namespaces:
        there[f"{namespace} ip"] = command_inside(namespace, ["ip", "-4", "-batch", "-"], stdin=IP)
        there[f"{namespace} nft"] = command_inside(namespace, ["nft", "-s", "list", "ruleset"])
        if namespace not in inside_pods:
            there |= {f"{namespace} {argv[0]}": command_inside(namespace, argv) for argv in FURTHER}
            there[f"{namespace} sysctls"] = inside(namespace, sysctls)
    return {place: without_chance(text) for place, text in there.items()}


IP = "rule\nroute show table all\nneigh show nud permanent\nlink\naddress\n"
FURTHER = (["tc", "qdisc"], ["iptables-nft-save"], ["iptables-legacy-save"], ["ipset", "save"])


def sysctls() -> str:
    """Those that say how the present namespace forwards, filters and tracks."""
    net = Path("/proc/sys/net")
    found = [*net.glob("ipv4/conf/*/rp_filter"), *net.glob("ipv4/ip_forward"), *net.glob("netfilter/*timeout*")]
    return "".join(f"{path} {path.read_text()}" for path in sorted(found))


def differences(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """`PLACE: -line` and `PLACE: +line`."""
    lines = []
    for place in sorted({*before, *after}):
        found = difflib.ndiff(before.get(place, "").splitlines(), after.get(place, "").splitlines())
        lines += [f"{place}: {line}" for line in found if line[0] in "-+"]
    return lines


def what_is_left(lab: Cluster, healthy: dict[str, str]) -> list[str]:
    """What still differs once the kernel has had time to notice, at most a second later, that a link is up again."""
    deadline = time.monotonic() + NOTICING
    while (left := differences(healthy, settled(lab))) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def without_chance(text: str) -> str:
    """Without counters and dates, without legacy tables that are empty (the kernel keeps a table once it was asked for),
    and with the chains in the order of their names: the kernel lists them in the order of their making.
    """
    text = re.sub(r"^#.*\n|\[\d+:\d+\]", "", text, flags=re.MULTILINE)
    text = re.sub(r"^\*\w+\n(:\w+ ACCEPT \n)+COMMIT\n", "", text, flags=re.MULTILINE)
    saved = (sorted(table, key=chain_of) for table in split_before(text.splitlines(), "*"))
    return re.sub(
        r"(^\tchain [^{]+\{\n.*?^\t\}\n+)+",
        lambda found: "".join(sorted(re.findall(r"^\tchain .*?^\t\}\n", found[0], flags=re.MULTILINE | re.DOTALL))),
        "".join(f"{line}\n" for table in saved for line in table),
        flags=re.MULTILINE | re.DOTALL,
    )


def split_before(lines: list[str], mark: str) -> list[list[str]]:
    """One list for what stands before the first line that begins with `mark`, one more for each such line."""
    parts: list[list[str]] = [[]]
    for line in lines:
        if line.startswith(mark):
            parts.append([])
        parts[-1].append(line)
    return parts


def chain_of(line: str) -> tuple[int, str]:
    """The place of iptables-save's line in its table; a line of anything else keeps its own."""
    if line.startswith(":"):
        return 1, line
    return (2, line.split()[1]) if line.startswith("-A ") else (3 if line == "COMMIT" else 0, "")


@pytest.fixture(scope="module")
def healthy(lab: Cluster) -> dict[str, str]:
    return settled(lab)


@pytest.mark.parametrize("name", [fault.name for fault in FAULTS])
def test_a_fault_breaks_what_it_says_and_heals_to_what_was(lab: Cluster, healthy: dict[str, str], name: str) -> None:
    fault = fault_named(name)
    if reason := fault.impossible(lab.options):
        with pytest.raises(LabError, match=re.escape(reason)):
            break_lab(lab.options.prefix, name)
        return
    assert outcome(lab, fault) == 0
    with broken(lab, name):
        expected = 0 if name in ANSWERED else TOLD.get(name, errno.ETIMEDOUT)
        told = outcome_once_told(lab, fault, expected)
        assert f"faults in force: {name}" in status(lab.options.prefix)
    assert errno.errorcode.get(told, "answered") == errno.errorcode.get(expected, "answered")
    assert what_is_left(lab, healthy) == []
    assert outcome(lab, fault) == 0


@pytest.mark.parametrize(
    ("name", "arrives"),
    [
        ("no-pod-route", True),
        ("forward-drop", True),
        ("forward-reject", True),
        ("tc-drop", True),
        ("silent-pod", True),
        ("stale-pod-neighbour", True),
        ("pod-route-to-another-veth", True),
        ("overruled-to-pod-rule", True),
        ("security-group-reply", True),
        ("security-group", False),
        ("blackhole-route", False),
        ("stale-from-pod-rule", False),
        ("conntrack-full", False),
        ("stale-gateway-neighbour", False),
        ("duplicate-address", False),
    ],
)
def test_a_new_flow_comes_as_far_as_the_fault_lets_it(lab: Cluster, name: str, arrives: bool) -> None:
    fault = fault_named(name)
    with broken(lab, name), counting_openings(lab, fault) as arrived:
        assert outcome(lab, fault) != 0
        assert (arrived() > 0) == arrives


@contextmanager
def counting_openings(lab: Cluster, fault: Fault) -> Iterator[Callable[[], int]]:
    """Gives how many SYNs of the fault's trace have come to node 2 so far; a table of the test's own counts them."""
    node = lab.nodes[1].network_namespace
    source = lab.pod(fault.trace.source).address
    ruleset = f"""table ip openings {{
        counter seen {{ }}
        chain arriving {{
            type filter hook prerouting priority -400;
            ip saddr {source} tcp dport {fault.trace.port} tcp flags & (syn | ack) == syn counter name seen
        }}
    }}"""

    def seen() -> int:
        listed = json.loads(command_inside(node, ["nft", "-j", "list", "counter", "ip", "openings", "seen"]))
        return sum(item["counter"]["packets"] for item in listed["nftables"] if "counter" in item)

    command_inside(node, ["nft", "-f", "-"], stdin=ruleset)
    try:
        yield seen
    finally:
        command_inside(node, ["nft", "delete", "table", "ip", "openings"])


def counters(namespace: str) -> dict[str, int]:
    """The conntrack counters of `namespace`, each the sum over all CPUs."""
    found: dict[str, int] = {}
    for name, value in re.findall(r"(\w+)=(\d+)", command_inside(namespace, ["conntrack", "-S"])):
        found[name] = found.get(name, 0) + int(value)
    return found


def entries(namespace: str, *selectors: str) -> str:
    return command_inside(namespace, ["conntrack", "-L", *selectors])


@pytest.fixture(params=OPTIONS)
def fresh(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Of two nat chains with one priority the one registered last translates, and other faults register theirs anew."""
    options = replace(OPTIONS[request.param], prefix=f"f{os.getpid()}d")
    try:
        yield build(options)
    finally:
        tear_down(options.prefix)


def has_kept_its_port(lab: Cluster) -> bool:
    """Whether a connection that search opens leaves its node with the port that it has; no earlier one is on record."""
    node, pod = lab.nodes[0], lab.pod("shop/search")
    command_inside(node.network_namespace, ["conntrack", "-F"])
    assert inside(pod.network_namespace, lambda: connected("tcp", str(INTERNET_HOST), 443)) == 0
    latest = entries(node.network_namespace, "-p", "tcp", "-s", str(pod.address), "--dport", "443")
    answer = rf"src={INTERNET_HOST} dst={node.address} sport=443"
    ((before, after),) = re.findall(rf"sport=(\d+) dport=443 \S+ \S+ {answer} dport=(\d+)", latest)
    return bool(before == after)


def test_a_stale_rule_set_translates_without_choosing_a_port(fresh: Cluster) -> None:
    assert not has_kept_its_port(fresh)
    with broken(fresh, "stale-rule-set"):
        assert has_kept_its_port(fresh)
    assert not has_kept_its_port(fresh)


@pytest.mark.parametrize(
    ("name", "kept"), [("snat-not-random", True), ("masquerade-before-snat", True), ("snat-random-fallback", False)]
)
def test_what_translates_instead_chooses_ports_by_its_own_flag(lab: Cluster, name: str, kept: bool) -> None:
    assert not has_kept_its_port(lab)
    with broken(lab, name):
        assert has_kept_its_port(lab) == kept
    assert not has_kept_its_port(lab)


def test_ipamd_tells_the_settings_of_a_fault_while_it_is_in_force(lab: Cluster) -> None:
    def external_snat() -> bool:
        with urlopen("http://127.0.0.1:61679/v1/networkutils-env-settings", timeout=1) as answer:
            told: bool = json.load(answer)["AWS_VPC_K8S_CNI_EXTERNALSNAT"]
            return told

    for node in lab.nodes:
        assert not inside(node.network_namespace, external_snat)
        with broken(lab, "unexpected-snat"):
            assert inside(node.network_namespace, external_snat)
        assert not inside(node.network_namespace, external_snat)


def test_a_stale_entry_translates_nothing_and_goes_with_its_fault(lab: Cluster) -> None:
    node, pod = lab.nodes[0], lab.pod("shop/search")
    which = ("-p", "udp", "-s", str(pod.address), "-d", str(INTERNET_HOST), "--sport", "45000")
    with broken(lab, "stale-conntrack"):
        entry = entries(node.network_namespace, *which)
        assert "[UNREPLIED]" in entry
        assert f"src={INTERNET_HOST} dst={pod.address}" in entry
        # Another flow to the same place is translated by the present rules.
        assert inside(pod.network_namespace, lambda: connected("udp", str(INTERNET_HOST), UDP_ECHO_PORT)) == 0
    assert entries(node.network_namespace, *which) == ""


def test_one_port_for_all_makes_insertion_fail(lab: Cluster) -> None:
    node = lab.nodes[0].network_namespace
    with broken(lab, "port-exhaustion"):
        before = counters(node)
        assert outcome(lab, fault_named("port-exhaustion")) == errno.ETIMEDOUT
        after = counters(node)
    assert after["insert_failed"] > before["insert_failed"]
    assert after["drop"] > before["drop"]


def test_a_full_table_drops_and_no_other_namespace_is_full(lab: Cluster) -> None:
    near, far = (node.network_namespace for node in lab.nodes)

    def count() -> tuple[int, int]:
        read = Path("/proc/sys/net/netfilter")
        return int((read / "nf_conntrack_count").read_text()), int((read / "nf_conntrack_max").read_text())

    before = counters(near)
    with broken(lab, "conntrack-full"):
        used, allowed = inside(near, count)
        assert used == allowed
        assert outcome(lab, fault_named("conntrack-full")) == errno.ETIMEDOUT
        assert counters(near)["drop"] > before["drop"]
        assert inside(far, count)[0] < allowed // 2
    assert inside(near, count)[0] < allowed // 2


def test_what_refuses_is_the_pod_itself(lab: Cluster) -> None:
    pod = lab.pod("shop/redis")

    def listening() -> str:
        return command_inside(pod.network_namespace, ["ss", "-Hltn", "sport", "=", ":6379"])

    assert "LISTEN" in listening()
    with broken(lab, "nothing-listens"):
        assert listening() == ""
    assert "LISTEN" in listening()


@pytest.mark.parametrize(
    "names",
    [
        ("forward-drop", "no-default-route"),
        ("no-endpoints", "duplicate-address"),
        ("duplicate-address", "no-endpoints"),
        ("unexpected-snat", "nothing-listens", "no-fwmark-rule"),
        ("tc-drop", "security-group", "strict-rp-filter"),
        ("stale-rule-set", "no-fwmark-rule"),
        ("masquerade-before-snat", "snat-not-random"),
        ("port-exhaustion", "stale-conntrack"),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("reverse", [False, True], ids=["first-in-first-out", "last-in-first-out"])
def test_several_faults_are_in_force_together_and_heal_in_any_order(
    lab: Cluster, healthy: dict[str, str], names: tuple[str, ...], reverse: bool
) -> None:
    prefix = lab.options.prefix
    for name in names:
        break_lab(prefix, name)
    left = list(names)
    try:
        for name in names:
            assert outcome(lab, fault_named(name)) != 0 or name in ANSWERED
        while left:
            heal_lab(prefix, left.pop(-1 if reverse else 0))
            for name in left:
                assert outcome(lab, fault_named(name)) != 0 or name in ANSWERED
    finally:
        for name in left:
            heal_lab(prefix, name)
    assert what_is_left(lab, healthy) == []


def test_what_is_in_force_is_not_broken_again_and_what_is_not_is_not_healed(lab: Cluster) -> None:
    with broken(lab, "forward-drop"), pytest.raises(LabError, match="in force already"):
        break_lab(lab.options.prefix, "forward-drop")
    with pytest.raises(LabError, match="not in force"):
        heal_lab(lab.options.prefix, "forward-drop")


def test_a_fault_that_cannot_be_made_leaves_nothing_of_itself(lab: Cluster, healthy: dict[str, str]) -> None:
    """Table 100 has a default route already: the second of two changes fails, and the first is taken back."""
    node = lab.nodes[0].network_namespace
    pod = lab.pod("shop/search").address
    rule = ["priority", "1000", "from", str(pod), "lookup", "100"]
    command_inside(node, ["ip", "rule", "add", *rule])
    try:
        with pytest.raises(LabError, match="File exists"):
            break_lab(lab.options.prefix, "foreign-rule")
    finally:
        command_inside(node, ["ip", "rule", "del", *rule])
    assert what_is_left(lab, healthy) == []


def test_a_part_that_is_gone_already_counts_as_healed(lab: Cluster, healthy: dict[str, str]) -> None:
    break_lab(lab.options.prefix, "foreign-rule")
    node = lab.nodes[0].network_namespace
    command_inside(node, ["ip", "rule", "del", "priority", "1000"])
    assert [line.split()[:3] for line in heal_lab(lab.options.prefix, "foreign-rule").already] == [
        ["ip", "rule", "del"]
    ]
    assert what_is_left(lab, healthy) == []


@pytest.mark.parametrize(
    "name",
    [
        "no-fwmark-rule",
        "no-from-pod-rule",
        "no-pod-route",
        "no-default-route",
        "blackhole-route",
        "stale-pod-neighbour",
        "forward-drop",
        "missing-snat",
        "stale-rule-set",
        "tc-drop",
        "silent-pod",
        "snat-random-fallback",
    ],
)
def test_what_a_person_mended_heals_to_the_exact_former_state(lab: Cluster, healthy: dict[str, str], name: str) -> None:
    break_lab(lab.options.prefix, name)
    for change in reversed(fault_named(name).changes(lab)):
        assert isinstance(change, CommandChange)
        if change.healed:
            command_inside(change.namespace, change.healed, stdin=change.healed_input)
    assert heal_lab(lab.options.prefix, name).already
    assert what_is_left(lab, healthy) == []


def test_what_was_mended_wrongly_is_no_mend(lab: Cluster, healthy: dict[str, str]) -> None:
    """Of a destination main has one route: another in its place is what keeps the right one out."""
    node, eni = lab.nodes[0].network_namespace, lab.nodes[0].secondary
    wrong = ["default", "via", str(eni.gateway), "dev", eni.interface, "onlink"]
    break_lab(lab.options.prefix, "no-default-route")
    command_inside(node, ["ip", "route", "add", *wrong])
    with pytest.raises(LabError, match=r"ip route add default.*File exists"):
        heal_lab(lab.options.prefix, "no-default-route")
    for change in fault_named("no-default-route").changes(lab):
        assert isinstance(change, CommandChange)
        command_inside(node, ["ip", "route", "del", *wrong])
        command_inside(node, change.healed)
    assert what_is_left(lab, healthy) == []


def test_a_lab_that_is_broken_in_every_way_goes_down_whole() -> None:
    options = LabOptions(prefix=f"f{os.getpid()}c")
    try:
        build(options)
        for name in ("port-exhaustion", "stale-conntrack", "duplicate-address", "conntrack-full", "nothing-listens"):
            break_lab(options.prefix, name)
        assert {"fault-port-exhaustion", "fault-stale-conntrack"} <= set(roles(options.prefix))
    finally:
        tear_down(options.prefix)
    assert roles(options.prefix) == {}
    assert not [name for name in network_namespaces() if name.startswith(f"{options.prefix}-")]
    assert not StateDirectory(options.prefix).path.exists()
