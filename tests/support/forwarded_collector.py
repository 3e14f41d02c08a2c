"""A collector's port in a pod's place, which keeps what it was shown: `python forwarded_collector.py DIRECTORY`.

DIRECTORY holds tls.crt, tls.key and client-ca.crt; each call becomes a JSON line in `shown`. Serves a token on 9469 and a
client certificate on 9471, as the collector does, until it is ended.
"""

import json
import sys
import threading
import time
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc

from pathtap.v1 import service_pb2, service_pb2_grpc

TOKEN_PORT, CERTIFICATE_PORT = 9469, 9471
# Nodes enough for an answer of more than a megabyte.
MANY = 50_000


class Kept(service_pb2_grpc.TraceServiceServicer):
    """`Trace` never answers, and notes when the caller has gone."""

    def __init__(self, shown: Path) -> None:
        self._shown = shown
        self._lock = threading.Lock()

    def ListNodes(self, _request: Any, context: Any) -> service_pb2.ListNodesResponse:  # noqa: N802
        self._keep("ListNodes", context)
        return service_pb2.ListNodesResponse(
            nodes=[service_pb2.NodeStatus(node=f"ip-192-0-2-{number}", connected=True) for number in range(MANY)]
        )

    def Trace(self, _request: Any, context: Any) -> Iterator[service_pb2.TraceResponse]:  # noqa: N802
        self._keep("Trace", context)
        while context.is_active():
            yield service_pb2.TraceResponse(progress="waiting")
            time.sleep(0.1)
        self._keep("gone", context)

    def _keep(self, what: str, context: Any) -> None:
        given = dict(context.invocation_metadata())
        names = context.auth_context().get("x509_common_name", [b""])
        line = {"call": what, "authorization": given.get("authorization", ""), "certificate": names[0].decode()}
        with self._lock, self._shown.open("a") as file:
            file.write(json.dumps(line) + "\n")


def main(directory: Path) -> None:
    pair = ((directory / "tls.key").read_bytes(), (directory / "tls.crt").read_bytes())
    clients = (directory / "client-ca.crt").read_bytes()
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
    service_pb2_grpc.add_TraceServiceServicer_to_server(Kept(directory / "shown"), server)  # type: ignore[abstract]
    server.add_secure_port(f"127.0.0.1:{TOKEN_PORT}", grpc.ssl_server_credentials([pair]))
    demanding = grpc.ssl_server_credentials([pair], clients, require_client_auth=True)
    server.add_secure_port(f"127.0.0.1:{CERTIFICATE_PORT}", demanding)
    server.start()
    (directory / "ready").touch()
    server.wait_for_termination()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
