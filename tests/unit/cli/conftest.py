"""Canned answers shaped as a collector shapes them, a collector that gives them over a real socket, golden files."""

import json
import os
from collections.abc import Callable, Iterator
from concurrent import futures
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from click.testing import CliRunner, Result
from google.protobuf import json_format

from pathtap.cli.program import cli
from pathtap.cli.render.page import Line, paint
from pathtap.v1 import service_pb2, service_pb2_grpc, snat_pb2, trace_pb2

HERE = Path(__file__).parent
MESSAGES = HERE / "messages"
GOLDEN = HERE / "golden"


def read_message(name: str, message: Any) -> Any:
    """The message in messages/NAME.json, in protobuf's JSON mapping."""
    return json_format.Parse((MESSAGES / f"{name}.json").read_text(), message)


@pytest.fixture
def a_trace() -> Callable[[str], trace_pb2.Trace]:
    return lambda name: read_message(name, trace_pb2.Trace())


@pytest.fixture
def busy_flows() -> trace_pb2.Flows:
    flows: trace_pb2.Flows = read_message("flows-busy", trace_pb2.Flows())
    return flows


@pytest.fixture
def a_check() -> trace_pb2.Check:
    check: trace_pb2.Check = read_message("check-broken", trace_pb2.Check())
    return check


@pytest.fixture
def a_snat() -> Callable[[str], snat_pb2.Snat]:
    """The message of that name, filled up to its number of connections: those that count first."""

    def read(name: str) -> snat_pb2.Snat:
        snat: snat_pb2.Snat = read_message(name, snat_pb2.Snat())
        for number in range(snat.connections):
            kept = bool(snat.preserved)
            port = 40_000 + number
            snat.pairs.add(
                protocol=snat.protocol,
                original=trace_pb2.Socket(address=snat.source.address, port=port),
                translated=trace_pb2.Socket(address=snat.translated_to, port=port if kept else 1_893 + number * 998),
                destination=trace_pb2.Socket(address=snat.destination.address, port=snat.destination.port),
                witnesses=[trace_pb2.Step.RECORDED, trace_pb2.Step.OBSERVED],
                interface=snat.egress.interface,
                discounted=""
                if number < snat.statistics.counted
                else "192.168.1.90 held its port towards the destination",
            )
        return snat

    return read


@pytest.fixture
def a_snat_table() -> snat_pb2.SnatTable:
    table: snat_pb2.SnatTable = read_message("snat-table", snat_pb2.SnatTable())
    return table


@pytest.fixture
def two_nodes() -> service_pb2.ListNodesResponse:
    nodes: service_pb2.ListNodesResponse = read_message("nodes-two", service_pb2.ListNodesResponse())
    return nodes


@pytest.fixture
def golden() -> Callable[[str, list[Line]], None]:
    """Compares lines with golden/NAME.txt. UPDATE_GOLDEN=1 writes it instead: read the diff before you commit it."""

    def check(name: str, lines: list[Line]) -> None:
        text = "".join(paint(line, colour=False) + "\n" for line in lines)
        path = GOLDEN / f"{name}.txt"
        if os.environ.get("UPDATE_GOLDEN"):
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        assert text == path.read_text()

    return check


@dataclass
class FakeCollector(service_pb2_grpc.TraceServiceServicer):
    """Stands for the collector, which is another process: gives what a test put here, keeps what it was asked."""

    trace: trace_pb2.Trace | None = None
    flows: trace_pb2.Flows | None = None
    check: trace_pb2.Check | None = None
    snat: snat_pb2.Snat | None = None
    snat_table: snat_pb2.SnatTable | None = None
    nodes: service_pb2.ListNodesResponse = field(default_factory=service_pb2.ListNodesResponse)
    names: tuple[str, ...] = ()
    status: tuple[grpc.StatusCode, str] | None = None
    asked: list[Any] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)

    def _refuse(self, context: Any) -> None:
        if self.status is not None:
            context.abort(*self.status)

    def Trace(self, request: Any, context: Any) -> Iterator[service_pb2.TraceResponse]:  # noqa: N802
        self.asked.append(request)
        yield service_pb2.TraceResponse(progress="reading ip-192-168-1-29")
        self._refuse(context)
        if self.trace is not None:
            yield service_pb2.TraceResponse(trace=self.trace)

    def Explain(self, request: Any, context: Any) -> Iterator[service_pb2.TraceResponse]:  # noqa: N802
        return self.Trace(request, context)

    def ListFlows(self, request: Any, context: Any) -> Iterator[service_pb2.ListFlowsResponse]:  # noqa: N802
        self.asked.append(request)
        self._refuse(context)
        if self.flows is not None:
            yield service_pb2.ListFlowsResponse(flows=self.flows)

    def Check(self, request: Any, context: Any) -> Iterator[service_pb2.CheckResponse]:  # noqa: N802
        self.asked.append(request)
        yield service_pb2.CheckResponse(progress="reading 2 nodes")
        self._refuse(context)
        if self.check is not None:
            yield service_pb2.CheckResponse(check=self.check)

    def Snat(self, request: Any, context: Any) -> Iterator[service_pb2.SnatResponse]:  # noqa: N802
        self.asked.append(request)
        yield service_pb2.SnatResponse(progress="opening 64 connections")
        self._refuse(context)
        if request.all and self.snat_table is not None:
            yield service_pb2.SnatResponse(table=self.snat_table)
        elif self.snat is not None:
            yield service_pb2.SnatResponse(snat=self.snat)

    def ListNodes(self, request: Any, context: Any) -> service_pb2.ListNodesResponse:  # noqa: N802
        self.shown += [value for key, value in context.invocation_metadata() if key == "authorization"]
        self._refuse(context)
        return self.nodes

    def ListNames(self, request: Any, context: Any) -> service_pb2.ListNamesResponse:  # noqa: N802
        self.asked.append(request)
        self._refuse(context)
        return service_pb2.ListNamesResponse(names=[n for n in self.names if n.startswith(request.prefix)])


@dataclass
class Served:
    collector: FakeCollector
    address: str


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """A fake collector behind a real gRPC server on a unix socket."""
    collector = FakeCollector()
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=2))
    service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)
    address = f"unix:{tmp_path}/collector.sock"
    server.add_insecure_port(address)
    server.start()
    yield Served(collector, address)
    server.stop(None).wait()


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Result]:
    """Runs `pathtap ARGS` in an environment that holds nothing of this machine's."""
    for name in ("PATHTAP_COLLECTOR", "KUBECONFIG", "NO_COLOR", "COLUMNS", "TERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    runner = CliRunner()
    return lambda *args, **env: runner.invoke(cli, list(args), env=env, prog_name="pathtap")


@pytest.fixture
def ask(run: Callable[..., Result], served: Served) -> Callable[..., Result]:
    """Runs `pathtap ARGS` against the fake collector."""
    return lambda *args: run("--collector", served.address, *args)


@pytest.fixture
def as_json() -> Callable[[Result], Any]:
    return lambda result: json.loads(result.stdout)
