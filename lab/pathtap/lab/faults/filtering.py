"""Faults of what filters: a node's FORWARD chain, a tc program, the VPC's security groups, the pod itself. Pure."""

from pathtap.lab.faults.changes import Change, CommandChange
from pathtap.lab.faults.fault import Changes, Fault, Trace
from pathtap.lab.faults.making import insert, nft_table, redis
from pathtap.lab.topology import Cluster

_REDIS_PORT = 6379
_CART_TO_REDIS = Trace(source="shop/cart", destination="shop/redis", port=_REDIS_PORT)
_ETHERTYPE, _IPV4 = 12, 0x0800
_PROTOCOL, _TCP = 23, 6
_PORT = 36
_SHOT, _OK = 2, 0


def _forward(target: str) -> Changes:
    def changes(cluster: Cluster) -> tuple[Change, ...]:
        pod, node = redis(cluster)
        return (insert(cluster, node.network_namespace, "filter", f"FORWARD -d {pod.address}/32 -j {target}"),)

    return changes


def _security_group(cluster: Cluster) -> tuple[Change, ...]:
    pod, node = redis(cluster)
    # A security group is stateful: answers to what the ENI itself began still come in.
    rule = f"FORWARD -o {node.eni_of(pod).port} -m conntrack --ctstate NEW -j DROP"
    return (insert(cluster, cluster.vpc_namespace, "mangle", rule),)


def _security_group_reply(cluster: Cluster) -> tuple[Change, ...]:
    pod, node = redis(cluster)
    rule = f"FORWARD -i {node.eni_of(pod).port} -s {pod.address}/32 -m conntrack --ctdir REPLY -j DROP"
    return (insert(cluster, cluster.vpc_namespace, "mangle", rule),)


def _drop_program(port: int) -> str:
    """Classic BPF, as `tc … bpf bytecode` takes it: TC_ACT_SHOT for TCP to `port` in IPv4 without options, else TC_ACT_OK.

    Instructions are `code jt jf k` (linux/bpf_common.h): 40 ldh, 48 ldb, 21 jeq, 6 ret.
    """
    program = (
        f"40 0 0 {_ETHERTYPE}",
        f"21 0 5 {_IPV4}",
        f"48 0 0 {_PROTOCOL}",
        f"21 0 3 {_TCP}",
        f"40 0 0 {_PORT}",
        f"21 0 1 {port}",
        f"6 0 0 {_SHOT}",
        f"6 0 0 {_OK}",
    )
    return f"{len(program)},{','.join(program)}"


def _tc_drop(cluster: Cluster) -> tuple[Change, ...]:
    pod, node = redis(cluster)
    tc = ("tc", "filter", "add", "dev", pod.veth, "egress", "bpf", "da", "bytecode", _drop_program(_REDIS_PORT))
    return (
        CommandChange(
            namespace=node.network_namespace,
            broken=("tc", "qdisc", "add", "dev", pod.veth, "clsact"),
            healed=("tc", "qdisc", "del", "dev", pod.veth, "clsact"),
        ),
        # It ends with its qdisc.
        CommandChange(namespace=node.network_namespace, broken=tc),
    )


def _silent_pod(cluster: Cluster) -> tuple[Change, ...]:
    pod, _ = redis(cluster)
    body = f"""    chain input {{
        type filter hook input priority 0;
        tcp dport {_REDIS_PORT} drop
    }}
"""
    return (nft_table(pod.network_namespace, "inet", "sidecar", body),)


FAULTS = (
    Fault(
        name="forward-drop",
        breaks="redis' node drops what is forwarded to it, by a rule in filter FORWARD.",
        trace=_CART_TO_REDIS,
        changes=_forward("DROP"),
        traced_as=("FILTER_DROP",),
        checked_as=("FILTER_DROP",),
    ),
    Fault(
        name="forward-reject",
        breaks="redis' node answers in its place with an ICMP error, by a rule in filter FORWARD.",
        trace=_CART_TO_REDIS,
        changes=_forward("REJECT"),
        traced_as=("FILTER_REJECT",),
        checked_as=("FILTER_REJECT",),
    ),
    Fault(
        name="tc-drop",
        breaks="A BPF program on redis' veth drops its connections, as a network policy does that allows nobody.",
        trace=_CART_TO_REDIS,
        changes=_tc_drop,
        traced_as=("TC_PROGRAM_DROP",),
    ),
    Fault(
        name="security-group",
        breaks="the VPC lets no new flow in to the ENI of redis: the request is lost between the nodes.",
        trace=_CART_TO_REDIS,
        changes=_security_group,
        traced_as=("LOST_IN_VPC",),
    ),
    Fault(
        name="security-group-reply",
        breaks="the VPC loses what redis answers: the request arrives and its reply is lost between the nodes.",
        trace=_CART_TO_REDIS,
        changes=_security_group_reply,
        traced_as=("LOST_IN_VPC",),
    ),
    Fault(
        name="silent-pod",
        breaks="redis drops its own connections by a rule inside the pod, as a sidecar may write it.",
        trace=_CART_TO_REDIS,
        changes=_silent_pod,
        traced_as=("NO_ANSWER",),
    ),
)
