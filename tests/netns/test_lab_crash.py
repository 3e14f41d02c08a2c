"""Whatever becomes of `lab up`, `lab down` leaves nothing behind."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pathtap.lab.build import LabOptions, build, lab_namespaces, tear_down
from pathtap.lab.errors import LabError
from pathtap.lab.kernel import command
from pathtap.lab.processes import AGENT, COLLECTOR, LISTENERS, connected_agents, start, stop
from pathtap.lab.procfs import inhabitants, marked, roles
from pathtap.lab.state import StateDirectory

pytestmark = pytest.mark.netns

PREFIX = f"t{os.getpid()}c"
COMMAND = [sys.executable, "-c", "from pathtap.cli.commands.lab import lab; lab()"]


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    yield
    tear_down(PREFIX)


def nothing_is_left() -> bool:
    there = [*lab_namespaces(PREFIX), *marked(PREFIX)]
    return there == [] and not StateDirectory(PREFIX).path.exists()


# How far `lab up` has come, as seen from outside.
MOMENTS: dict[str, Callable[[], bool]] = {
    "the state file": lambda: StateDirectory(PREFIX).exists(),
    "one namespace": lambda: len(lab_namespaces(PREFIX)) > 0,
    "all namespaces": lambda: len(lab_namespaces(PREFIX)) >= 10,
    "the listeners' process": lambda: bool(roles(PREFIX)),
    "the inventory file": lambda: StateDirectory(PREFIX).inventory.exists(),
    "the collector's process": lambda: COLLECTOR in roles(PREFIX),
    "an agent's process": lambda: any(role.startswith(AGENT) for role in roles(PREFIX)),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_after_a_sigkill_of_up_down_leaves_nothing(moment: str) -> None:
    with subprocess.Popen([*COMMAND, "up", "--prefix", PREFIX], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as up:
        deadline = time.monotonic() + 10
        while not MOMENTS[moment]() and time.monotonic() < deadline:
            time.sleep(0.001)
        up.send_signal(signal.SIGKILL)
    assert MOMENTS[moment](), "up never came so far"
    subprocess.run([*COMMAND, "down", "--prefix", PREFIX], check=True)
    assert nothing_is_left()


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_collector_and_agents_are_started_and_stopped() -> None:
    cluster = build(LabOptions(prefix=PREFIX))
    start(cluster)
    names = {node.name for node in cluster.nodes}
    assert connected_agents(StateDirectory(PREFIX)) == names
    assert set(roles(PREFIX)) == {LISTENERS, COLLECTOR, *(AGENT + name for name in names)}
    assert StateDirectory(PREFIX).socket.stat().st_mode & 0o777 == 0o666
    for node in cluster.nodes:
        # Beside the agent only the worker that it may have started.
        agent, *others = sorted(inhabitants([node.network_namespace]))
        assert agent == roles(PREFIX)[AGENT + node.name]
        assert {parent_of(other) for other in others} <= {agent}
    stop(PREFIX)
    assert inhabitants([node.network_namespace for node in cluster.nodes]) == []
    assert set(roles(PREFIX)) == {LISTENERS}
    assert not StateDirectory(PREFIX).socket.exists()


def test_an_agent_that_never_connects_is_named_with_its_log() -> None:
    cluster = build(LabOptions(prefix=PREFIX))
    log = StateDirectory(PREFIX).log(AGENT + cluster.nodes[1].name)
    with pytest.raises(LabError, match=re.escape(str(log))):
        start(cluster, connected=lambda _: frozenset({cluster.nodes[0].name}), timeout=2)
    assert set(roles(PREFIX)) == {LISTENERS}


def test_nobody_of_the_machines_own_namespace_is_taken_for_a_labs() -> None:
    """No name that `lab down` would look at: were this to fail, it must not end the machine."""
    name = f"machine{os.getpid()}"
    command(["ip", "netns", "attach", name, str(os.getpid())])
    try:
        assert inhabitants([name]) == []
    finally:
        command(["ip", "netns", "del", name])


def test_down_ends_what_still_runs_inside() -> None:
    cluster = build(LabOptions(prefix=PREFIX))
    namespace = cluster.pod("shop/cart").network_namespace
    foreign = ["ip", "netns", "exec", namespace, "sleep", "60"]
    with subprocess.Popen(foreign) as sleeping:
        deadline = time.monotonic() + 5
        while not inhabitants([namespace]) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert inhabitants([namespace]) == [sleeping.pid]
        tear_down(PREFIX)
    assert sleeping.returncode == -signal.SIGTERM
    assert nothing_is_left()


def test_down_of_what_is_not_there_is_no_error() -> None:
    done = subprocess.run([*COMMAND, "down", "--prefix", PREFIX], capture_output=True, check=True, text=True)
    assert (done.stdout, done.stderr) == (f"There is no lab {PREFIX}: nothing was removed.\n", "")


def test_down_leaves_the_labs_of_other_prefixes_alone() -> None:
    longer = f"{PREFIX}2"
    command(["ip", "netns", "add", f"{longer}-vpc"])
    try:
        tear_down(PREFIX)
        assert lab_namespaces(longer) == (f"{longer}-vpc",)
    finally:
        tear_down(longer)
    assert lab_namespaces(longer) == ()


def test_a_build_that_fails_takes_away_what_it_began(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("pathtap.lab.build.start_listeners", fail)
    with pytest.raises(OSError, match="no space left"):
        build(LabOptions(prefix=PREFIX))
    assert nothing_is_left()


def test_two_nodes_and_six_pods_are_built_well_within_ten_seconds() -> None:
    began = time.monotonic()
    build(LabOptions(prefix=PREFIX))
    assert time.monotonic() - began < 5


def test_exec_runs_a_command_where_it_is_told() -> None:
    build(LabOptions(prefix=PREFIX, names="ens"))
    place = ["exec", "--prefix", PREFIX, "ip-192-168-1-29", "--", "ls", "/sys/class/net"]
    links = subprocess.run([*COMMAND, *place], capture_output=True, check=True, text=True).stdout.split()
    assert {"ens5", "ens6"} <= set(links)
    failing = ["exec", "--prefix", PREFIX, "cart", "--", "sh", "-c", "exit 7"]
    assert subprocess.run([*COMMAND, *failing], check=False).returncode == 7
    ambiguous = subprocess.run(
        [*COMMAND, "exec", "--prefix", PREFIX, "redis", "--", "true"], capture_output=True, check=False
    )
    assert ambiguous.returncode == 2
