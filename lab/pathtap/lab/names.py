"""From what a person types to a network namespace of the lab. Pure."""

import difflib

from pathtap.lab.errors import LabError
from pathtap.lab.topology import OUTSIDE, Cluster


class AmbiguousNameError(LabError):
    """A bare name that several namespaces have."""


def places(cluster: Cluster) -> dict[str, str]:
    """Every place of the lab → its network namespace: pods by `namespace/name`, nodes, `vpc`, `internet`, `peer`."""
    found = {pod.key: pod.network_namespace for pod in cluster.pods}
    for node in cluster.nodes:
        found[node.name] = node.network_namespace
        found[f"kube-system/node-exporter-{node.index}"] = node.network_namespace
    outside = {host.name: cluster.outside_namespace(host) for host in OUTSIDE}
    return found | {"vpc": cluster.vpc_namespace} | outside


def resolve(cluster: Cluster, name: str, namespace: str = "") -> str:
    """The network namespace of `name`: NAME, NAMESPACE/NAME, pod/…, node/NAME, vpc, internet or peer.

    A bare name is looked for in `namespace` where one is given, else it must be unique. LabError with the nearest
    names, AmbiguousNameError with all of them.
    """
    known = places(cluster)
    wanted = name.removeprefix("pod/").removeprefix("node/")
    if namespace and f"{namespace}/{wanted}" in known:
        return known[f"{namespace}/{wanted}"]
    if wanted in known:
        return known[wanted]
    same = [key for key in known if key.rpartition("/")[2] == wanted]
    if len(same) == 1:
        return known[same[0]]
    if same:
        raise AmbiguousNameError(f"Several pods are called {wanted}: {', '.join(sorted(same))}. Say which.")
    near = difflib.get_close_matches(wanted, known, n=3, cutoff=0.4)
    hint = f" Is it {', '.join(near)}?" if near else ""
    raise LabError(f"The lab has no running pod and no node {wanted}.{hint}")
