"""What a person gets for a name, an address or a command line that makes no sense: one sentence and the right exit code."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from labs import Bench, finish

from pathtap.lab.procfs import roles
from pathtap.lab.state import StateDirectory

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize(
    ("words", "exit_code", "said"),
    [
        (("shop/crat", "to", "shop/redis"), 1, ["no pod shop/crat", "shop/cart"]),
        (("shop/cart", "to", "shop/rediss"), 1, ["no pod shop/rediss", "shop/redis"]),
        (("cart", "to", "redis"), 2, ["shop/redis", "staging/redis"]),
        (("shop/cart", "to", "shop/pending"), 1, ["no address", "Pending"]),
        (("shop/pending", "to", "shop/cart"), 1, ["no address", "Pending"]),
        (("shop/cart", "to", "shop/batch-done"), 1, ["finished", "Succeeded"]),
        (("node/nowhere", "to", "shop/cart"), 1, ["no node nowhere"]),
        (("svc/shop/web", "to", "shop/cart"), 2, ["svc/shop/web", "source"]),
        (("198.51.100.8", "to", "shop/cart"), 2, ["--live"]),
        (("from", "shop/cart", "shop/redis"), 2, ["SRC to DST"]),
        (("shop/cart", "shop/redis"), 2, ["SRC to DST"]),
        (("shop/cart", "to", "shop/redis", "--protocol", "tcp"), 2, ["--port"]),
        (("shop/cart", "to", "shop/redis", "--port", "70000"), 2, ["70000"]),
        (("shop/cart", "to", "svc/shop/redis", "--port", "81"), 2, ["6379/tcp"]),
    ],
)
def test_sentences(lab: Bench, words: tuple[str, ...], exit_code: int, said: list[str]) -> None:
    answer = lab.run("trace", *words)
    assert answer.exit_code == exit_code, answer
    assert answer.output == ""
    for part in said:
        assert part in answer.errors


def test_a_bare_name_is_found_in_its_namespace_or_where_it_is_the_only_one(lab: Bench) -> None:
    assert lab.trace("cart", "to", "web")["destination"]["name"] == "shop/web"
    assert lab.trace("cart", "to", "shop/redis")["source"]["name"] == "shop/cart"
    assert lab.trace("shop/cart", "to", "redis", "-n", "staging")["destination"]["name"] == "staging/redis"


def test_no_collector_at_that_address(lab: Bench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        closed = f"127.0.0.1:{unused.getsockname()[1]}"
    for address in (closed, "unix:/run/pathtap/nobody.sock"):
        started = time.monotonic()
        answer = lab.run("--collector", address, "--insecure", "trace", "shop/cart", "to", "shop/redis")
        assert answer.exit_code == 1
        assert address in answer.errors
        assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{\n  "items": [\n    {"kind": "Pod"},\n  ]\n}', "line 4"),
        ('{"kind": "Pod"}', "no list of Kubernetes objects"),
        ('{\n"items": [\n{"kind": "Node", "metadata": {"name": "a"}},\n{"kind": "Pod", "metadata": {}}\n]}', "line 4"),
        ("items:\n- kind: Pod\n  metadata: {name: a, namespace: b}\n  status:\n    podIP: 1.2.3\n", "1.2.3"),
        ("a: [1,\nb", "line"),
    ],
)
def test_an_inventory_that_is_not_one(tmp_path: Path, text: str, said: str) -> None:
    inventory = tmp_path / "inventory"
    inventory.write_text(text)
    argv = ["--listen", f"unix:{tmp_path}/sock", "--inventory", str(inventory), "--insecure"]
    done = subprocess.run(
        [sys.executable, "-m", "pathtap.collector", *argv], capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 1
    assert str(inventory) in done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_collector_without_tls_wants_to_be_told_so(tmp_path: Path) -> None:
    argv = ["--listen", "127.0.0.1:0", "--inventory", str(tmp_path / "absent")]
    done = subprocess.run(
        [sys.executable, "-m", "pathtap.collector", *argv], capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 2
    assert "--insecure" in done.stderr


def agent_pid(bench: Bench, node: str) -> int:
    return roles(bench.prefix)[f"agent-{node}"]


def test_an_agent_that_is_gone_dies_or_hangs(lab_to_break: Bench) -> None:
    """The rest of the path, a gap that names the node, exit 4, within the time-out and 2 s."""
    far = lab_to_break.cluster.nodes[1].name
    pid = agent_pid(lab_to_break, far)

    def judged(process: "subprocess.Popen[str]", started: float, timeout: float) -> None:
        answer = finish(process)
        assert time.monotonic() - started < timeout + 2 + 1, "one second is for the interpreter to start"
        trace = answer.json
        assert answer.exit_code == 4, answer
        assert trace["verdict"]["disposition"] == "INSUFFICIENT_EVIDENCE"
        assert [gap["node"] for gap in trace["verdict"]["gaps"] if gap["decisive"]] == [far]
        assert [hop["node"] for hop in trace["forward"]["hops"]] == [lab_to_break.cluster.nodes[0].name]

    words = ("trace", "shop/cart", "to", "shop/redis", "--port", "6379", "-o", "json", "--timeout", "2")
    os.kill(pid, signal.SIGSTOP)
    judged(lab_to_break.start(*words), time.monotonic(), 2)
    os.kill(pid, signal.SIGCONT)

    with lab_to_break.broken("security-group"):
        started = time.monotonic()
        process = lab_to_break.start(*words)
        time.sleep(1.2)
        os.kill(pid, signal.SIGKILL)
        judged(process, started, 2)

    judged(lab_to_break.start(*words), time.monotonic(), 2)


def test_a_second_collector_leaves_the_first_ones_socket_alone(lab: Bench) -> None:
    inventory = StateDirectory(lab.prefix).inventory
    argv = ["--listen", lab.collector, "--inventory", str(inventory), "--insecure"]
    done = subprocess.run(
        [sys.executable, "-m", "pathtap.collector", *argv], capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 1
    assert "another collector is there" in done.stderr
    assert lab.run("nodes").exit_code == 0


def test_a_collector_that_is_stopped_ends_its_traces(lab_to_break: Bench) -> None:
    with lab_to_break.broken("security-group"):
        words = ("trace", "shop/cart", "to", "shop/redis", "--port", "6379", "-o", "json", "--timeout", "5")
        process = lab_to_break.start(*words)
        time.sleep(1.2)
        os.kill(roles(lab_to_break.prefix)["collector"], signal.SIGTERM)
        answer = finish(process)
    assert answer.exit_code == 4, answer
    assert answer.json["verdict"]["disposition"] == "INSUFFICIENT_EVIDENCE"
    assert "Traceback" not in StateDirectory(lab_to_break.prefix).log("collector").read_text()


def test_some_of_several_probes_fail(lab: Bench) -> None:
    """One of a service's two backends is cut off: the probe that failed is the one that is shown."""
    orders = lab.cluster.pod("shop/orders")
    node = lab.cluster.nodes[1].name
    rule = ["FORWARD", "-d", str(orders.address), "-j", "DROP"]
    inside = ["lab", "exec", "--prefix", lab.prefix, node, "--", "iptables-nft"]
    assert lab.run(*inside, "-I", *rule).exit_code == 0
    try:
        trace = lab.trace("shop/cart", "to", "svc/shop/web", "--port", "80", "--count", "12", "--timeout", "3")
    finally:
        lab.run(*inside, "-D", *rule)
    assert [finding["code"] for finding in trace["verdict"]["findings"]] == ["FILTER_DROP", "PROBES_UNANSWERED"]
    assert trace["dnat"]["backend_pod"] == "shop/orders"
    assert trace["exit_code"] == 3


def test_a_cni_configuration_that_cannot_be_read_is_said_and_decides_nothing(lab: Bench) -> None:
    first, second = (node.name for node in lab.cluster.nodes[:2])
    file = StateDirectory(lab.prefix).cni_config(first) / "10-aws.conflist"
    former = file.read_text()
    try:
        file.write_text(former[:-20])
        unread = {node["node"]: node.get("unread", []) for node in lab.run("nodes", "-o", "json").json["nodes"]}
        trace, check = lab.trace("shop/search", "to", "198.51.100.8", "--port", "443"), lab.check()
    finally:
        file.write_text(former)
    assert unread == {first: [{"part": "cni configuration", "reason": f"{file} is no CNI configuration"}], second: []}
    assert (trace["exit_code"], trace["verdict"]["findings"]) == (0, [])
    assert (check["exit_code"], check["findings"]) == (0, [])
