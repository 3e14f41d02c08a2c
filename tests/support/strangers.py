"""Strangers who come in numbers to a collector process with TLS on loopback: silent ones, and those who speak TLS and no more.

Nobody of them is kept beyond the block that made them. What is closed from here is reset: no port is left in TIME_WAIT.
"""

import resource
import socket
import ssl
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from kube_access import SERVER_NAME, Collector, write_certificate

from pathtap.lab.kube.certificates import new_authority
from pathtap.lab.kube.control_plane import free_port

# What begins a connection of a client by RFC 9113.
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
AT_ONCE = 100
RESET = struct.pack("ii", 1, 0)


@contextmanager
def collecting(directory: Path, files: tuple[int, int], *source: str) -> Iterator[Collector]:
    """A collector whose soft and hard limit of open files are these; `source` says whence it knows pods and nodes."""
    authority = new_authority("strangers", datetime.now(UTC))
    write_certificate(directory, authority)
    port, agent_port = free_port(), free_port()
    argv = ["prlimit", f"--nofile={files[0]}:{files[1]}", sys.executable, "-m", "pathtap.collector"]
    argv += [f"--listen=127.0.0.1:{port}", f"--listen-agents=127.0.0.1:{agent_port}"]
    argv += [f"--tls-cert={directory / 'tls.crt'}", f"--tls-key={directory / 'tls.key'}", *source]
    with (directory / "collector.log").open("wb") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    running = Collector(
        directory=directory,
        authority=authority,
        port=port,
        agent_port=agent_port,
        certificate_port=0,
        process=process,
    )
    try:
        running.until(f"listening on 127.0.0.1:{agent_port}")
        yield running
    finally:
        process.terminate()
        process.wait(10)


def open_files(collector: Collector) -> int:
    return len(list(Path(f"/proc/{collector.process.pid}/fd").iterdir()))


def most_memory(collector: Collector) -> int:
    """The most that the process held in memory at any time so far, in bytes: VmHWM of proc(5)."""
    status = Path(f"/proc/{collector.process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) << 10


@contextmanager
def files_for(count: int) -> Iterator[int]:
    """Lets this process have so many files open, and some more, for a while; its hard limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert hard >= count + 512, f"these tests open {count} connections, and RLIMIT_NOFILE lets them have {hard} files"
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count + 512), hard))
    try:
        yield hard
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextmanager
def silent(port: int, count: int) -> Iterator[Sequence[socket.socket]]:
    """So many TCP connections, of eight addresses, that say nothing."""
    with ExitStack() as stack:
        yield [stack.enter_context(_dialled(port, number)) for number in range(count)]


@contextmanager
def speaking(collector: Collector, port: int, count: int, said: bytes) -> Iterator[Sequence[ssl.SSLSocket]]:
    """Those of so many whose TLS handshake the collector ended well. Each has then said that much."""
    context = client_context(collector)
    with ExitStack() as stack:
        met: list[ssl.SSLSocket] = []
        for first in range(0, count, AT_ONCE):
            wave = [stack.enter_context(_dialled(port, number)) for number in range(first, min(first + AT_ONCE, count))]
            flying = [stack.enter_context(each) for plain in wave if (each := _secure(context, plain)) is not None]
            deadline = time.monotonic() + 20
            while flying:
                assert time.monotonic() < deadline, "handshakes that do not end"
                outcomes = [(each, _shaken(each, said)) for each in flying]
                met += [each for each, done in outcomes if done]
                flying = [each for each, done in outcomes if done is None]
                time.sleep(0.001)
        yield met


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Of HTTP/2, RFC 9113 section 4.1."""
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def headers(stream: int, path: str) -> bytes:
    """A HEADERS frame that begins a call of gRPC and does not end it, each field as a literal (RFC 7541 section 6.2.2)."""
    fields = {
        ":method": "POST",
        ":scheme": "https",
        ":path": path,
        ":authority": SERVER_NAME,
        "te": "trailers",
        "content-type": "application/grpc",
    }
    literal = [b"\0" + bytes((len(text),)) + text.encode() for pair in fields.items() for text in pair]
    block = b"".join(part if number % 2 == 0 else part[1:] for number, part in enumerate(literal))
    return frame(1, 4, stream, block)


def still_open(strangers: Sequence[socket.socket]) -> int:
    """How many of them the collector has not closed. What it said is read, and forgotten."""
    return sum(map(_is_open, strangers))


def client_context(collector: Collector) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(collector.directory / "ca.crt"))
    context.set_alpn_protocols(["h2"])
    return context


def _dialled(port: int, number: int) -> socket.socket:
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    made.bind((f"127.0.0.{2 + number % 8}", 0))
    made.settimeout(5)
    made.connect(("127.0.0.1", port))
    made.setblocking(False)
    return made


def _secure(context: ssl.SSLContext, plain: socket.socket) -> ssl.SSLSocket | None:
    """None where it was closed already."""
    try:
        return context.wrap_socket(plain, server_hostname=SERVER_NAME, do_handshake_on_connect=False)
    except OSError:
        return None


def _shaken(stranger: ssl.SSLSocket, said: bytes) -> bool | None:
    """None while it is not decided."""
    try:
        stranger.do_handshake()
        if said:
            stranger.send(said)
    except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
        return None
    except OSError:
        return False
    return True


def _is_open(stranger: socket.socket) -> bool:
    try:
        while stranger.recv(4096):
            pass
    except (BlockingIOError, ssl.SSLWantReadError):
        return True
    except OSError:
        return False
    return False
