"""A request on the wire as a question: its names are looked up within what its caller may see, and no further.

Every function gives what was asked for and the inventory to judge it by, and raises Refused, UnusableRequest, UnknownName
or NotTraceable with the sentence for the person.
"""

from pathtap.collector.access import admission
from pathtap.collector.access.gate import Caller
from pathtap.collector.access.needs import CLUSTER, of_question, of_target, together
from pathtap.collector.agents import Agents
from pathtap.collector.cluster.inventory import Inventory
from pathtap.collector.cluster.resolve import Question, Request, UnusableRequest, resolve_source
from pathtap.collector.cluster.unlisted import question_of
from pathtap.collector.proving.subject import Asked
from pathtap.collector.snat_asked import asked_of
from pathtap.model.address import Protocol
from pathtap.model.trace import Target
from pathtap.v1 import service_pb2


async def trace_requested(
    request: service_pb2.TraceRequest, caller: Caller, inventory: Inventory, agents: Agents, *, live: bool
) -> tuple[Question, Inventory]:
    namespace = request.namespace or caller.default_namespace
    known = await admission.look(caller, (request.source, request.destination), namespace, inventory)
    asked = Request(
        source=request.source,
        destination=request.destination,
        namespace=namespace,
        protocol=request.protocol,
        port=request.port,
        live=live,
    )
    question = await question_of(asked, known, agents)
    if request.size and question.protocol == Protocol.TCP:
        raise UnusableRequest("a size is for ICMP and UDP: a TCP probe is a handshake and carries nothing")
    ported = question.protocol in (Protocol.TCP, Protocol.UDP)
    if not request.live and ported and not question.destination.socket.port:
        raise UnusableRequest("TCP and UDP need the port of the destination: add --port N")
    needs = of_question(question, inventory)
    return question, await admission.confirm(caller, needs, inventory, request.destination)


async def snat_requested(
    request: service_pb2.SnatRequest, caller: Caller, inventory: Inventory, agents: Agents, identity: str
) -> tuple[Asked | None, Inventory]:
    """None is for every node."""
    if request.all:
        await caller.may(CLUSTER)
        return None, inventory
    placed = service_pb2.SnatRequest()
    placed.CopyFrom(request)
    placed.namespace = request.namespace or caller.default_namespace
    known = await admission.look(caller, (request.source, request.destination), placed.namespace, inventory)
    asked = await asked_of(placed, identity, known, agents)
    ends = [of_target(asked.source, inventory), *([of_question(asked.question, inventory)] if asked.question else [])]
    written = request.destination or request.source
    return asked, await admission.confirm(caller, together(ends), inventory, written)


async def flows_requested(
    request: service_pb2.ListFlowsRequest, caller: Caller, inventory: Inventory
) -> tuple[Target, Inventory]:
    namespace = request.namespace or caller.default_namespace
    known = await admission.look(caller, (request.source,), namespace, inventory)
    source = resolve_source(request.source, namespace, known, live=False)
    await admission.confirm(caller, of_target(source, inventory), inventory, request.source)
    return source, await admission.look_around(caller, inventory)
