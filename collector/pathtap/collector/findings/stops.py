"""Why a packet stopped: a rule, a route, a filter, the VPC, a neighbour."""

from pathtap.collector.findings.making import Proof, deletion, error
from pathtap.collector.telling import words
from pathtap.model.node import Route, RouteKind, Rule
from pathtap.model.trace import Finding, RuleReference

# Introduces the NAT rule that gave a packet a source which its ENI does not own.
GIVEN_BY = "That source is given by"


def lost_in_vpc(node: str, interface: str, owner: str, direction: str, proof: Proof) -> Finding:
    text = f"the {direction} left {node} by {interface} and never came to {owner}, which owns the address; no capture lost any"
    fix = "check the security groups of both ENIs, the network ACLs of both subnets and the VPC's routes"
    return error("LOST_IN_VPC", node, text, fix, proof)


def source_not_owned(node: str, interface: str, source: str, owner: str, rule: str, snat: str, proof: Proof) -> Finding:
    """`rule` is the ip rule that chose this way, or empty. `snat` gave the packet a source that is wrong for the right way, or
    is empty.
    """
    if snat:
        return _translated_wrongly(node, interface, source, owner, snat, proof)
    belongs = f", which belongs to {owner}" if owner else ""
    chose = f" (by ip rule {rule})" if rule else ""
    text = f"the packet leaves by {interface}{chose} as {source}{belongs}: the VPC drops what its ENI does not own"
    fix = (
        f"on {node}, compare `ip rule` with what the CNI writes: 1024 from all fwmark 0x80/0x80 lookup main for what is"
        " translated, 1536 from POD lookup TABLE for a pod of a secondary ENI; restart aws-node to have them written anew"
    )
    return error("SOURCE_NOT_OWNED_BY_ENI", node, text, fix, proof)


def _translated_wrongly(node: str, interface: str, source: str, owner: str, snat: str, proof: Proof) -> Finding:
    belongs = f"which belongs to {owner}" if owner else "which no ENI of the node has"
    text = (
        f"the packet leaves by {interface} as {source}, {belongs}: the VPC drops what its ENI does not own. {GIVEN_BY}"
        f" {snat}"
    )
    whose = "restart aws-node, whose rule it is" if " AWS-SNAT-CHAIN-" in snat else "mend it where it is written from"
    fix = f"on {node}, let that rule translate to an address of {interface}: {whose}"
    return error("SOURCE_NOT_OWNED_BY_ENI", node, text, fix, proof)


def filter_drop(node: str, rule: RuleReference, family: str, proof: Proof) -> Finding:
    """`family` is that of the rule's nftables table: `ip`, `inet`, `netdev`; of iptables it is not needed."""
    what = "a filter rule" if rule.position else "a chain's policy"
    text = f"{what} on {node} drops the packet: {words.netfilter_words(rule)}"
    return error("FILTER_DROP", node, text, f"on {node}: {deletion(rule, family)}", proof)


def filter_reject(node: str, rule: RuleReference, family: str, proof: Proof) -> Finding:
    """`family` as of `filter_drop`."""
    text = f"a filter rule on {node} refuses the packet in its destination's place: {words.netfilter_words(rule)}"
    return error("FILTER_REJECT", node, text, f"on {node}: {deletion(rule, family)}", proof)


def rejected_by_node(node: str, proof: Proof) -> Finding:
    text = (
        f"{node} answered with an ICMP error in the destination's place, and nothing that could be read there says why"
    )
    return error("REJECTED_BY_NODE", node, text, f"on {node}: iptables-save; nft list ruleset; ip route get", proof)


def service_without_endpoints(node: str, service: str, proof: Proof) -> Finding:
    namespace, _, name = service.partition("/")
    text = f"service {service} has no ready endpoint: kube-proxy's rules on {node} refuse its connections"
    return error("SERVICE_WITHOUT_ENDPOINTS", node, text, f"kubectl -n {namespace} get endpoints {name}", proof)


def refusing_route(node: str, route: Route, proof: Proof) -> Finding:
    code = f"{route.kind.value.upper()}_ROUTE"
    text = f"a route on {node} takes the packet: {words.route_words(route)}"
    fix = f"on {node}: ip route del {route.text} table {route.table}"
    return error(code, node, text, fix, proof)


def refusing_rule(node: str, rule: Rule, proof: Proof) -> Finding:
    """An ip rule that refuses by itself, without a route."""
    code = f"{rule.action.value.upper()}_ROUTE"
    text = f"an ip rule on {node} takes the packet: {words.rule_words(rule)}"
    return error(code, node, text, f"on {node}: ip rule del priority {words.rule_words(rule)}", proof)


def refusing_unknown(node: str, kind: RouteKind, destination: str, proof: Proof) -> Finding:
    """Which of several routes or ip rules of that kind, nobody can tell."""
    text = f"whichever way {node} chooses for {destination}, a {kind.value} route or ip rule takes the packet"
    fix = f"on {node}: ip route show table all type {kind.value}; ip rule"
    return error(f"{kind.value.upper()}_ROUTE", node, text, fix, proof)


def no_route(node: str, destination: str, proof: Proof, missing: str = "") -> Finding:
    """`missing` is the route that is to be added, where that is known."""
    text = f"{node} has no route to {destination}"
    fix = f"ip route add {missing}; or restart the node's networking" if missing else "ip rule; ip route show table all"
    return error("NO_ROUTE_TO_DESTINATION", node, text, f"on {node}: {fix}", proof)


def pod_route_missing(node: str, pod: str, address: str, interface: str, proof: Proof, veth: str = "VETH") -> Finding:
    """`interface` is where the packet would go instead, `veth` the pod's own where that is known."""
    text = f"{node} has no route to the veth of {pod} ({address}): it would send the packet out of {interface} instead"
    fix = f"on {node}: ip route add {address} dev {veth} scope link; or restart the pod, so that the CNI wires it anew"
    return error("POD_ROUTE_MISSING", node, text, fix, proof)


def reverse_path(node: str, interface: str, source: str, proof: Proof) -> Finding:
    text = f"the reverse path filter of {interface} on {node} drops the packet: {source} is not routed back that way"
    # The greater of `all` and the interface's own holds (net/ipv4/fib_frontend.c), and 2, loose, is the greatest.
    fix = f"on {node}: sysctl -w net/ipv4/conf/{interface}/rp_filter=2"
    return error("RP_FILTER_DROP", node, text, fix, proof)


def forwarding_disabled(node: str, interface: str, family: int, proof: Proof) -> Finding:
    """`interface` is empty where nothing at all is forwarded."""
    if not interface:
        text = f"{node} forwards nothing: net.ipv4.ip_forward is 0"
        return error("FORWARDING_DISABLED", node, text, f"on {node}: sysctl -w net.ipv4.ip_forward=1", proof)
    text = f"{node} does not forward what comes in by {interface}: IPv{family} forwarding is switched off there"
    of_interface = f"net/ipv4/conf/{interface}/forwarding=1"
    fix = f"on {node}: sysctl -w {of_interface if family == 4 else 'net.ipv6.conf.all.forwarding=1'}"
    return error("FORWARDING_DISABLED", node, text, fix, proof)


def neighbour_failed(node: str, address: str, interface: str, proof: Proof) -> Finding:
    text = f"{node} got no answer to its neighbour requests for {address} on {interface}"
    return error("NEIGHBOUR_FAILED", node, text, f"on {node}: ip neigh show {address} dev {interface}", proof)


def unexplained(node: str, interface: str, direction: str, proof: Proof) -> Finding:
    text = f"the {direction} came to {node} on {interface} and was not seen leaving; nothing that could be read there explains it"
    fix = f"on {node}: nstat -az, tc filter show dev {interface} ingress, nft monitor trace"
    return error("DROPPED_UNEXPLAINED", node, text, fix, proof)


def looped(node: str, interface: str, proof: Proof) -> Finding:
    text = f"the packet comes to {node} on {interface} again and again: two routers send it to each other"
    return error("ROUTING_LOOP", node, text, f"on {node}: ip rule; ip route show table all", proof)
