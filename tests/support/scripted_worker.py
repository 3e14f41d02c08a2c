"""A worker process on a node of no kernel, which does as its commands say.

A capture delivers `limit` packets as fast as it can, or until it is ended, and then says how many they were. A probe lasts
`timeout`, a snapshot holds `MiB` times 1 MiB where MiB is the last byte of the address of a pod to look into, a survey
gives the process id as what it left off.
"""

import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from agent_stage import NODE, SmallNode, seen

from pathtap.agent import worker_process
from pathtap.agent.delivery import Deliver, Packets
from pathtap.model.node import NodeSnapshot
from pathtap.model.request import (
    CaptureArmed,
    CaptureEnded,
    CaptureRequest,
    CaptureStats,
    ProbeOutcome,
    ProbeReport,
    ProbeRequest,
    ReadSnapshot,
)
from pathtap.model.rows import PacketRows, row_of
from pathtap.model.survey import SurveyReport, SurveyRequest

BLOCK = 1000
_MIB = 1 << 20


class Flood:
    """As many packets as one thread can deliver, in blocks."""

    def __init__(self, request: CaptureRequest, deliver: Deliver) -> None:
        self.armed = CaptureArmed(id=request.id, interfaces=("eth0",))
        row = row_of(seen(request.id, 1), 0)
        self._rows = PacketRows(node=NODE, capture=request.id, interfaces=("eth0",), rows=row * BLOCK)
        self._left = request.limit // BLOCK
        self._count = 0
        self._stop = threading.Event()
        self._deliver = deliver
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while self._left and not self._stop.is_set():
            # Memory of its own, as each block of a real capture has.
            block = replace(self._rows, rows=bytes(bytearray(self._rows.rows)))
            self._deliver(Packets(rows=(block,)))
            self._left, self._count = self._left - 1, self._count + BLOCK

    def end(self) -> CaptureEnded:
        self._stop.set()
        self._thread.join()
        stats = CaptureStats(interface="eth0", received=self._count, dropped=0)
        return CaptureEnded(id=self.armed.id, stats=(stats,))


class ScriptedNode(SmallNode):
    def open_capture(self, request: CaptureRequest, deliver: Deliver) -> Flood:  # type: ignore[override]
        return Flood(request, deliver)

    def send_probe(self, request: ProbeRequest) -> tuple[ProbeReport, ...]:
        time.sleep(request.timeout)
        return (ProbeReport(outcome=ProbeOutcome.SILENT),)

    def read_snapshot(self, request: ReadSnapshot) -> NodeSnapshot:
        size = sum(address.packed[-1] for address in request.interiors) * _MIB
        return replace(super().read_snapshot(request), sysctls={"x": "x" * size})

    def survey(self, request: SurveyRequest, over: Callable[[], bool]) -> SurveyReport:
        del over
        return SurveyReport(left_off=os.getpid())


if __name__ == "__main__":
    worker_process.run(worker_process.read_options(), ScriptedNode())
