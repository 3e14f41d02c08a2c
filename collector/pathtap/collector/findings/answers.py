"""What came back, or did not, and where witnesses part."""

from pathtap.collector.findings.making import Proof, error, warning
from pathtap.model.trace import Finding


def connection_refused(node: str, destination: str, proof: Proof) -> Finding:
    text = f"{destination} answered with RST: the packet got there, and nothing listens on that port"
    fix = "start the server, or trace to the port it listens on"
    return error("CONNECTION_REFUSED", node, text, fix, proof)


def port_unreachable(node: str, destination: str, message: str, proof: Proof) -> Finding:
    text = f"{destination} answered with {message}: the packet got there, and nothing listens on that port"
    return error("PORT_UNREACHABLE", node, text, "start the server, or trace to the port it listens on", proof)


def no_answer_from_outside(node: str, interface: str, destination: str, proof: Proof) -> Finding:
    text = f"the packet left by {interface} towards {destination}, outside the cluster, and no answer came back to it"
    fix = "look at what lies beyond: security groups, network ACLs, NAT gateway, and the far host itself"
    return warning("NO_ANSWER_FROM_OUTSIDE", node, text, fix, proof)


def refused_outside(node: str, by: str, message: str, proof: Proof) -> Finding:
    text = f"{by} answered with {message}: it did not pass the packet on"
    return error("UNREACHABLE_OUTSIDE", node, text, "look at the routing of the router or host that answered", proof)


def no_answer(node: str, destination: str, proof: Proof) -> Finding:
    text = f"the packet was handed to {destination}, and nothing came back out of it"
    fix = f"look inside {destination}: whether the process runs and is not stuck, iptables -S INPUT, nstat -az"
    return warning("NO_ANSWER", node, text, fix, proof)


def answer_not_received(node: str, source: str, proof: Proof) -> Finding:
    text = f"the answer came to {source} and the probe there did not get it: something inside drops it, or it came too late"
    fix = f"look inside {source}: iptables -S INPUT, nft list ruleset, nstat -az; and repeat with a longer --timeout"
    return error("ANSWER_NOT_RECEIVED", node, text, fix, proof)


def never_left_pod(node: str, pod: str, proof: Proof) -> Finding:
    text = f"{pod} sent the packet and it never came to the host's end of the pod's veth on {node}"
    fix = "look inside the pod: ip route, ip neigh show 169.254.1.1, ip link"
    return error("NEVER_LEFT_POD", node, text, fix, proof)


def never_left_node(node: str, source: str, proof: Proof) -> Finding:
    text = f"{source} sent the packet and it was seen on none of its ENIs"
    return error("NEVER_LEFT_NODE", node, text, f"on {node}: ip route get; iptables -S OUTPUT", proof)


def probes_unanswered(node: str, silent: int, count: int, proof: Proof) -> Finding:
    text = f"{silent} of {count} probes were not answered; the path shown is that of one of these"
    fix = "where the path is broken, mend that; else repeat with a higher --count to see how often"
    return warning("PROBES_UNANSWERED", node, text, fix, proof)


def unexpected_egress(node: str, expected: str, seen: str, proof: Proof) -> Finding:
    text = f"{node}'s configuration says that the packet leaves by {expected}; it was seen leaving by {seen}"
    return warning("UNEXPECTED_EGRESS", node, text, "compare ip rule and marks with the path above", proof)


def kernel_disagrees(node: str, expected: str, answer: str, proof: Proof) -> Finding:
    text = f"our evaluation of {node}'s rules gives {expected}; {answer}"
    return warning(
        "KERNEL_LOOKUP_DIFFERS", node, text, "the trace above follows the packets; please report this", proof
    )
