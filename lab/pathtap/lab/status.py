"""What of a lab is there right now, as text for a person. Reads; changes nothing."""

from collections.abc import Iterator

from pathtap.lab.build import lab_namespaces
from pathtap.lab.processes import AGENT, COLLECTOR, LISTENERS
from pathtap.lab.procfs import roles
from pathtap.lab.state import LabState, StateDirectory
from pathtap.lab.topology import OUTSIDE, Cluster, Node, make_cluster
from pathtap.model.address import Socket


def status(prefix: str) -> str:
    """LabError where there is no lab of this prefix."""
    directory = StateDirectory(prefix)
    state = directory.load()
    cluster = make_cluster(state.options)
    running, there = roles(prefix), frozenset(lab_namespaces(prefix))
    return "\n".join(_lines(directory, state, cluster, running, there)) + "\n"


def _lines(
    directory: StateDirectory, state: LabState, cluster: Cluster, running: dict[str, int], there: frozenset[str]
) -> Iterator[str]:
    options = state.options
    yield f"lab {options.prefix}: {options.nodes} nodes, iptables-{options.backend}, {options.chains} chains"
    yield f"  {COLLECTOR:<12} unix:{directory.socket}  {_process(running, COLLECTOR)}"
    yield f"  {'inventory':<12} {directory.inventory}"
    yield f"  {LISTENERS:<12} {_process(running, LISTENERS)}"
    yield f"  {'vpc':<12} {_namespace(cluster.vpc_namespace, there)}"
    for host in OUTSIDE:
        addresses = ", ".join(map(str, host.addresses(options)))
        yield f"  {host.name:<12} {addresses}  {_namespace(cluster.outside_namespace(host), there)}"
    for node in cluster.nodes:
        yield from _node(node, running, there)
    for service in cluster.services:
        backends = ", ".join(f"{pod.key}:{port}" for pod, port in service.backends) or "no endpoints"
        yield f"svc/{service.key:<16} {Socket(service.address, service.port)} → {backends}"
    yield f"faults in force: {', '.join(state.faults) or 'none'}"


def _node(node: Node, running: dict[str, int], there: frozenset[str]) -> Iterator[str]:
    yield f"{node.name}  {_namespace(node.network_namespace, there)}  agent {_process(running, AGENT + node.name)}"
    for eni in node.enis:
        addresses = ", ".join(map(str, (eni.address, *((eni.ipv6.address,) if eni.ipv6 else ()))))
        yield f"  {eni.interface:<16} {addresses:<16} {eni.id}"
    for pod in node.pods:
        ports = "".join(f" tcp/{port}" for port in pod.tcp_ports)
        interface = node.eni_of(pod).interface
        yield f"  {pod.veth:<16} {pod.address!s:<16} {pod.key} on {interface}{ports}  {_namespace(pod.network_namespace, there)}"


def _process(running: dict[str, int], role: str) -> str:
    return f"pid {running[role]}" if role in running else "not running"


def _namespace(name: str, there: frozenset[str]) -> str:
    return name if name in there else f"{name} (gone)"
