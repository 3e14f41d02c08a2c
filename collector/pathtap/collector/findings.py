"""The catalogue of causes: one constructor each, with its sentence and its mend. docs/findings.md explains every code.

Pure. Each takes the evidence that proves it; none decides whether it holds.
"""

from collections.abc import Sequence

from pathtap.collector import words
from pathtap.model.netfilter import Backend
from pathtap.model.node import Route, Rule
from pathtap.model.trace import Evidence, Finding, RuleReference, Severity

Proof = Sequence[Evidence]
BUILTIN_CHAINS = ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING")


def connection_refused(node: str, destination: str, proof: Proof) -> Finding:
    text = f"{destination} answered with RST: the packet got there, and nothing listens on that port"
    fix = "start the server, or trace to the port it listens on"
    return _error("CONNECTION_REFUSED", node, text, fix, proof)


def port_unreachable(node: str, destination: str, message: str, proof: Proof) -> Finding:
    text = f"{destination} answered with {message}: the packet got there, and nothing listens on that port"
    return _error("PORT_UNREACHABLE", node, text, "start the server, or trace to the port it listens on", proof)


def no_answer_from_outside(node: str, interface: str, destination: str, proof: Proof) -> Finding:
    text = f"the packet left by {interface} towards {destination}, outside the cluster, and no answer came back to it"
    fix = "look at what lies beyond: security groups, network ACLs, NAT gateway, and the far host itself"
    return _warning("NO_ANSWER_FROM_OUTSIDE", node, text, fix, proof)


def refused_outside(node: str, by: str, message: str, proof: Proof) -> Finding:
    text = f"{by} answered with {message}: it did not pass the packet on"
    return _error("UNREACHABLE_OUTSIDE", node, text, "look at the routing of the router or host that answered", proof)


def no_answer(node: str, destination: str, proof: Proof) -> Finding:
    text = f"the packet was handed to {destination}, and nothing came back out of it"
    fix = f"look inside {destination}: whether the process runs and is not stuck, iptables -S INPUT, nstat -az"
    return _warning("NO_ANSWER", node, text, fix, proof)


def lost_in_vpc(node: str, interface: str, owner: str, direction: str, proof: Proof) -> Finding:
    text = f"the {direction} left {node} by {interface} and never came to {owner}, which owns the address; no capture lost any"
    fix = "check the security groups of both ENIs, the network ACLs of both subnets and the VPC's routes"
    return _error("LOST_IN_VPC", node, text, fix, proof)


def source_not_owned(node: str, interface: str, source: str, owner: str, rule: str, proof: Proof) -> Finding:
    """`rule` is the ip rule that chose this way, or empty."""
    belongs = f", which belongs to {owner}" if owner else ""
    chose = f" (by ip rule {rule})" if rule else ""
    text = f"the packet left by {interface}{chose} as {source}{belongs}: the VPC drops what its ENI does not own"
    fix = (
        f"on {node}, compare `ip rule` with what the CNI writes: 1024 from all fwmark 0x80/0x80 lookup main for what is"
        " translated, 1536 from POD lookup TABLE for a pod of a secondary ENI; restart aws-node to have them written anew"
    )
    return _error("SOURCE_NOT_OWNED_BY_ENI", node, text, fix, proof)


def filter_drop(node: str, rule: RuleReference, proof: Proof) -> Finding:
    text = f"a filter rule on {node} drops the packet: {words.netfilter_words(rule)}"
    return _error("FILTER_DROP", node, text, _delete(rule), proof)


def filter_reject(node: str, rule: RuleReference, proof: Proof) -> Finding:
    text = f"a filter rule on {node} refuses the packet in its destination's place: {words.netfilter_words(rule)}"
    return _error("FILTER_REJECT", node, text, _delete(rule), proof)


def rejected_by_node(node: str, proof: Proof) -> Finding:
    text = (
        f"{node} answered with an ICMP error in the destination's place, and nothing that could be read there says why"
    )
    return _error("REJECTED_BY_NODE", node, text, f"on {node}: iptables-save; nft list ruleset; ip route get", proof)


def service_without_endpoints(node: str, service: str, proof: Proof) -> Finding:
    namespace, _, name = service.partition("/")
    text = f"service {service} has no ready endpoint: kube-proxy's rules on {node} refuse its connections"
    return _error("SERVICE_WITHOUT_ENDPOINTS", node, text, f"kubectl -n {namespace} get endpoints {name}", proof)


def refusing_route(node: str, route: Route, proof: Proof) -> Finding:
    code = f"{route.kind.value.upper()}_ROUTE"
    text = f"a route on {node} takes the packet: {words.route_words(route)}"
    fix = f"ip route del {route.text} table {route.table}"
    return _error(code, node, text, fix, proof)


def refusing_rule(node: str, rule: Rule, proof: Proof) -> Finding:
    """An ip rule that refuses by itself, without a route."""
    code = f"{rule.action.value.upper()}_ROUTE"
    text = f"an ip rule on {node} takes the packet: {words.rule_words(rule)}"
    return _error(code, node, text, f"ip rule del priority {words.rule_words(rule)}", proof)


def no_route(node: str, destination: str, proof: Proof) -> Finding:
    text = f"{node} has no route to {destination}"
    return _error("NO_ROUTE_TO_DESTINATION", node, text, f"on {node}: ip rule; ip route show table all", proof)


def pod_route_missing(node: str, pod: str, address: str, interface: str, proof: Proof) -> Finding:
    text = f"{node} has no route to the veth of {pod} ({address}): it would send the packet out of {interface} instead"
    fix = f"ip route add {address} dev VETH scope link on {node}, or restart the pod so that the CNI wires it anew"
    return _error("POD_ROUTE_MISSING", node, text, fix, proof)


def reverse_path(node: str, interface: str, source: str, proof: Proof) -> Finding:
    text = f"the reverse path filter of {interface} on {node} drops the packet: {source} is not routed back that way"
    # The greater of `all` and the interface's own holds (net/ipv4/fib_frontend.c), and 2, loose, is the greatest.
    fix = f"sysctl -w net.ipv4.conf.{interface}.rp_filter=2"
    return _error("RP_FILTER_DROP", node, text, fix, proof)


def forwarding_disabled(node: str, interface: str, family: int, proof: Proof) -> Finding:
    text = f"{node} does not forward what comes in by {interface}: IPv{family} forwarding is switched off there"
    of_interface = f"net.ipv4.ip_forward=1 net.ipv4.conf.{interface}.forwarding=1"
    fix = f"sysctl -w {of_interface if family == 4 else 'net.ipv6.conf.all.forwarding=1'}"
    return _error("FORWARDING_DISABLED", node, text, fix, proof)


def neighbour_failed(node: str, address: str, interface: str, proof: Proof) -> Finding:
    text = f"{node} got no answer to its neighbour requests for {address} on {interface}"
    return _error("NEIGHBOUR_FAILED", node, text, f"ip neigh show {address} dev {interface}", proof)


def answer_not_received(node: str, source: str, proof: Proof) -> Finding:
    text = f"the answer came to {source} and the probe there did not get it: something inside drops it, or it came too late"
    fix = f"look inside {source}: iptables -S INPUT, nft list ruleset, nstat -az; and repeat with a longer --timeout"
    return _error("ANSWER_NOT_RECEIVED", node, text, fix, proof)


def never_left_pod(node: str, pod: str, proof: Proof) -> Finding:
    text = f"{pod} sent the packet and it never came to the host's end of the pod's veth on {node}"
    fix = "look inside the pod: ip route, ip neigh show 169.254.1.1, ip link"
    return _error("NEVER_LEFT_POD", node, text, fix, proof)


def never_left_node(node: str, source: str, proof: Proof) -> Finding:
    text = f"{source} sent the packet and it was seen on none of its ENIs"
    return _error("NEVER_LEFT_NODE", node, text, f"on {node}: ip route get; iptables -S OUTPUT", proof)


def unexplained(node: str, interface: str, direction: str, proof: Proof) -> Finding:
    text = f"the {direction} came to {node} on {interface} and was not seen leaving; nothing that could be read there explains it"
    fix = f"on {node}: nstat -az, tc filter show dev {interface} ingress, nft monitor trace"
    return _error("DROPPED_UNEXPLAINED", node, text, fix, proof)


def looped(node: str, interface: str, proof: Proof) -> Finding:
    text = f"the packet came to {node} on {interface} again and again: two routers send it to each other"
    return _error("ROUTING_LOOP", node, text, f"on {node}: ip rule; ip route show table all", proof)


def unexpected_egress(node: str, expected: str, seen: str, proof: Proof) -> Finding:
    text = f"{node}'s configuration says that the packet leaves by {expected}; it was seen leaving by {seen}"
    return _warning("UNEXPECTED_EGRESS", node, text, "compare ip rule and marks with the path above", proof)


def kernel_disagrees(node: str, expected: str, answer: str, proof: Proof) -> Finding:
    text = f"our evaluation of {node}'s rules gives {expected}; {answer}"
    return _warning(
        "KERNEL_LOOKUP_DIFFERS", node, text, "the trace above follows the packets; please report this", proof
    )


def probes_unanswered(node: str, silent: int, count: int, proof: Proof) -> Finding:
    text = f"{silent} of {count} probes were not answered; the path shown is that of one of these"
    fix = "where the path is broken, mend that; else repeat with a higher --count to see how often"
    return _warning("PROBES_UNANSWERED", node, text, fix, proof)


def _delete(rule: RuleReference) -> str:
    """A rule of the node's own chains can be deleted; those of other chains their owners write again."""
    if rule.backend is Backend.NFTABLES and not rule.position:
        return f"nft list chain {rule.table} {rule.chain}: accept the packet there, or change its policy"
    if rule.backend is Backend.NFTABLES:
        return f"nft -a list chain {rule.table} {rule.chain}, then nft delete rule … handle N"
    if not rule.position:
        return f"{rule.backend.value} -t {rule.table} -P {rule.chain} ACCEPT"
    if rule.chain in BUILTIN_CHAINS:
        return f"{rule.backend.value} -t {rule.table} -D {rule.chain} {rule.position}"
    return f"{rule.backend.value} -t {rule.table} -S {rule.chain}, and mend it where that chain is written from"


def _error(code: str, node: str, text: str, fix: str, proof: Proof) -> Finding:
    return Finding(code=code, severity=Severity.ERROR, node=node, text=text, fix=fix, evidence=tuple(proof))


def _warning(code: str, node: str, text: str, fix: str, proof: Proof) -> Finding:
    return Finding(code=code, severity=Severity.WARNING, node=node, text=text, fix=fix, evidence=tuple(proof))
