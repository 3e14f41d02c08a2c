"""The command line's end of the wire: requests in, progress and answers out. Decides nothing itself."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable

import grpc
import grpc.aio

from pathtap import wire
from pathtap.collector.agents import Agents
from pathtap.collector.asking import Progress
from pathtap.collector.check import CheckRun, nodes_to_check
from pathtap.collector.cluster.inventory import Inventory
from pathtap.collector.cluster.resolve import (
    NotListed,
    NotTraceable,
    Question,
    Request,
    UnknownName,
    UnusableRequest,
    resolve_source,
)
from pathtap.collector.cluster.unlisted import question_of
from pathtap.collector.explain import ExplainRun
from pathtap.collector.flows import FlowsRun
from pathtap.collector.progress import with_progress
from pathtap.collector.proving.subject import Asked
from pathtap.collector.snat import CONNECTIONS, SnatRun
from pathtap.collector.snat import Options as SnatOptions
from pathtap.collector.snat_asked import asked_of
from pathtap.collector.snat_table import SnatTableRun
from pathtap.collector.status import names, node_statuses
from pathtap.collector.tracing import Options, TraceRun
from pathtap.model.address import Protocol
from pathtap.model.request import MAX_PROBE_SIZE, MOST_CONNECTIONS
from pathtap.v1 import service_pb2, service_pb2_grpc, snat_pb2

log = logging.getLogger(__name__)

DEFAULT_TRACE_TIMEOUT = 3.0
DEFAULT_FLOWS_TIMEOUT = 5.0
# For the answers to many connections that were opened at once.
DEFAULT_SNAT_TIMEOUT = 2.0
MAX_TIMEOUT = 600.0
MAX_COUNT = 100

STATUS: dict[type[Exception], grpc.StatusCode] = {
    UnusableRequest: grpc.StatusCode.INVALID_ARGUMENT,
    UnknownName: grpc.StatusCode.NOT_FOUND,
    NotTraceable: grpc.StatusCode.FAILED_PRECONDITION,
    NotListed: grpc.StatusCode.FAILED_PRECONDITION,
}
REFUSALS = tuple(STATUS)


class TraceServer(service_pb2_grpc.TraceServiceServicer):
    def __init__(
        self,
        agents: Agents,
        inventory: Callable[[], Inventory],
        now: Callable[[], int],
        new_id: Callable[[], str],
    ) -> None:
        self._agents = agents
        self._inventory = inventory
        self._now = now
        self._new_id = new_id

    async def Trace(  # noqa: N802 - the stub's name
        self,
        request: service_pb2.TraceRequest,
        context: grpc.aio.ServicerContext[service_pb2.TraceRequest, service_pb2.TraceResponse],
    ) -> AsyncIterator[service_pb2.TraceResponse]:
        inventory = self._inventory()
        question = await _resolved(request, inventory, self._agents, context, live=request.live)
        options = Options(
            timeout=_seconds(request.timeout_ms, DEFAULT_TRACE_TIMEOUT),
            count=min(max(request.count, 1), MAX_COUNT),
            size=min(request.size, MAX_PROBE_SIZE),
        )
        identity = self._new_id()
        log.info("trace %s: %s to %s", identity, request.source, request.destination)

        def run(progress: Progress) -> Awaitable[service_pb2.TraceResponse]:
            return self._trace(
                TraceRun(
                    id=identity,
                    question=question,
                    inventory=inventory,
                    agents=self._agents,
                    options=options,
                    now=self._now,
                    progress=progress,
                )
            )

        async for response in with_progress(run, lambda text: service_pb2.TraceResponse(progress=text)):
            yield response

    async def _trace(self, run: TraceRun) -> service_pb2.TraceResponse:
        return service_pb2.TraceResponse(trace=wire.trace_to_wire(await run.trace()))

    async def Explain(  # noqa: N802
        self,
        request: service_pb2.TraceRequest,
        context: grpc.aio.ServicerContext[service_pb2.TraceRequest, service_pb2.TraceResponse],
    ) -> AsyncIterator[service_pb2.TraceResponse]:
        inventory = self._inventory()
        # Nothing is sent, so an address may be the source, as with live traffic.
        question = await _resolved(request, inventory, self._agents, context, live=True)
        identity = self._new_id()
        log.info("explain %s: %s to %s", identity, request.source, request.destination)

        async def run(progress: Progress) -> service_pb2.TraceResponse:
            explaining = ExplainRun(
                id=identity,
                question=question,
                inventory=inventory,
                agents=self._agents,
                now=self._now,
                progress=progress,
            )
            return service_pb2.TraceResponse(trace=wire.trace_to_wire(await explaining.explain()))

        async for response in with_progress(run, lambda text: service_pb2.TraceResponse(progress=text)):
            yield response

    async def Check(  # noqa: N802
        self,
        request: service_pb2.CheckRequest,
        context: grpc.aio.ServicerContext[service_pb2.CheckRequest, service_pb2.CheckResponse],
    ) -> AsyncIterator[service_pb2.CheckResponse]:
        inventory = self._inventory()
        try:
            nodes = nodes_to_check(request.nodes, (agent.node for agent in self._agents.connected()), inventory)
        except REFUSALS as error:
            await context.abort(STATUS[type(error)], str(error))
        log.info("check of %d nodes", len(nodes))

        async def run(progress: Progress) -> service_pb2.CheckResponse:
            check = CheckRun(nodes=nodes, inventory=inventory, agents=self._agents, now=self._now, progress=progress)
            return service_pb2.CheckResponse(check=wire.check_to_wire(await check.check()))

        async for response in with_progress(run, lambda text: service_pb2.CheckResponse(progress=text)):
            yield response

    async def Snat(  # noqa: N802
        self,
        request: service_pb2.SnatRequest,
        context: grpc.aio.ServicerContext[service_pb2.SnatRequest, service_pb2.SnatResponse],
    ) -> AsyncIterator[service_pb2.SnatResponse]:
        inventory = self._inventory()
        try:
            asked = None if request.all else await asked_of(request, self._new_id(), inventory, self._agents)
        except REFUSALS as error:
            await context.abort(STATUS[type(error)], str(error))
        log.info("snat of %s", request.source or "every node")

        async def run(progress: Progress) -> service_pb2.SnatResponse:
            if asked is None:
                return service_pb2.SnatResponse(table=await self._snat_table(inventory, progress))
            proving = SnatRun(
                asked=asked,
                inventory=inventory,
                agents=self._agents,
                options=_snat_options(request, asked),
                now=self._now,
                progress=progress,
            )
            return service_pb2.SnatResponse(snat=wire.snat_to_wire(await proving.prove()))

        async for response in with_progress(run, lambda text: service_pb2.SnatResponse(progress=text)):
            yield response

    async def _snat_table(self, inventory: Inventory, progress: Progress) -> snat_pb2.SnatTable:
        run = SnatTableRun(
            id=self._new_id(),
            nodes=nodes_to_check((), (agent.node for agent in self._agents.connected()), inventory),
            inventory=inventory,
            agents=self._agents,
            now=self._now,
            progress=progress,
        )
        table = await run.prove()
        return wire.snat_table_to_wire(table.started_at, table.finished_at, table.nodes, table.gaps)

    async def ListFlows(  # noqa: N802
        self,
        request: service_pb2.ListFlowsRequest,
        context: grpc.aio.ServicerContext[service_pb2.ListFlowsRequest, service_pb2.ListFlowsResponse],
    ) -> AsyncIterator[service_pb2.ListFlowsResponse]:
        inventory = self._inventory()
        try:
            source = resolve_source(request.source, request.namespace, inventory, live=False)
        except REFUSALS as error:
            await context.abort(STATUS[type(error)], str(error))
        identity, timeout = self._new_id(), _seconds(request.timeout_ms, DEFAULT_FLOWS_TIMEOUT)
        log.info("flows %s: %s", identity, request.source)

        async def run(progress: Progress) -> service_pb2.ListFlowsResponse:
            flows = FlowsRun(
                id=identity,
                source=source,
                inventory=inventory,
                agents=self._agents,
                timeout=timeout,
                now=self._now,
                progress=progress,
            )
            return service_pb2.ListFlowsResponse(flows=await flows.list())

        async for response in with_progress(run, lambda text: service_pb2.ListFlowsResponse(progress=text)):
            yield response

    async def ListNodes(  # noqa: N802
        self,
        request: service_pb2.ListNodesRequest,
        context: grpc.aio.ServicerContext[service_pb2.ListNodesRequest, service_pb2.ListNodesResponse],
    ) -> service_pb2.ListNodesResponse:
        del request, context
        return service_pb2.ListNodesResponse(nodes=await node_statuses(self._agents, self._inventory()))

    async def ListNames(  # noqa: N802
        self,
        request: service_pb2.ListNamesRequest,
        context: grpc.aio.ServicerContext[service_pb2.ListNamesRequest, service_pb2.ListNamesResponse],
    ) -> service_pb2.ListNamesResponse:
        del context
        return service_pb2.ListNamesResponse(names=names(self._inventory(), request.prefix))


async def _resolved(
    request: service_pb2.TraceRequest,
    inventory: Inventory,
    agents: Agents,
    context: grpc.aio.ServicerContext[service_pb2.TraceRequest, service_pb2.TraceResponse],
    *,
    live: bool,
) -> Question:
    """What is asked for, or the end of the call with the sentence that refuses it."""
    asked = Request(
        source=request.source,
        destination=request.destination,
        namespace=request.namespace,
        protocol=request.protocol,
        port=request.port,
        live=live,
    )
    try:
        question = await question_of(asked, inventory, agents)
        if request.size and question.protocol == Protocol.TCP:
            raise UnusableRequest("a size is for ICMP and UDP: a TCP probe is a handshake and carries nothing")
        if (
            not request.live
            and question.protocol in (Protocol.TCP, Protocol.UDP)
            and not question.destination.socket.port
        ):
            raise UnusableRequest("TCP and UDP need the port of the destination: add --port N")
        return question
    except REFUSALS as error:
        await context.abort(STATUS[type(error)], str(error))


def _snat_options(request: service_pb2.SnatRequest, asked: Asked) -> SnatOptions:
    return SnatOptions(
        connections=min(request.connections or CONNECTIONS, MOST_CONNECTIONS),
        timeout=_seconds(request.timeout_ms, DEFAULT_FLOWS_TIMEOUT if request.live else DEFAULT_SNAT_TIMEOUT),
        protocol=asked.protocol,
    )


def _seconds(milliseconds: int, default: float) -> float:
    return min(milliseconds / 1000, MAX_TIMEOUT) if milliseconds else default
