"""A lab's Kubernetes: its nodes, pods as the VPC CNI wires them, and nothing left behind."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kube_lab import KubeLab, running_kube_lab

from pathtap.lab.build import lab_namespaces, tear_down
from pathtap.lab.kernel import command_inside, inside
from pathtap.lab.kube.names import CONTAINERD, MANAGEMENT, NODE_PROCESS
from pathtap.lab.procfs import marked, roles
from pathtap.lab.state import StateDirectory
from pathtap.lab.topology import INTERNET_HOST

pytestmark = [pytest.mark.kube, pytest.mark.netns, pytest.mark.timeout(600)]

PREFIX = f"t{os.getpid()}q"
CRASHED = f"t{os.getpid()}x"
COMMAND = [sys.executable, "-c", "from pathtap.cli.commands.lab import lab; lab()"]
PODS = """
apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  nodeName: {node}
  dnsPolicy: Default
  terminationGracePeriodSeconds: 1
  automountServiceAccountToken: false
  containers: [{{name: pod, image: "localhost/pathtap-lab:1", imagePullPolicy: Never, args: ["tcp:6379", "udp:7"]}}]
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubeLab]:
    with running_kube_lab(PREFIX, tmp_path_factory.mktemp("home")) as running:
        yield running
    assert left_behind(PREFIX) == []


def left_behind(prefix: str) -> list[str]:
    cgroups = [str(path) for path in Path("/sys/fs/cgroup").rglob(f"pathtap-{prefix}")]
    processes = [f"process {pid}" for pid in marked(prefix)]
    directory = StateDirectory(prefix).path
    mounts = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if f"/{prefix}" in line]
    return [*lab_namespaces(prefix), *processes, *cgroups, *mounts, *([str(directory)] if directory.exists() else [])]


def until(happened: Callable[[], bool], seconds: float = 90) -> bool:
    deadline = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


@pytest.fixture(scope="module")
def pods(lab: KubeLab) -> tuple[str, ...]:
    """Two on each node, so that each ENI has one."""
    names = tuple(f"pod-{number}" for number in range(4))
    for number, name in enumerate(names):
        node = lab.cluster.nodes[number // 2].name
        lab.kubectl("apply", "-f", "-", stdin=PODS.format(name=name, node=node))
    lab.kubectl("wait", "--for=condition=Ready", "--timeout=120s", *(f"pod/{name}" for name in names))
    return names


def ask(namespace: str, address: str, port: int) -> bytes:
    with inside(namespace, lambda: socket.create_connection((address, port), timeout=10)) as connection:
        return connection.recv(100)


def test_pods_are_wired_as_the_vpc_cni_wires_them(lab: KubeLab, pods: tuple[str, ...]) -> None:
    for node in lab.nodes():
        assert sorted(pod.device for pod in node.pods) == [0, 1]
        rules = command_inside(node.network_namespace, ["ip", "rule"]).splitlines()
        for pod in node.pods:
            assert f"512:\tfrom all to {pod.address} lookup main" in rules
            assert (f"1536:\tfrom {pod.address} lookup 2" in rules) == (pod.device == 1)
            route = command_inside(node.network_namespace, ["ip", "route", "get", str(pod.address)])
            assert f"{pod.address} dev {pod.veth} " in route
            assert ask(node.network_namespace, str(pod.address), 6379) == f"{pod.name}\n".encode()
    told = lab.kubectl("get", "pods", "-o", "jsonpath={range .items[*]}{.metadata.name} {.status.podIP}{'\\n'}{end}")
    known = {pod.name: str(pod.address) for node in lab.nodes() for pod in node.pods}
    assert dict(line.split() for line in told.splitlines()) == known


def test_what_goes_with_a_pod_goes(lab: KubeLab, pods: tuple[str, ...]) -> None:
    node = lab.cluster.nodes[0]
    lab.kubectl("apply", "-f", "-", stdin=PODS.format(name="brief", node=node.name))
    lab.kubectl("wait", "--for=condition=Ready", "--timeout=120s", "pod/brief")
    _, pod = lab.pod("default/brief")
    lab.kubectl("delete", "pod", "brief", "--grace-period=1", "--wait=false")
    assert until(lambda: pod not in lab.nodes()[0].pods)
    assert str(pod.address) not in command_inside(node.network_namespace, ["ip", "rule"])
    assert str(pod.address) not in command_inside(node.network_namespace, ["ip", "route"])
    assert pod.veth not in command_inside(node.network_namespace, ["ip", "-brief", "link"])


def test_logs_come_from_the_kubelet_by_the_control_plane(lab: KubeLab, pods: tuple[str, ...]) -> None:
    assert lab.kubectl("logs", pods[0]) == ""
    ready = lab.kubectl("get", "nodes", "-o", "jsonpath={.items[*].status.addresses[?(@.type=='InternalIP')].address}")
    assert ready.split() == [str(node.address) for node in lab.cluster.nodes]


def test_each_node_sees_its_own_pods_namespaces_alone(lab: KubeLab, pods: tuple[str, ...]) -> None:
    for node in lab.nodes():
        containerd = roles(PREFIX)[f"{CONTAINERD}-{node.name}"]
        seen = {path.name for path in Path(f"/proc/{containerd}/root/run/netns").iterdir()}
        assert seen == {pod.network_namespace for pod in node.pods}
    assert not [name for name in os.listdir("/run/netns") if name.startswith("cni-")]


def test_real_rules_lead_out_of_the_vpc(lab: KubeLab, pods: tuple[str, ...]) -> None:
    for node in lab.nodes():
        containerd = roles(PREFIX)[f"{CONTAINERD}-{node.name}"]
        for pod in node.pods:
            namespace = f"/proc/{containerd}/root/run/netns/{pod.network_namespace}"
            argv = ["nsenter", f"--net={namespace}", "ping", "-c", "1", "-W", "5", str(INTERNET_HOST)]
            assert " ttl=63 " in subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def test_a_service_of_a_node_that_ends_is_started_again(lab: KubeLab) -> None:
    role = f"kube-proxy-{lab.cluster.nodes[1].name}"
    before = roles(PREFIX)[role]
    os.kill(before, signal.SIGKILL)
    assert until(lambda: roles(PREFIX).get(role, before) != before)


def test_the_machine_keeps_its_own_settings(lab: KubeLab) -> None:
    containerd = roles(PREFIX)[f"{CONTAINERD}-{lab.cluster.nodes[0].name}"]
    inside_a_node = Path(f"/proc/{containerd}/root/proc/sys/vm/overcommit_memory")
    # pkg/util/sysctl: VMOvercommitMemoryAlways, which a kubelet sets as it starts.
    assert inside_a_node.read_text().strip() == "1"
    assert " /proc/sys/vm/overcommit_memory " in Path(f"/proc/{containerd}/mountinfo").read_text()


# How far `lab up --kube` has come, as seen from outside.
MOMENTS: dict[str, Callable[[], bool]] = {
    "the control plane's programs": lambda: {MANAGEMENT, "kube-apiserver"} <= set(roles(CRASHED)),
    "a node's first process": lambda: any(role.startswith(NODE_PROCESS) for role in roles(CRASHED)),
    "a kubelet": lambda: any(role.startswith("kubelet-") for role in roles(CRASHED)),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_after_a_sigkill_of_up_down_leaves_nothing(moment: str) -> None:
    words = [*COMMAND, "up", "--kube", "--prefix", CRASHED]
    try:
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as up:
            came = until(MOMENTS[moment])
            up.send_signal(signal.SIGKILL)
        assert came, "up never came so far"
        subprocess.run([*COMMAND, "down", "--prefix", CRASHED], check=True, capture_output=True)
        assert left_behind(CRASHED) == []
    finally:
        tear_down(CRASHED)
