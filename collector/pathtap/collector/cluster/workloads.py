"""`deploy/cart`: a workload stands for one of its pods. Which words name workloads, and which pod is taken. Pure."""

from collections.abc import Iterable, Sequence

from pathtap.collector.cluster.inventory import FINISHED, Inventory
from pathtap.model.inventory import Pod

# What kubectl takes for each kind: its name, its plural, its short name. A pod made by a Job of a CronJob is its Job's.
WORDS = {
    word: kind
    for kind, words in {
        "deployment": ("deploy", "deployment", "deployments"),
        "daemonset": ("ds", "daemonset", "daemonsets"),
        "statefulset": ("sts", "statefulset", "statefulsets"),
        "replicaset": ("rs", "replicaset", "replicasets"),
        "job": ("job", "jobs"),
    }.items()
    for word in words
}

# As a shell completes those that people name; ReplicaSets are many, and mostly old.
SHORT = {"deployment": "deploy", "statefulset": "sts", "daemonset": "ds", "job": "job"}


def workload_kind(word: str) -> str:
    """`deployment` of `deploy`, and of `deployment.apps` as `kubectl get -o name` has it; empty for what names no workload."""
    return WORDS.get(word.partition(".")[0], "")


def choose(pods: Iterable[Pod], other_than: str = "") -> Pod | None:
    """The first by name of those that run, are ready and stay; where readiness is not said, of those that run and stay.

    `other_than` is the key of a pod that is taken only where there is no other: from a workload to itself, two pods.
    """
    standing = [pod for pod in pods if pod.phase == "Running" and not pod.deleting and pod.addresses and pod.node]
    ready = [pod for pod in standing if pod.ready] or [pod for pod in standing if pod.ready is None]
    return min(ready, key=lambda pod: (pod.key == other_than, pod.name), default=None)


def condition(pods: Sequence[Pod]) -> str:
    """Why none of them can be taken: `cart-1 is Pending, cart-2 is not ready`."""
    said = [f"{pod.name} {_state(pod)}" for pod in sorted(pods, key=lambda pod: pod.name)]
    more = f" and {len(said) - 3} more" if len(said) > 3 else ""
    return ", ".join(said[:3]) + more


def said(text: str, key: str, inventory: Inventory) -> tuple[str, ...]:
    """Of a workload that was named by `text`: that the pod `key` stands for it, and of how many. Empty for any other name."""
    kind = workload_kind(text.partition("/")[0]) if "/" in text else ""
    if not kind or key not in inventory.pods:
        return ()
    mates = [pods for pods in inventory.pods_by_workload.get(kind, {}).values() if any(pod.key == key for pod in pods)]
    total = sum(len(pods) for pods in mates)
    return (f"{text} stands for {key}, " + ("its only pod" if total == 1 else f"one of its {total} pods"),)


def _state(pod: Pod) -> str:
    if pod.phase in FINISHED:
        return f"has finished ({pod.phase})"
    if pod.deleting:
        return "is being deleted"
    if pod.phase != "Running":
        return f"is {pod.phase}"
    return "is not ready" if pod.addresses else "has no address yet"
