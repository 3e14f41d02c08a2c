"""Starts a lab's processes: what listens in its namespaces, the collector, one agent per node. Stops the last two.

Each has its own log in the lab's state directory. Knows nothing of what these programs do.
"""

import os
import select
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import grpc

from pathtap.lab.errors import LabError
from pathtap.lab.kernel import MARK
from pathtap.lab.procfs import ROLE, alive, end, roles
from pathtap.lab.state import StateDirectory, command_line
from pathtap.lab.topology import Cluster
from pathtap.v1 import service_pb2, service_pb2_grpc

LISTENERS, COLLECTOR, AGENT = "listeners", "collector", "agent-"
# Of a fault that is in force, by its name.
FAULT = "fault-"
_READY_SECONDS = 15.0
_POLL_SECONDS = 0.02
_TAIL_LINES = 5

# The names of the nodes whose agents are connected to the collector of this lab.
Connected = Callable[[StateDirectory], frozenset[str]]


def start_listeners(directory: StateDirectory) -> None:
    """One process for every listener of the lab; returns when all of them listen."""
    start_ready(directory, LISTENERS, ["-m", "pathtap.lab.serve", directory.prefix])


def start_ready(
    directory: StateDirectory,
    role: str,
    arguments: Sequence[str],
    *,
    enter: Sequence[str] = (),
    namespace: str = "",
    timeout: float = _READY_SECONDS,
) -> None:
    """`spawn`, of what says by a byte on its standard output that it is ready; LabError where it does not within `timeout` s."""
    reader, writer = os.pipe()
    with open(reader, "rb", buffering=0) as ready:
        try:
            pid = spawn(directory, role, arguments, enter=enter, namespace=namespace, stdout=writer)
        finally:
            os.close(writer)
        readable, _, _ = select.select([ready], [], [], timeout)
        if not readable or not ready.read(1):
            raise _failed(directory, role, pid)


def end_role(prefix: str, role: str) -> None:
    """Ends the lab's process that has `role`, if there is one."""
    end(lambda: [pid for found, pid in roles(prefix).items() if found == role])


def start(cluster: Cluster, *, connected: Connected | None = None, timeout: float = _READY_SECONDS) -> None:
    """Starts the collector and every node's agent, and waits until all agents are connected, at most `timeout` s.

    `connected` tells who is; by default the collector is asked. LabError names the log of what failed; what was
    started is then ended, and the lab itself stands.
    """
    directory = StateDirectory(cluster.options.prefix)
    with directory.locked():
        directory.load()
        try:
            _start(directory, cluster, connected or connected_agents, timeout)
        except LabError as error:
            _stop(directory)
            down = command_line("down", directory.prefix)
            raise LabError(f"{error}\nThe lab itself stands; `{down}` removes it.") from error
        except BaseException:
            _stop(directory)
            raise


def _start(directory: StateDirectory, cluster: Cluster, connected: Connected, timeout: float) -> None:
    address = f"unix:{directory.socket}"
    progress = _Progress(directory=directory, deadline=time.monotonic() + timeout)
    where = ["--listen", address, "--inventory", str(directory.inventory)]
    progress.pids[COLLECTOR] = spawn(directory, COLLECTOR, ["-m", "pathtap.collector", *where, "--insecure"])
    progress.until(directory.socket.is_socket, lambda: [COLLECTOR])
    # The lab is for trying: whoever is on the machine may trace in it.
    directory.socket.chmod(0o666)
    for node in cluster.nodes:
        who = ["--collector", address, "--node", node.name, "--cni-config", str(directory.cni_config(node.name))]
        role, namespace = AGENT + node.name, node.network_namespace
        progress.pids[role] = spawn(directory, role, ["-m", "pathtap.agent", *who, "--insecure"], namespace=namespace)

    def missing() -> list[str]:
        there = connected(directory)
        return [AGENT + node.name for node in cluster.nodes if node.name not in there]

    progress.until(lambda: not missing(), missing)


def stop(prefix: str) -> None:
    """Ends the collector and the agents; the lab itself stands."""
    directory = StateDirectory(prefix)
    with directory.locked():
        directory.load()
        _stop(directory)


def _stop(directory: StateDirectory) -> None:
    end(lambda: [pid for role, pid in roles(directory.prefix).items() if role == COLLECTOR or role.startswith(AGENT)])
    directory.socket.unlink(missing_ok=True)


def connected_agents(directory: StateDirectory) -> frozenset[str]:
    """Whom the lab's collector calls connected; none where it does not answer."""
    with grpc.insecure_channel(f"unix:{directory.socket}") as channel:
        try:
            answer = service_pb2_grpc.TraceServiceStub(channel).ListNodes(service_pb2.ListNodesRequest(), timeout=1)
        except grpc.RpcError:
            return frozenset()
    return frozenset(status.node for status in answer.nodes if status.connected)


def spawn(
    directory: StateDirectory,
    role: str,
    arguments: Sequence[str],
    *,
    enter: Sequence[str] = (),
    namespace: str = "",
    stdout: int | None = None,
) -> int:
    """`python arguments` in a session of its own and in `namespace`, its output in the log `role`; returns its pid.

    Where a namespace is not enough, `enter` are the words before the command.
    """
    # `ip netns exec` keeps the pid, and gives the process the /sys of its namespace.
    inside = ["ip", "netns", "exec", namespace] if namespace else [*enter]
    # -P: what runs as root takes no module from the directory where a person happens to stand.
    argv = [*inside, sys.executable, "-P", *arguments]
    # A person's own settings of pathtap (an address, a certificate) are not this lab's.
    own = {name: value for name, value in os.environ.items() if not name.startswith("PATHTAP_")}
    log = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 2, str(directory.log(role)), log, 0o644),
        (os.POSIX_SPAWN_DUP2, 2 if stdout is None else stdout, 1),
    ]
    environment = {**own, MARK: directory.prefix, ROLE: role}
    return os.posix_spawnp(argv[0], argv, environment, file_actions=actions, setsid=True)


@dataclass(slots=True, kw_only=True)
class _Progress:
    """`pids` by role of what was started; all of it must live until `deadline`, of the monotonic clock."""

    directory: StateDirectory
    deadline: float
    pids: dict[str, int] = field(default_factory=dict)

    def until(self, happened: Callable[[], bool], late: Callable[[], Sequence[str]]) -> None:
        """Waits for `happened`. LabError when something ends meanwhile, or in time those of `late` are not ready."""
        while not happened():
            for role, pid in self.pids.items():
                if not alive(pid):
                    raise _failed(self.directory, role, pid)
            if time.monotonic() > self.deadline:
                roles_late = late()
                raise _failed(self.directory, roles_late[0], self.pids[roles_late[0]])
            time.sleep(_POLL_SECONDS)


def _failed(directory: StateDirectory, role: str, pid: int) -> LabError:
    what = "was not ready in time" if alive(pid) else "ended"
    log = directory.log(role)
    try:
        lines = log.read_text(errors="replace").splitlines()[-_TAIL_LINES:]
    except OSError:
        lines = []
    # The log's own end too: a lab that could not be built is taken away with its logs.
    end_of_log = "".join(f"\n  {line}" for line in lines) or " nothing"
    return LabError(f"The lab's {role} {what}. Its log {log} says:{end_of_log}")
