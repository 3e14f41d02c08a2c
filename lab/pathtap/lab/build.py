"""Builds a lab and takes it away again: namespaces, wiring, what listens in them, the inventory file.

Knows the order of the steps; the collector and the agents are `pathtap.lab.processes`.
"""

import os
import re
from dataclasses import dataclass

from pathtap.lab.cni_config import FILE, cni_config
from pathtap.lab.errors import LabError
from pathtap.lab.inventory import inventory
from pathtap.lab.kernel import create_namespaces, delete_namespaces, network_namespaces
from pathtap.lab.kube import cgroups
from pathtap.lab.options import LabOptions
from pathtap.lab.processes import start_listeners
from pathtap.lab.procfs import end_all
from pathtap.lab.state import LabState, StateDirectory, command_line
from pathtap.lab.topology import Cluster, make_cluster
from pathtap.lab.wiring import wire

__all__ = ["LabOptions", "Removed", "build", "find", "lab_namespaces", "require_root", "tear_down"]

# What is born while a lab is taken away, by a command that died a moment ago, is found in the next round.
_ROUNDS = 5


def require_root() -> None:
    if os.geteuid() != 0:
        raise LabError("The lab makes network namespaces, which takes root: run it with sudo.")


def build(options: LabOptions) -> Cluster:
    """Builds the cluster of `options`, with its listeners and inventory file but without collector and agents, and with `kube`
    without Kubernetes and without that file.

    LabError where a lab of that prefix exists. What was begun is taken away again when anything fails.
    """
    require_root()
    directory = StateDirectory(options.prefix)
    with directory.locked():
        if directory.exists() or lab_namespaces(options.prefix):
            down = command_line("down", options.prefix)
            raise LabError(f"A lab {options.prefix} exists, whole or in part: remove it first with `{down}`.")
        try:
            return _build(directory, options)
        except BaseException:
            _tear_down(directory)
            raise


def _build(directory: StateDirectory, options: LabOptions) -> Cluster:
    cluster = make_cluster(options)
    directory.save(LabState(options=options))
    create_namespaces(cluster.network_namespaces, mark=options.prefix)
    wire(cluster)
    start_listeners(directory)
    if options.kube:
        return cluster
    directory.write(directory.inventory, inventory(cluster))
    for node in cluster.nodes:
        where = directory.cni_config(node.name)
        where.mkdir(parents=True)
        directory.write(where / FILE, cni_config(options, node))
    return cluster


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """What was there of a lab that was taken away; `anything` is False where nothing was."""

    namespaces: int
    anything: bool


def tear_down(prefix: str) -> Removed:
    """Ends the lab's processes and removes its namespaces and files, whatever is left of them. Twice is no error."""
    require_root()
    directory = StateDirectory(prefix)
    with directory.locked():
        return _tear_down(directory)


def _tear_down(directory: StateDirectory) -> Removed:
    removed: set[str] = set()
    anything = directory.exists()
    for _ in range(_ROUNDS):
        namespaces = lab_namespaces(directory.prefix)
        ended = end_all(directory.prefix, namespaces)
        if not ended and not namespaces:
            cgroups.remove(directory.prefix)
            directory.remove()
            return Removed(namespaces=len(removed), anything=anything)
        anything = True
        removed.update(namespaces)
        delete_namespaces(namespaces)
    raise LabError(f"The lab {directory.prefix} keeps coming back while it is removed: is another command building it?")


def lab_namespaces(prefix: str) -> tuple[str, ...]:
    """The network namespaces of the lab `prefix` that exist now, by their names."""
    own = re.compile(rf"{re.escape(prefix)}-(vpc|internet|peer|control|ip(-\d{{1,3}}){{4}}|cni-[0-9a-f-]{{36}})")
    return tuple(sorted(name for name in network_namespaces() if own.fullmatch(name)))


def find(prefix: str) -> Cluster:
    """The cluster of a lab that was built. LabError where there is none."""
    return make_cluster(StateDirectory(prefix).load().options)
