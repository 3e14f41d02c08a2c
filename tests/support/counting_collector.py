"""A collector process that arms one capture, and ends it: ADDRESS PACKETS SECONDS PAUSE.

It says `armed PID`, with the worker's, and at last what came, in JSON: packets, losses by where, and how many the
capture says that there were. It waits PAUSE seconds after each message that it reads.
"""

import asyncio
import json
import sys
from typing import Any

import grpc
from agent_stage import HERE, NODE

from pathtap import wire
from pathtap.model.request import CaptureEnded, CaptureRequest, EndCapture
from pathtap.model.rows import ROW
from pathtap.model.survey import SurveyReport, SurveyRequest
from pathtap.v1 import agent_pb2 as pb
from pathtap.v1.agent_pb2_grpc import IntakeServiceServicer, add_IntakeServiceServicer_to_server


class Counting(IntakeServiceServicer):
    def __init__(self, packets: int, seconds: float, pause: float) -> None:
        self._packets, self._seconds, self._pause = packets, seconds, pause
        self._lost: dict[str, int] = {}
        self._count = 0
        self.done = asyncio.Event()

    async def Connect(self, request_iterator: Any, context: Any) -> None:  # type: ignore[override]  # noqa: N802
        await context.write(wire.command_to_wire(1, SurveyRequest(sources=(HERE,))))
        arm = CaptureRequest(id="a", protocol=0, near=(HERE,), limit=self._packets)
        await context.write(wire.command_to_wire(2, arm))
        ending = asyncio.get_running_loop().call_later(self._seconds, self._end, context)
        async for message in request_iterator:
            self._take(message)
            if self.done.is_set():
                break
            await asyncio.sleep(self._pause)
        ending.cancel()

    def _end(self, context: Any) -> None:
        self._ending = asyncio.ensure_future(context.write(wire.command_to_wire(3, EndCapture(id="a"))))

    def _take(self, message: pb.ConnectRequest) -> None:
        self._count += sum(len(part.rows) // ROW.size for part in message.batch.rows)
        for loss in message.batch.lost:
            self._lost[loss.where] = self._lost.get(loss.where, 0) + loss.count
        answer = wire.answer_from_wire(message.answer, NODE) if message.HasField("answer") else None
        if isinstance(answer, SurveyReport):
            say(f"armed {answer.left_off}")
        if isinstance(answer, CaptureEnded):
            received = sum(each.received for each in answer.stats)
            say(json.dumps({"packets": self._count, "lost": self._lost, "received": received}))
            self.done.set()


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def main(address: str, packets: int, seconds: float, pause: float) -> None:
    counting, server = Counting(packets, seconds, pause), grpc.aio.server()
    add_IntakeServiceServicer_to_server(counting, server)
    server.add_insecure_port(address)
    await server.start()
    await counting.done.wait()
    await server.stop(0)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4])))
