"""The wrong way: another ENI than the source's own, a backend that is gone."""

from pathtap.collector.findings.making import Proof, deletion, error
from pathtap.collector.telling import words
from pathtap.model.trace import Finding, RuleReference


def wrong_eni(
    node: str, interface: str, whose: str, rule: str, marked_by: RuleReference | None, family: str, proof: Proof
) -> Finding:
    """`whose` is the source and its ENI: `192.168.1.116, an address of eth1,`. `rule` is the ip rule that chose the way,
    `marked_by` the netfilter rule that set the mark it goes by, None where it goes by something else; `family` is its table's.
    """
    marked = f" (the mark is set by {words.netfilter_words(marked_by)})" if marked_by else ""
    text = (
        f"the packet of {whose} leaves by {interface}: ip rule {rule}{marked} sends it there, and the VPC drops what"
        " its ENI does not own"
    )
    if marked_by:
        fix = f"{deletion(marked_by, family)}; or let that rule not mark what stays inside the VPC"
    else:
        fix = f"ip rule del priority {rule}; find out what wrote it, for it may come back"
    return error("WRONG_ENI", node, text, f"on {node}: {fix}", proof)


def service_backend_gone(node: str, service: str, backend: str, proof: Proof) -> Finding:
    namespace, _, name = service.partition("/")
    text = f"kube-proxy's rules on {node} lead {service} to {backend}, which is no pod's and no endpoint's any more"
    fix = (
        f"kubectl -n {namespace} get endpointslices -l kubernetes.io/service-name={name}; where it is not listed, restart"
        f" kube-proxy on {node}"
    )
    return error("SERVICE_BACKEND_GONE", node, text, fix, proof)
