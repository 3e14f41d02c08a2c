"""Which pod of a node has which of its addresses: ipamd's data store, in a file that the CNI plugin writes.

Its allocations have the shape of ipamd's own checkpoint (/var/run/aws-node/ipam.json, amazon-vpc-cni-k8s
pkg/ipamd/datastore); `released` is the lab's. Knows no kernel.
"""

import fcntl
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from pathtap.lab.cluster import Eni, Node, Pod
from pathtap.lab.errors import LabError
from pathtap.lab.state import StateDirectory

_VERSION = "vpc-cni-ipam/1"
_NETWORK = "aws-cni"
_FILE = "ipam.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Who asks for an address: a pod's sandbox. `network_namespace` is the name below the node's /run/netns."""

    container: str
    namespace: str
    name: str
    network_namespace: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """A node's data store, in `file`."""

    node: Node
    file: Path

    def assign(self, claim: Claim, now: float) -> Pod:
        """The pod with its address: the one it has already, or another. LabError where none is free; `now` in seconds."""
        with self._locked() as store:
            if claim.container not in store["allocations"]:
                address = self._free(store)
                store["allocations"][claim.container] = _allocation(claim, address, now)
                store["released"].pop(str(address), None)
            return self._pod(store["allocations"][claim.container])

    def assigned(self, container: str) -> Pod | None:
        with self._locked() as store:
            found = store["allocations"].get(container)
            return self._pod(found) if found else None

    def release(self, container: str, now: float) -> None:
        """What nobody has is no error: a runtime deletes as often as it likes."""
        with self._locked() as store:
            found = store["allocations"].pop(container, None)
            if found is not None:
                store["released"][found["ipv4"]] = now

    def pods(self) -> tuple[Pod, ...]:
        """Those that have addresses at this moment."""
        with self._locked() as store:
            return tuple(map(self._pod, store["allocations"].values()))

    def _free(self, store: Mapping[str, Any]) -> IPv4Address:
        """Of the ENI with the fewest pods, the one that has been free for longest: an address is not had again at once."""
        used = {IPv4Address(each["ipv4"]) for each in store["allocations"].values()}
        released: Mapping[str, float] = store["released"]
        free = {eni.device: [each for each in _addresses(eni) if each not in used] for eni in self.node.enis}
        enis = [eni for eni in self.node.enis if free[eni.device]]
        if not enis:
            raise LabError(f"No address is free on {self.node.name}: {len(used)} pods have them.")
        emptiest = min(enis, key=lambda eni: (len(used & set(_addresses(eni))), eni.device))
        return min(free[emptiest.device], key=lambda each: (released.get(str(each), 0.0), each))

    def _pod(self, allocation: Mapping[str, Any]) -> Pod:
        address, told = IPv4Address(allocation["ipv4"]), allocation["metadata"]
        return Pod(
            namespace=told["k8sPodNamespace"],
            name=told["k8sPodName"],
            address=address,
            device=next(eni.device for eni in self.node.enis if address in _addresses(eni)),
            tcp_ports=(),
            network_namespace=told["networkNamespace"],
        )

    @contextmanager
    def _locked(self) -> Iterator[dict[str, Any]]:
        """The store by container, written again where the block changed it."""
        with self.file.open("a+") as opened:
            fcntl.flock(opened, fcntl.LOCK_EX)
            opened.seek(0)
            before = opened.read()
            found = json.loads(before) if before else {"allocations": [], "released": {}}
            store = {
                "allocations": {each["containerID"]: each for each in found["allocations"]},
                "released": found["released"],
            }
            yield store
            allocations = list(store["allocations"].values())
            after = json.dumps(
                {"version": _VERSION, "allocations": allocations, "released": store["released"]}, indent=1
            )
            if after != before:
                opened.seek(0)
                opened.truncate()
                opened.write(after)


def pool_of(directory: StateDirectory, node: Node) -> Pool:
    return Pool(node=node, file=directory.kube_node(node.name) / _FILE)


def occupied(directory: StateDirectory, node: Node) -> Node:
    """The node with the pods that it has at this moment: none before it is there."""
    pool = pool_of(directory, node)
    return replace(node, pods=pool.pods()) if pool.file.parent.is_dir() else node


def _addresses(eni: Eni) -> tuple[IPv4Address, ...]:
    """Those for pods, in order."""
    return tuple(address for network in eni.delegated for address in network)


def _allocation(claim: Claim, address: IPv4Address, now: float) -> dict[str, Any]:
    return {
        "networkName": _NETWORK,
        "containerID": claim.container,
        "ifName": "eth0",
        "ipv4": str(address),
        "allocationTimestamp": int(now * 1e9),
        "metadata": {
            "k8sPodNamespace": claim.namespace,
            "k8sPodName": claim.name,
            "networkNamespace": claim.network_namespace,
        },
    }
