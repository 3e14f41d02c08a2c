import subprocess
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest
from click.testing import Result

from pathtap.v1 import service_pb2, service_pb2_grpc

Run = Callable[..., Result]


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A self-signed certificate of localhost, and its key."""
    key, chain = tmp_path / "key.pem", tmp_path / "chain.pem"
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost",
            "-keyout",
            key,
            "-out",
            chain,
        ],
        check=True,
        capture_output=True,
    )
    return chain, key


@pytest.fixture
def tcp_ports(
    served: Any, certificate: tuple[Path, Path], two_nodes: service_pb2.ListNodesResponse
) -> Iterator[tuple[int, int]]:
    """The fake collector on loopback: a plaintext port and a TLS port."""
    served.collector.nodes = two_nodes
    chain, key = certificate
    credentials = grpc.ssl_server_credentials([(key.read_bytes(), chain.read_bytes())])
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=2))
    service_pb2_grpc.add_TraceServiceServicer_to_server(served.collector, server)
    ports = (
        server.add_insecure_port("127.0.0.1:0"),
        server.add_secure_port("127.0.0.1:0", credentials),
    )
    server.start()
    yield ports
    server.stop(None).wait()


def test_tcp_is_tls_against_the_roots_given(
    run: Run, tcp_ports: tuple[int, int], certificate: tuple[Path, Path]
) -> None:
    _, tls = tcp_ports
    result = run("--collector", f"localhost:{tls}", "--tls-ca", str(certificate[0]), "nodes")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "no agent is connected" in result.stdout


def test_a_certificate_that_nobody_vouches_for_is_refused(run: Run, tcp_ports: tuple[int, int]) -> None:
    _, tls = tcp_ports
    result = run("--collector", f"localhost:{tls}", "nodes")
    assert result.exit_code == 1
    assert f"localhost:{tls}" in result.stderr


def test_plaintext_on_tcp_is_only_spoken_where_asked_for(run: Run, tcp_ports: tuple[int, int]) -> None:
    plain, tls = tcp_ports
    assert run("--collector", f"127.0.0.1:{plain}", "--insecure", "nodes").exit_code == 0
    refused = run("--collector", f"127.0.0.1:{plain}", "nodes")
    assert (refused.exit_code, "--insecure" in refused.stderr) == (1, True)
    assert run("--collector", f"127.0.0.1:{tls}", "--insecure", "nodes").exit_code == 1


def test_a_ca_file_that_cannot_be_read_is_a_sentence(run: Run) -> None:
    result = run("--collector", "localhost:1", "--tls-ca", "/nowhere.pem", "nodes")
    assert (result.exit_code, "--tls-ca /nowhere.pem cannot be read" in result.stderr) == (1, True)


def test_a_proxy_of_the_laptop_is_not_used(run: Run, tcp_ports: tuple[int, int]) -> None:
    plain, _ = tcp_ports
    arguments = ["--collector", f"127.0.0.1:{plain}", "--insecure", "nodes"]
    assert run(*arguments, http_proxy="http://127.0.0.1:9", grpc_proxy="http://127.0.0.1:9").exit_code == 0


def test_a_token_is_shown_over_tls_after_the_name_was_verified(
    run: Run, served: Any, tcp_ports: tuple[int, int], certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    plain, tls = tcp_ports
    token = tmp_path / "token"
    token.write_text("persons-token\n")
    trusting = ["--tls-ca", str(certificate[0]), "--token-file", str(token), "nodes"]
    assert run("--collector", f"127.0.0.1:{tls}", "--tls-server-name", "localhost", *trusting).exit_code == 0
    assert served.collector.shown == ["Bearer persons-token"]
    other = run("--collector", f"127.0.0.1:{tls}", "--tls-server-name", "collector.example", *trusting)
    assert (other.exit_code, "its certificate is not one of collector.example" in other.stderr) == (1, True)
    # By its address: of a name with two, gRPC tells of the one that failed last.
    named = ["--tls-server-name", "localhost", "--token-file", str(token)]
    unknown = run("--collector", f"127.0.0.1:{tls}", *named, "nodes")
    assert (unknown.exit_code, "signed by nobody who is trusted here" in unknown.stderr) == (1, True)
    assert served.collector.shown == ["Bearer persons-token"]
    for address in (["--collector", f"127.0.0.1:{plain}", "--insecure"], ["--collector", served.address]):
        refused = run(*address, "--token-file", str(token), "nodes")
        assert (refused.exit_code, "--token-file needs TLS" in refused.stderr) == (2, True)
    assert served.collector.shown == ["Bearer persons-token"]
