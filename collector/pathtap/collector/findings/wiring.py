"""How a node is not wired as the VPC CNI wires it: ip rules, routes, links, neighbours, addresses."""

from collections.abc import Sequence

from pathtap.collector.findings.making import Proof, error, warning
from pathtap.model.node import table_name
from pathtap.model.trace import Finding

RESTART = "restart aws-node there to have it written anew"


def fwmark_rule_missing(node: str, mark: str, proof: Proof) -> Finding:
    text = (
        f"{node} has no ip rule 1024 for mark {mark}: what is SNATed to the primary ENI's address, and the answers to node ports,"
        " leave by the pod's own ENI, and the VPC drops what that ENI does not own"
    )
    return error("FWMARK_RULE_MISSING", node, text, _add(node, f"priority 1024 fwmark {mark} lookup main"), proof)


def to_pod_rule_missing(node: str, pod: str, address: str, hurts: bool, proof: Proof) -> Finding:
    """`hurts` says that other pods of the node have ip rules by which their packets leave the node instead."""
    effect = (
        "packets to it from pods of secondary ENIs leave the node instead" if hurts else "main leads there all the same"
    )
    text = f"{node} has no ip rule 512 to {pod} ({address}): {effect}"
    fix = _add(node, f"priority 512 to {address} lookup main")
    return (error if hurts else warning)("TO_POD_RULE_MISSING", node, text, fix, proof)


def to_pod_rule_overruled(node: str, pod: str, address: str, rule: str, proof: Proof) -> Finding:
    text = f"on {node} ip rule {rule} comes before rule 512 to {pod} ({address}) and leads its packets elsewhere"
    return error("TO_POD_RULE_OVERRULED", node, text, _delete(node, rule), proof)


def from_pod_rule_missing(node: str, pod: str, address: str, eni: str, table: int, proof: Proof) -> Finding:
    """`table` is that of the ENI, 0 where the node has none that leads out of it."""
    text = (
        f"{node} has no ip rule 1536 from {pod} ({address}), whose address belongs to {eni}: its packets leave by the primary"
        " ENI, and the VPC drops what that does not own"
    )
    added = f"ip rule add priority 1536 from {address} lookup {table}; or {RESTART}"
    fix = (
        f"on {node}: {added}" if table else f"restart aws-node on {node}, which writes the table of {eni} and the rule"
    )
    return error("FROM_POD_RULE_MISSING", node, text, fix, proof)


def from_pod_rule_duplicated(
    node: str, pod: str, address: str, tables: Sequence[int], wrong: str, proof: Proof
) -> Finding:
    """`wrong` is the rule whose table is not that of the pod's ENI, empty where nobody told which ENI that is."""
    listed = " and ".join(table_name(table) for table in tables)
    text = f"{node} has ip rules 1536 from {pod} ({address}) to tables {listed}: the first one wins, whichever is right"
    show = f"ip rule show from {address}"
    choose = f"on {node}: {show}; then ip rule del priority 1536 from {address} lookup TABLE for the wrong one"
    fix = _delete(node, wrong) if wrong else choose
    return error("FROM_POD_RULE_DUPLICATED", node, text, fix, proof)


def from_pod_rule_wrong(node: str, pod: str, address: str, eni: str, rule: str, table: int, proof: Proof) -> Finding:
    """A rule that a former holder of the address left, as it seems: it leads away from the ENI that has the address now.

    `table` is the one to which a rule is to lead instead, 0 where there is to be no rule.
    """
    text = (
        f"on {node} ip rule {rule} leads packets of {pod} ({address}) away from {eni}, which owns its address: it is left from a"
        " former pod, most likely"
    )
    instead = f" && ip rule add priority 1536 from {address} lookup {table}" if table else ""
    return error("FROM_POD_RULE_STALE", node, text, _delete(node, rule) + instead, proof)


def from_pod_rule_left(node: str, address: str, rule: str, proof: Proof) -> Finding:
    text = f"on {node} ip rule {rule} is for {address}, which no pod has: the next pod to get that address inherits it"
    return warning("FROM_POD_RULE_STALE", node, text, _delete(node, rule), proof)


def foreign_ip_rule(node: str, rule: str, writer: str, hurts: bool, proof: Proof) -> Finding:
    """`writer` is who writes rules of that priority, empty where that is nobody known."""
    whose = f" ({writer} writes such rules)" if writer else ""
    effect = "changes where packets of pods go" if hurts else "changes no pod's way as things are"
    text = f"ip rule {rule} on {node} is neither the kernel's nor the VPC CNI's{whose}, and it {effect}"
    stop = f"stop {writer}" if writer else "stop what wrote it (systemd-networkd, a cloud's set-up tool)"
    fix = f"{_delete(node, rule)}; and {stop}, for it may come back"
    return (error if hurts else warning)("FOREIGN_IP_RULE", node, text, fix, proof)


def pod_route_wrong_veth(node: str, pod: str, address: str, veth: str, own: str, proof: Proof) -> Finding:
    text = f"{node} routes {address} of {pod} to {veth}, which is another pod's veth; its own is {own}"
    fix = f"on {node}: ip route replace {address} dev {own} scope link; or restart the pod"
    return error("POD_ROUTE_WRONG_VETH", node, text, fix, proof)


def eni_table_without_default(node: str, table: int, eni: str, router: str, pods: int, proof: Proof) -> Finding:
    """`eni` is empty where nobody told whose table it is, `router` where its subnet's is not known."""
    of = f" of {eni}" if eni else ""
    whose = "the pod whose rule leads" if pods == 1 else f"the {pods} pods whose rules lead"
    where = f"table {table_name(table)}{of} on {node}"
    text = f"{where} has no default route: packets of {whose} there leave by the primary ENI instead"
    # Its own route to the router may be gone as well.
    added = f"ip route add default via {router} dev {eni} onlink table {table}"
    fix = (
        f"on {node}: {added}; or {RESTART}"
        if eni and router
        else f"restart aws-node on {node}, which writes the table anew"
    )
    return error("ENI_TABLE_WITHOUT_DEFAULT_ROUTE", node, text, fix, proof)


def link_down(node: str, interface: str, what: str, inside: str, proof: Proof) -> Finding:
    """`inside` is the pod whose own end is down, empty where the host's is."""
    text = f"{interface} on {node}, {what}, is down: nothing passes it, and the kernel took its routes away"
    writer = (
        "the pod, so that the CNI writes its route anew" if " veth " in what else "aws-node, which writes them anew"
    )
    fix = f"on {node}: ip link set {interface} up; then restart {writer}"
    if inside:
        text = f"{interface} on {node}, {what}, has no carrier: the pod's own end is down, and nothing passes it"
        fix = f"restart {inside}; ip link set up inside of it does not bring its routes back"
    return error("LINK_DOWN", node, text, fix, proof)


def mtu_too_small(node: str, interface: str, mtu: int, pods: int, largest: int, proof: Proof) -> Finding:
    """`pods` counts those with a larger MTU, `largest` is theirs."""
    whose = "a pod" if pods == 1 else f"{pods} pods"
    text = f"{interface} on {node} has MTU {mtu}, and {whose} behind it {largest}: packets of full size do not fit"
    fix = f"on {node}: ip link set {interface} mtu {largest}; or set AWS_VPC_ENI_MTU to what the network carries"
    return error("MTU_TOO_SMALL", node, text, fix, proof)


def gateway_neighbour_stale(node: str, pod: str, gateway: str, has: str, veth: str, proof: Proof) -> Finding:
    """`has` is what the pod's entry holds, empty where it has none, `veth` the name and MAC of the host's end."""
    entry = f"has {has}" if has else "is missing"
    text = f"inside {pod} on {node} the neighbour entry of its gateway {gateway} {entry}, and the veth is {veth}"
    mac = veth.rpartition(" ")[2]
    fix = f"inside {pod}: ip neigh replace {gateway} lladdr {mac} dev eth0 nud permanent; or restart the pod"
    return error("GATEWAY_NEIGHBOUR_STALE", node, text, fix, proof)


def pod_neighbour_stale(node: str, pod: str, address: str, veth: str, mac: str, proof: Proof) -> Finding:
    text = f"{node} sends frames for {pod} ({address}) to another MAC than {mac}, which the pod has"
    return error("POD_NEIGHBOUR_STALE", node, text, f"on {node}: ip neigh del {address} dev {veth}", proof)


def pod_address_duplicated(node: str, address: str, holders: str, proof: Proof) -> Finding:
    text = f"two have the address {address}: {holders}; the VPC delivers to one node alone"
    fix = "restart one of the pods, so that the CNI gives it an address of its own; then delete the other's left route"
    return error("POD_ADDRESS_DUPLICATED", node, text, fix, proof)


def _add(node: str, rule: str) -> str:
    return f"on {node}: ip rule add {rule}; or {RESTART}"


def _delete(node: str, rule: str) -> str:
    return f"on {node}: ip rule del priority {rule}"
