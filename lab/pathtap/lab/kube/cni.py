"""The lab's CNI plugin: `python -m pathtap.lab.kube.cni OPTIONS NODE FILE`, which containerd knows as /opt/cni/bin/aws-cni.

Speaks the CNI's protocol (containernetworking SPEC 0.4.0: CNI_COMMAND and its kin in the environment, the configuration
on standard input, an answer or an error on standard output) and wires a pod as the VPC CNI does. OPTIONS are the lab's, as
JSON, FILE is the node's pool.
ADD of what is there already puts it right, DEL of what is gone succeeds: a runtime says either as often as it likes.
"""

import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pathtap.lab.cluster import Node, Pod
from pathtap.lab.errors import LabError
from pathtap.lab.kernel import Netlink, write_own_sysctls
from pathtap.lab.kube.pool import Claim, Pool
from pathtap.lab.options import LabOptions
from pathtap.lab.topology import POD_GATEWAY, make_cluster
from pathtap.lab.wiring import FROM_POD, TO_POD, add_pod, pod_sysctls, wire_pod

_VERSIONS = ["0.3.0", "0.3.1", "0.4.0", "1.0.0"]
# The first that the specification leaves to plugins.
_GENERIC_ERROR = 100


def add(pool: Pool, claim: Claim, now: float) -> Pod:
    """Wires the pod in whose node's namespace this runs; what a former attempt left is replaced."""
    pod = pool.assign(claim, now)
    try:
        with Netlink() as link:
            _unwire(link, pod)
            add_pod(link, pool.node, pod)
        write_own_sysctls(pod_sysctls(pod))
        wire_pod(pod)
    except BaseException:
        delete(pool, claim.container, now)
        raise
    return pod


def delete(pool: Pool, container: str, now: float) -> None:
    pod = pool.assigned(container)
    if pod is None:
        return
    with Netlink() as link:
        _unwire(link, pod)
    pool.release(container, now)


def _unwire(link: Netlink, pod: Pod) -> None:
    """With the veth goes the route."""
    link.remove(pod.veth)
    link.remove_rules(TO_POD, pod.address)
    link.remove_rules(FROM_POD, pod.address)


def result(version: str, pod: Pod) -> dict[str, Any]:
    """What an ADD prints: SPEC 0.4.0, "Result"."""
    return {
        "cniVersion": version,
        "interfaces": [
            {"name": pod.veth, "mac": pod.host_mac},
            {"name": "eth0", "mac": pod.mac, "sandbox": f"/run/netns/{pod.network_namespace}"},
        ],
        "ips": [{"version": "4", "address": f"{pod.address}/32", "interface": 1}],
        "routes": [{"dst": "0.0.0.0/0", "gw": str(POD_GATEWAY)}],
        "dns": {},
    }


def claim_of(environment: Mapping[str, str]) -> Claim:
    """Of CNI_CONTAINERID, CNI_NETNS and CNI_ARGS, as the kubelet's runtime sets them."""
    arguments = dict(part.partition("=")[::2] for part in environment.get("CNI_ARGS", "").split(";"))
    return Claim(
        container=environment["CNI_CONTAINERID"],
        namespace=arguments.get("K8S_POD_NAMESPACE", ""),
        name=arguments.get("K8S_POD_NAME", ""),
        network_namespace=Path(environment.get("CNI_NETNS", "")).name,
    )


def answer(pool: Pool, environment: Mapping[str, str], config: Mapping[str, Any], now: float) -> object:
    """What is to be printed, None for nothing. LabError where it cannot be done."""
    command, version = environment.get("CNI_COMMAND", ""), config.get("cniVersion", "0.4.0")
    if command == "VERSION":
        return {"cniVersion": version, "supportedVersions": _VERSIONS}
    if command == "ADD":
        return result(version, add(pool, claim_of(environment), now))
    if command == "DEL":
        delete(pool, environment["CNI_CONTAINERID"], now)
        return None
    if command == "CHECK":
        return None
    raise LabError(f"CNI_COMMAND is {command!r}, which is none that this plugin knows.")


def node_of(options: Mapping[str, Any], name: str) -> Node:
    return next(node for node in make_cluster(LabOptions(**options)).nodes if node.name == name)


def main(options: str, node: str, file: str) -> int:
    text = sys.stdin.read()
    config = json.loads(text) if text.strip() else {}
    pool = Pool(node=node_of(json.loads(options), node), file=Path(file))
    try:
        told = answer(pool, os.environ, config, time.time())
    except Exception as error:  # noqa: BLE001 - whatever it is, the runtime is told in the protocol's words
        told = {"cniVersion": config.get("cniVersion", "0.4.0"), "code": _GENERIC_ERROR, "msg": repr(error)}
        json.dump(told, sys.stdout)
        return 1
    if told is not None:
        json.dump(told, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
