"""What of a lab is there right now, as text for a person. Reads; changes nothing."""

from collections.abc import Iterator

from pathtap.lab.build import lab_namespaces
from pathtap.lab.kube.names import CONTROL_PLANE, MANAGEMENT, SERVICES, admin_kubeconfig
from pathtap.lab.kube.pool import occupied
from pathtap.lab.processes import AGENT, COLLECTOR, LISTENERS
from pathtap.lab.procfs import roles
from pathtap.lab.state import LabState, StateDirectory
from pathtap.lab.topology import OUTSIDE, Cluster, Node, Pod, make_cluster
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
    if options.kube:
        yield f"  {'kubeconfig':<12} {admin_kubeconfig(options.prefix)}"
        yield f"  {'control':<12} {_namespace(cluster.control_namespace, there)}"
        yield from (f"    {name:<24} {_process(running, name)}" for name in (MANAGEMENT, *CONTROL_PLANE))
    else:
        yield f"  {COLLECTOR:<12} unix:{directory.socket}  {_process(running, COLLECTOR)}"
        yield f"  {'inventory':<12} {directory.inventory}"
    yield f"  {LISTENERS:<12} {_process(running, LISTENERS)}"
    yield f"  {'vpc':<12} {_namespace(cluster.vpc_namespace, there)}"
    for host in OUTSIDE:
        addresses = ", ".join(map(str, host.addresses(options)))
        yield f"  {host.name:<12} {addresses}  {_namespace(cluster.outside_namespace(host), there)}"
    for node in cluster.nodes:
        if options.kube:
            yield from _kube_node(directory, node, running, there)
        else:
            yield from _node(node, running, there)
    for service in cluster.services:
        backends = ", ".join(f"{pod.key}:{port}" for pod, port in service.backends) or "no endpoints"
        yield f"svc/{service.key:<16} {Socket(service.address, service.port)} → {backends}"
    yield f"faults in force: {', '.join(state.faults) or 'none'}"


def _node(node: Node, running: dict[str, int], there: frozenset[str]) -> Iterator[str]:
    yield f"{node.name}  {_namespace(node.network_namespace, there)}  agent {_process(running, AGENT + node.name)}"
    yield from _enis(node)
    for pod in node.pods:
        yield f"{_pod(node, pod)}  {_namespace(pod.network_namespace, there)}"


def _kube_node(directory: StateDirectory, node: Node, running: dict[str, int], there: frozenset[str]) -> Iterator[str]:
    """Its pods are those that its CNI plugin has wired; their namespaces have names on the node alone."""
    yield f"{node.name}  {_namespace(node.network_namespace, there)}"
    yield from (f"    {name:<24} {_process(running, f'{name}-{node.name}')}" for name in SERVICES)
    yield from _enis(node)
    now = occupied(directory, node)
    yield from (_pod(now, pod) for pod in now.pods)


def _enis(node: Node) -> Iterator[str]:
    for eni in node.enis:
        addresses = ", ".join(map(str, (eni.address, *((eni.ipv6.address,) if eni.ipv6 else ()))))
        yield f"  {eni.interface:<16} {addresses:<16} {eni.id}"


def _pod(node: Node, pod: Pod) -> str:
    ports = "".join(f" tcp/{port}" for port in pod.tcp_ports)
    return f"  {pod.veth:<16} {pod.address!s:<16} {pod.key} on {node.eni_of(pod).interface}{ports}"


def _process(running: dict[str, int], role: str) -> str:
    return f"pid {running[role]}" if role in running else "not running"


def _namespace(name: str, there: frozenset[str]) -> str:
    return name if name in there else f"{name} (gone)"
