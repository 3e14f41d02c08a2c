"""What became of the ends of a trace while it ran. Pure; names no pod that was not asked about."""

from collections.abc import Iterable

from pathtap.collector.cluster.inventory import FINISHED, Inventory
from pathtap.model.trace import Gap, Target, Trace


def ends_of(trace: Trace, before: Inventory) -> tuple[Target, ...]:
    """The pods, among others, that a trace tells of: its ends, and the one that a service's address was translated to."""
    backend, socket = before.pods.get(trace.dnat.backend_pod), trace.dnat.translated
    if backend is None or socket is None:
        return trace.source, trace.destination
    return trace.source, trace.destination, Target(kind="pod", name=backend.key, node=backend.node, socket=socket)


def gone_meanwhile(ends: Iterable[Target], before: Inventory, after: Inventory) -> tuple[Gap, ...]:
    """A gap for each pod that is no longer what it was in `before`: whoever has its address now may have sent or answered.

    The trace goes on telling of the pod that it began with.
    """
    return tuple(
        Gap(node=end.node, part="inventory", why=why)
        for end in dict.fromkeys(ends)
        if end.kind == "pod" and (why := _what_became(end, before, after))
    )


def _what_became(end: Target, before: Inventory, after: Inventory) -> str:
    former = before.pods.get(end.name)
    if former is None or not former.uid:
        return ""
    present = after.pods.get(end.name)
    holder = None if end.host_network else after.pod_at(end.socket.address)
    address = end.socket.address
    if holder is not None and holder.uid != former.uid:
        return f"{end.name} (uid {former.uid}) lost {address} while the trace ran: another pod has it now"
    if present is None or present.uid != former.uid:
        return f"{end.name} (uid {former.uid}) was deleted while the trace ran"
    if present.phase in FINISHED:
        return (
            f"{end.name} (uid {former.uid}) has finished while the trace ran ({present.phase}), and its address is free"
        )
    return ""
