"""What packets, conntrack entries and counters show of a loss that no rule and no route explains."""

from pathtap.collector.findings.making import Proof, error, warning
from pathtap.model.node import TcProgram
from pathtap.model.trace import Finding


def tc_program_drop(node: str, program: TcProgram, direction: str, proof: Proof) -> Finding:
    named = f" {program.name}" if program.name else ""
    text = (
        f"the {direction} came to {node} and got no further than {program.interface}, where a {program.kind} program{named} is"
        f" attached at tc {program.hook}; nothing else there explains it: a network policy, most likely"
    )
    fix = (
        "kubectl get networkpolicies -A, and the policy agent's log of denied flows;"
        f" on {node}: tc filter show dev {program.interface} {program.hook}"
    )
    return error("TC_PROGRAM_DROP", node, text, fix, proof)


def misaddressed(node: str, interface: str, pod: str, proof: Proof) -> Finding:
    text = (
        f"{pod} sends its frames to another MAC than that of {interface}, the host's end of its veth, so {node} drops them:"
        " the pod's static neighbour 169.254.1.1 is stale"
    )
    fix = (
        f"inside {pod}: ip neigh replace 169.254.1.1 lladdr $(the MAC of {interface} on {node}) dev eth0 nud permanent;"
        " or restart the pod"
    )
    return error("GATEWAY_NEIGHBOUR_STALE", node, text, fix, proof)


def too_big(node: str, sender: str, mtu: int, size: int, proof: Proof) -> Finding:
    """`sender` is who said so in an ICMP error; `mtu` and `size` are in bytes, `size` 0 where the packet was not seen."""
    packet = f"a packet of {size} bytes" if size else "the packet"
    text = f"{sender} answered that {packet} is too big for a link with an MTU of {mtu} and may not be fragmented"
    fix = (
        f"on {node}: ip link, and set the interface's MTU to that of its neighbours (AWS_VPC_ENI_MTU, 9001 by default)"
    )
    return error("MTU_TOO_SMALL", node, text, fix, proof)


def insert_failed(node: str, count: int, rule: str, ports: str, proof: Proof) -> Finding:
    """`rule` translates the packet, `ports` are those that it leaves (`50000-50000`); each is empty where that is not known."""
    times = "once" if count == 1 else f"{count} times"
    taken = f"what {rule} makes of it" if rule else "its translated tuple"
    text = (
        f"conntrack on {node} could not insert a new entry while the packet passed ({times}): {taken} was taken already, and the"
        " packet was dropped"
    )
    if ports:
        fix = f"on {node}: let that rule translate to more ports than {ports}; conntrack -S counts the failures"
    else:
        fix = (
            f"on {node}: conntrack -S; look for a NAT rule that leaves few ports (--to-source ADDRESS:PORTS), for SNAT without"
            " --random-fully (AWS_VPC_K8S_CNI_RANDOMIZESNAT=prng), or for a destination to which all ports are in use"
        )
    return error("CONNTRACK_INSERT_FAILED", node, text, fix, proof)


def entry_stale(node: str, recorded: str, expected: str, delete: str, proof: Proof) -> Finding:
    """`recorded` and `expected` say what the entry and what the present rules make of the flow."""
    text = (
        f"the flow's conntrack entry on {node} is older than the rules: it {recorded}, and the rules of now {expected}"
    )
    return error("CONNTRACK_ENTRY_STALE", node, text, delete, proof)


def asymmetric_reply(node: str, request: str, reply: str, proof: Proof) -> Finding:
    text = f"on {node} the request passed by {request} and its answer by {reply}"
    fix = f"on {node}: ip rule, ip route get from the answer's source; compare with the ENI that owns that address"
    return warning("ASYMMETRIC_REPLY", node, text, fix, proof)
