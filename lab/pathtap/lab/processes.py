"""Starts, finds and ends a lab's processes: what listens in its namespaces, the collector, one agent per node.

A process is found again by the variable PATHTAP_LAB in its environment, never by a remembered pid. Knows nothing of
what these programs do.
"""

import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import grpc

from pathtap.lab.errors import LabError
from pathtap.lab.kernel import MARK, NETNS
from pathtap.lab.state import StateDirectory
from pathtap.lab.topology import Cluster
from pathtap.v1 import service_pb2, service_pb2_grpc

_READY_SECONDS = 15.0
_TERM_SECONDS, _KILL_SECONDS = 2.0, 5.0
_POLL_SECONDS = 0.02
_TAIL_LINES = 5

# The names of the nodes whose agents are connected.
Connected = Callable[[StateDirectory], frozenset[str]]


def start_listeners(directory: StateDirectory) -> None:
    """One process for every listener of the lab; returns when all of them listen."""
    reader, writer = os.pipe()
    with open(reader, "rb", buffering=0) as ready:
        try:
            pid = _spawn(directory, "listeners", ["-m", "pathtap.lab.serve", directory.prefix], stdout=writer)
        finally:
            os.close(writer)
        readable, _, _ = select.select([ready], [], [], _READY_SECONDS)
        if not readable or not ready.read(1):
            raise _failed(directory, "listeners", pid)


def start(cluster: Cluster, *, connected: Connected | None = None, timeout: float = _READY_SECONDS) -> None:
    """Starts the collector and every node's agent, and waits until all agents are connected, at most `timeout` s.

    `connected` tells who is; by default the collector is asked. LabError names the log of what failed.
    """
    directory = StateDirectory(cluster.options.prefix)
    with directory.locked():
        directory.load()
        deadline = time.monotonic() + timeout
        address = f"unix:{directory.socket}"
        arguments = [
            "-m",
            "pathtap.collector",
            "--listen",
            address,
            "--inventory",
            str(directory.inventory),
            "--insecure",
        ]
        started = {"collector": _spawn(directory, "collector", arguments)}
        _wait(directory, started, deadline, directory.socket.is_socket, f"listens on {directory.socket}", "collector")
        # The lab is for trying: whoever is on the machine may trace in it.
        directory.socket.chmod(0o666)
        for node in cluster.nodes:
            arguments = ["-m", "pathtap.agent", "--collector", address, "--node", node.name, "--insecure"]
            started[agent(node.name)] = _spawn(directory, agent(node.name), arguments, namespace=node.network_namespace)
        expected = frozenset(node.name for node in cluster.nodes)
        ask = connected or connected_agents
        _wait(directory, started, deadline, lambda: expected <= ask(directory), "has every agent", "collector")


def stop(prefix: str) -> None:
    """Ends the collector and the agents and leaves the lab itself."""
    directory = StateDirectory(prefix)
    with directory.locked():
        _end(lambda: [pid for pid in marked(prefix) if name_of(pid) != "listeners"])
        directory.socket.unlink(missing_ok=True)


def agent(node: str) -> str:
    """The name of a node's agent among the lab's processes, and of its log."""
    return f"agent-{node}"


def connected_agents(directory: StateDirectory) -> frozenset[str]:
    """Whom the lab's collector calls connected; none where it does not answer."""
    with grpc.insecure_channel(f"unix:{directory.socket}") as channel:
        try:
            answer = service_pb2_grpc.TraceServiceStub(channel).ListNodes(service_pb2.ListNodesRequest(), timeout=1)
        except grpc.RpcError:
            return frozenset()
    return frozenset(status.node for status in answer.nodes if status.connected)


def _spawn(
    directory: StateDirectory, name: str, arguments: Sequence[str], *, namespace: str = "", stdout: int | None = None
) -> int:
    """`python arguments` in a session of its own, its output in the log `name`; returns its pid."""
    # `ip netns exec` keeps the pid, and gives the process the /sys of its namespace.
    inside = ["ip", "netns", "exec", namespace] if namespace else []
    argv = [*inside, sys.executable, *arguments]
    environment = {**os.environ, MARK: directory.prefix, f"{MARK}_PROCESS": name}
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 2, str(directory.log(name)), flags, 0o644),
        (os.POSIX_SPAWN_DUP2, 2 if stdout is None else stdout, 1),
    ]
    return os.posix_spawnp(argv[0], argv, environment, file_actions=actions, setsid=True)


def _wait(
    directory: StateDirectory,
    started: dict[str, int],
    deadline: float,
    happened: Callable[[], bool],
    what: str,
    log: str,
) -> None:
    while not happened():
        for name, pid in started.items():
            if not alive(pid):
                raise _failed(directory, name, pid)
        if time.monotonic() > deadline:
            raise LabError(f"The lab's {log} never said that it {what}. {_see(directory, log)}")
        time.sleep(_POLL_SECONDS)


def _failed(directory: StateDirectory, name: str, pid: int) -> LabError:
    what = "did not become ready in time" if alive(pid) else "ended at once"
    return LabError(f"The lab's {name} {what}. {_see(directory, name)}")


def _see(directory: StateDirectory, name: str) -> str:
    """The log's own end, as a lab that failed is taken away with its logs."""
    log = directory.log(name)
    try:
        lines = log.read_text(errors="replace").splitlines()[-_TAIL_LINES:]
    except OSError:
        lines = []
    return "\n  ".join([f"{log} ends with:", *lines]) if lines else f"Its log {log} is empty."


def _environment(pid: int) -> dict[bytes, bytes]:
    try:
        raw = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return {}
    return dict(entry.split(b"=", 1) for entry in raw.split(b"\0") if b"=" in entry)


def marked(prefix: str) -> list[int]:
    """The pids of the lab's processes, itself and its forebears excepted."""
    wanted = prefix.encode()
    return [pid for pid in _others() if _environment(pid).get(MARK.encode()) == wanted]


def name_of(pid: int) -> str:
    """What the process is to its lab: collector, agent-NODE, listeners; empty for a command run in it."""
    return _environment(pid).get(f"{MARK}_PROCESS".encode(), b"").decode(errors="replace")


def inhabitants(namespaces: Iterable[str]) -> list[int]:
    """The pids of those whose network namespace is one of `namespaces`, whoever started them."""
    wanted = {identity for name in namespaces if (identity := _identity(NETNS / name))}
    return [pid for pid in _others() if _identity(Path(f"/proc/{pid}/ns/net")) in wanted] if wanted else []


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _others() -> list[int]:
    """Every process but this one and its forebears: who runs `lab down` from a shell inside must keep that shell."""
    kin, pid = set(), os.getpid()
    while pid > 0:
        kin.add(pid)
        pid = _parent(pid)
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and int(entry.name) not in kin]


def _stat(pid: int) -> list[str]:
    """The fields of proc_pid_stat(5) after the command's name: state, parent …"""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _parent(pid: int) -> int:
    fields = _stat(pid)
    return int(fields[1]) if fields else 0


def alive(pid: int) -> bool:
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    fields = _stat(pid)
    return bool(fields) and fields[0] not in "ZX"


def end_all(prefix: str, namespaces: Sequence[str]) -> bool:
    """Ends every process of the lab and every other inside its namespaces; whether there was one."""
    return _end(lambda: [*marked(prefix), *inhabitants(namespaces)])


def _end(find: Callable[[], list[int]]) -> bool:
    found = bool(find())
    for number, seconds in ((signal.SIGTERM, _TERM_SECONDS), (signal.SIGKILL, _KILL_SECONDS)):
        left = [pid for pid in set(find()) if alive(pid)]
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        deadline = time.monotonic() + seconds
        while any(alive(pid) for pid in left) and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
    return found
