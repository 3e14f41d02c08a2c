"""The command line's end of the wire: requests in, progress and answers out. Decides nothing itself.

Each method takes its request at the desk, which ends the call of who may not; `requested` looks names up.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import grpc.aio

from pathtap import wire
from pathtap.collector.access import admission
from pathtap.collector.access.audit import Asked as Audited
from pathtap.collector.access.desk import Desk
from pathtap.collector.access.keeping import while_theirs
from pathtap.collector.access.needs import CLUSTER
from pathtap.collector.agents import Agents
from pathtap.collector.asking import Progress
from pathtap.collector.check import CheckRun, nodes_to_check
from pathtap.collector.cluster.inventory import Inventory
from pathtap.collector.cluster.meanwhile import ends_of, gone_meanwhile
from pathtap.collector.explain import ExplainRun
from pathtap.collector.flows import FlowsRun
from pathtap.collector.progress import with_progress
from pathtap.collector.proving.subject import Asked
from pathtap.collector.requested import flows_requested, snat_requested, trace_requested
from pathtap.collector.snat import CONNECTIONS, SnatRun
from pathtap.collector.snat import Options as SnatOptions
from pathtap.collector.snat_table import SnatTableRun
from pathtap.collector.status import names, node_statuses, unread_of
from pathtap.collector.tracing import Options, TraceRun
from pathtap.model.request import MAX_PROBE_SIZE, MOST_CONNECTIONS
from pathtap.v1 import service_pb2, service_pb2_grpc, snat_pb2

DEFAULT_TRACE_TIMEOUT = 3.0
DEFAULT_FLOWS_TIMEOUT = 5.0
# For the answers to many connections that were opened at once.
DEFAULT_SNAT_TIMEOUT = 2.0
MAX_TIMEOUT = 600.0
MAX_COUNT = 100


class TraceServer(service_pb2_grpc.TraceServiceServicer):
    def __init__(
        self,
        agents: Agents,
        inventory: Callable[[], Inventory],
        now: Callable[[], int],
        new_id: Callable[[], str],
        desk: Desk,
    ) -> None:
        self._desk = desk
        self._agents = agents
        self._inventory = inventory
        self._now = now
        self._new_id = new_id

    async def Trace(  # noqa: N802 - the stub's name
        self,
        request: service_pb2.TraceRequest,
        context: grpc.aio.ServicerContext[service_pb2.TraceRequest, service_pb2.TraceResponse],
    ) -> AsyncIterator[service_pb2.TraceResponse]:
        identity = self._new_id()
        audited = _audited("trace", request, identity)
        async with self._desk.asked(request, context, audited) as caller:
            question, inventory = await trace_requested(
                request, caller, self._inventory(), self._agents, live=request.live
            )
        options = Options(
            timeout=_seconds(request.timeout_ms, DEFAULT_TRACE_TIMEOUT),
            count=min(max(request.count, 1), MAX_COUNT),
            size=min(request.size, MAX_PROBE_SIZE),
        )

        def run(progress: Progress) -> Awaitable[service_pb2.TraceResponse]:
            tracing = TraceRun(
                id=identity,
                question=question,
                inventory=inventory,
                agents=self._agents,
                options=options,
                now=self._now,
                progress=progress,
            )
            ends = (question.source, question.destination)
            return while_theirs(self._trace(tracing), caller, ends, inventory, self._inventory)

        async with self._desk.answered(caller, context, audited):
            async for response in with_progress(run, lambda text: service_pb2.TraceResponse(progress=text)):
                yield response

    async def _trace(self, run: TraceRun) -> service_pb2.TraceResponse:
        trace = await run.trace()
        gone = gone_meanwhile(ends_of(trace, run.inventory), run.inventory, self._inventory())
        verdict = replace(trace.verdict, gaps=(*trace.verdict.gaps, *gone))
        return service_pb2.TraceResponse(trace=wire.trace_to_wire(replace(trace, verdict=verdict)))

    async def Explain(  # noqa: N802
        self,
        request: service_pb2.TraceRequest,
        context: grpc.aio.ServicerContext[service_pb2.TraceRequest, service_pb2.TraceResponse],
    ) -> AsyncIterator[service_pb2.TraceResponse]:
        identity = self._new_id()
        async with self._desk.asked(request, context, _audited("explain", request, identity)) as caller:
            # Nothing is sent, so an address may be the source, as with live traffic.
            question, inventory = await trace_requested(request, caller, self._inventory(), self._agents, live=True)

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
        asked = Audited(what="check", source=" ".join(request.nodes))
        async with self._desk.asked(request, context, asked) as caller:
            await caller.may(CLUSTER)
            inventory = self._inventory()
            nodes = nodes_to_check(request.nodes, (agent.node for agent in self._agents.connected()), inventory)

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
        identity = self._new_id()
        audited = _audited("snat", request, identity)
        async with self._desk.asked(request, context, audited) as caller:
            asked, inventory = await snat_requested(request, caller, self._inventory(), self._agents, identity)

        async def run(progress: Progress) -> service_pb2.SnatResponse:
            if asked is None:
                return service_pb2.SnatResponse(table=await self._snat_table(identity, inventory, progress))
            proving = SnatRun(
                asked=asked,
                inventory=inventory,
                agents=self._agents,
                options=_snat_options(request, asked),
                now=self._now,
                progress=progress,
            )
            ends = (asked.source, *((asked.question.destination,) if asked.question else ()))
            proof = await while_theirs(proving.prove(), caller, ends, inventory, self._inventory)
            return service_pb2.SnatResponse(snat=wire.snat_to_wire(proof))

        async with self._desk.answered(caller, context, audited):
            async for response in with_progress(run, lambda text: service_pb2.SnatResponse(progress=text)):
                yield response

    async def _snat_table(self, identity: str, inventory: Inventory, progress: Progress) -> snat_pb2.SnatTable:
        run = SnatTableRun(
            id=identity,
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
        identity, timeout = self._new_id(), _seconds(request.timeout_ms, DEFAULT_FLOWS_TIMEOUT)
        audited = _audited("flows", request, identity)
        async with self._desk.asked(request, context, audited) as caller:
            source, inventory = await flows_requested(request, caller, self._inventory())

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
            seen = await while_theirs(flows.list(), caller, (source,), inventory, self._inventory)
            return service_pb2.ListFlowsResponse(flows=seen)

        async with self._desk.answered(caller, context, audited):
            async for response in with_progress(run, lambda text: service_pb2.ListFlowsResponse(progress=text)):
                yield response

    async def ListNodes(  # noqa: N802
        self,
        request: service_pb2.ListNodesRequest,
        context: grpc.aio.ServicerContext[service_pb2.ListNodesRequest, service_pb2.ListNodesResponse],
    ) -> service_pb2.ListNodesResponse:
        async with self._desk.asked(request, context, Audited(what="nodes")) as caller:
            await caller.may(CLUSTER)
            inventory = self._inventory()
        nodes = await node_statuses(self._agents, inventory)
        return service_pb2.ListNodesResponse(nodes=nodes, unread=unread_of(inventory))

    async def ListNames(  # noqa: N802
        self,
        request: service_pb2.ListNamesRequest,
        context: grpc.aio.ServicerContext[service_pb2.ListNamesRequest, service_pb2.ListNamesResponse],
    ) -> service_pb2.ListNamesResponse:
        async with self._desk.asked(request, context, Audited(what="names", namespace=request.namespace)) as caller:
            namespace = request.namespace or caller.default_namespace
            shown = await admission.look_up(caller, request.prefix, namespace, self._inventory())
        return service_pb2.ListNamesResponse(names=names(shown, request.prefix, namespace))


def _audited(
    what: str,
    request: service_pb2.TraceRequest | service_pb2.SnatRequest | service_pb2.ListFlowsRequest,
    identity: str,
) -> Audited:
    destination = "" if isinstance(request, service_pb2.ListFlowsRequest) else request.destination
    every = isinstance(request, service_pb2.SnatRequest) and request.all
    source = "--all" if every else request.source
    return Audited(id=identity, what=what, source=source, destination=destination, namespace=request.namespace)


def _snat_options(request: service_pb2.SnatRequest, asked: Asked) -> SnatOptions:
    return SnatOptions(
        connections=min(request.connections or CONNECTIONS, MOST_CONNECTIONS),
        timeout=_seconds(request.timeout_ms, DEFAULT_FLOWS_TIMEOUT if request.live else DEFAULT_SNAT_TIMEOUT),
        protocol=asked.protocol,
    )


def _seconds(milliseconds: int, default: float) -> float:
    return min(milliseconds / 1000, MAX_TIMEOUT) if milliseconds else default
