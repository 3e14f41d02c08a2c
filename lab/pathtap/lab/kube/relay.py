"""The way from the machine to the control plane: `python -m pathtap.lab.kube.relay NAMESPACE ADDRESS PORT LISTEN`.

Takes connections on 127.0.0.1:LISTEN and carries their bytes to ADDRESS:PORT inside the network namespace. Nothing of the
machine is changed for it: no link, no route, no address. Writes one byte to standard output once it listens.
"""

import asyncio
import os
import socket
import sys
from contextlib import suppress

from pathtap.lab.kernel import inside

_CHUNK = 65_536
_CONNECT_SECONDS = 10.0


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until one side has said all; the other end is told so."""
    with suppress(OSError):
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
    with suppress(OSError, RuntimeError):
        writer.write_eof()


async def _relay(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, namespace: str, there: tuple[str, int]
) -> None:
    try:
        made = inside(namespace, lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        made.setblocking(False)
        async with asyncio.timeout(_CONNECT_SECONDS):
            await asyncio.get_running_loop().sock_connect(made, there)
        far_reader, far_writer = await asyncio.open_connection(sock=made)
    except (OSError, TimeoutError):
        writer.close()
        return
    try:
        async with asyncio.TaskGroup() as both:
            both.create_task(_carry(reader, far_writer))
            both.create_task(_carry(far_reader, writer))
    finally:
        writer.close()
        far_writer.close()


async def _serve(namespace: str, address: str, port: int, listen: int) -> None:
    server = await asyncio.start_server(
        lambda reader, writer: _relay(reader, writer, namespace, (address, port)), "127.0.0.1", listen
    )
    os.write(sys.stdout.fileno(), b"\n")
    sys.stdout.close()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
