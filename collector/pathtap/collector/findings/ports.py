"""What a race for source ports costs, and their lack: connections that conntrack could not enter, and dropped."""

from pathtap.collector.findings.making import Proof, error, warning
from pathtap.model.trace import Finding

_DNS = (
    "of DNS queries, which no flag of SNAT mends: NodeLocal DNSCache, or single-request-reopen in the pods' resolv.conf"
)


def snat_race_lost(node: str, lost: int, towards: str, in_use: str, mended_by_flag: bool, proof: Proof) -> Finding:
    """`lost` is the rise of insert_failed, at least 1; `in_use` is as `310 of 64512 ports of 192.168.1.29`, towards `towards`.

    `mended_by_flag` is whether the rule that translates lacks --random-fully.
    """
    text = (
        f"conntrack on {node} dropped {_packets(lost)} while no more than {in_use} are in use towards {towards}, and towards no"
        " destination so many that none are left: connections that began at the same moment chose the same port, or a search gave"
        " up within a long run of taken ones, or two queries of one socket to a Service raced behind its DNAT; the counter"
        " (insert_failed) tells neither which, nor towards whom"
    )
    if mended_by_flag:
        fix = (
            "AWS_VPC_K8S_CNI_RANDOMIZESNAT=prng (--random-fully) strews ports: then two that choose at the same moment choose one"
            " port once in so many times as there are ports, and there are no long runs"
        )
    else:
        fix = (
            f"conntrack -S on {node} shows whether it goes on: with --random-fully two that choose at the same moment choose one"
            " port once in so many times as there are ports, and more than a few losses have another cause"
        )
    return warning("SNAT_RACE_LOST", node, text, f"{fix}; {_DNS}", proof)


def snat_ports_exhausted(node: str, lost: int, towards: str, in_use: str, users: str, proof: Proof) -> Finding:
    """`in_use` is as `60000 of 64512 ports of 192.168.1.29`, towards `towards`; `users` says who holds them, most first.

    An error where insert_failed rose, by `lost`; where that is 0, a warning of what is to come.
    """
    held = f", held by {users}" if users else ""
    gives_up = "the kernel's search for a free port gives up now and then, whatever the rule's flag"
    effect = f"{gives_up}; conntrack dropped {_packets(lost)}" if lost else f"if more come, {gives_up}"
    fix = (
        "fewer connections to that address and port: keep-alive, a pool, shorter idling; or more source addresses: clients on"
        " more nodes, or AWS_VPC_K8S_CNI_EXTERNALSNAT=true with a NAT gateway of several addresses"
    )
    text = f"on {node} {in_use} are in use towards {towards}{held}: {effect}"
    return (error if lost else warning)("SNAT_PORTS_EXHAUSTED", node, text, fix, proof)


def _packets(lost: int) -> str:
    return f"{'a packet' if lost == 1 else f'{lost} packets'} for which it could not insert an entry"
