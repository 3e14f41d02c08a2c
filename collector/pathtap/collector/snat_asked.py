"""What a person wants `snat` to prove, made of the request on the wire; the source's node is asked what the inventory lacks."""

from pathtap.collector.agents import Agents
from pathtap.collector.cluster.inventory import Inventory
from pathtap.collector.cluster.resolve import NotTraceable, Request
from pathtap.collector.cluster.unlisted import question_of, source_of
from pathtap.collector.inspections.view import FAR_AWAY
from pathtap.collector.proving.subject import Asked
from pathtap.v1 import service_pb2


async def asked_of(request: service_pb2.SnatRequest, identity: str, inventory: Inventory, agents: Agents) -> Asked:
    """Raises UnusableRequest, UnknownName or NotTraceable, each with the sentence for the person."""
    ends = Request(
        source=request.source,
        destination=request.destination or str(FAR_AWAY[0]),
        namespace=request.namespace,
        protocol=request.protocol,
        port=request.port,
        # Without a destination nothing is sent, so an address may be the source, as with live traffic.
        live=request.live or not request.destination,
    )
    question = await question_of(ends, inventory, agents) if request.destination else None
    if question is not None and question.is_to_itself:
        raise NotTraceable(
            f"{request.source} to its own address goes by its lo: it never leaves the pod's network namespace, and nothing"
            " on the node translates it"
        )
    source = question.source if question else await source_of(ends, inventory, agents)
    if not source.node:
        raise NotTraceable(f"{request.source} is no pod's and no node's address: nobody can tell what translates it")
    # Connections of the source's own may be of any protocol, where none was asked for.
    is_any = request.live and not request.protocol and not request.port
    protocol = question.protocol if question and not is_any else 0
    return Asked(id=identity, source=source, question=question, live=request.live, protocol=protocol)
