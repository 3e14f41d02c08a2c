"""The node as its kernel shows it: every command's real work, imported when first asked for. Decides nothing.

Readers, capture and probe bring pyroute2, scapy and iptc with them, tens of megabytes that an idle agent does without.
"""

import os
import threading
import time
from typing import TYPE_CHECKING

from pathtap.agent.captures import Capture
from pathtap.agent.performer import Deliver
from pathtap.model.node import Interface, NodeSnapshot
from pathtap.model.request import CaptureRequest, LookupReport, LookupRequest, ProbeReport, ProbeRequest

if TYPE_CHECKING:
    from pathtap.agent.snapshot import SnapshotReader

# A trace reads the snapshot and then arms: the interfaces need not be read twice.
FRESH = 2_000_000_000


class KernelNode:
    """Reads the network namespace that the process runs in."""

    def __init__(self, name: str, boot_id: str) -> None:
        self._name = name
        self._boot_id = boot_id
        self._reading = threading.Lock()
        self._reader: SnapshotReader | None = None
        self._latest: NodeSnapshot | None = None

    def kernel_release(self) -> str:
        """As `uname -r` prints it."""
        return os.uname().release

    def read_snapshot(self) -> NodeSnapshot:
        """One at a time: two readers of the same tables would only hold each other up."""
        from pathtap.agent.snapshot import SnapshotReader

        with self._reading:
            self._reader = self._reader or SnapshotReader(self._name, self._boot_id)
            self._latest = self._reader.read(time.time_ns())
            return self._latest

    def look_up(self, request: LookupRequest) -> LookupReport:
        from pathtap.agent.lookup import look_up

        return look_up(self._name, request)

    def send_probe(self, request: ProbeRequest) -> tuple[ProbeReport, ...]:
        from pathtap.agent.probe import send_probe

        return send_probe(request, time.time_ns)

    def open_capture(self, request: CaptureRequest, deliver: Deliver) -> Capture:
        """On every ENI and the veths of the request's pods. Raises ValueError where no filter can be made of it."""
        from pathtap.agent.capture import choose_interfaces, open_capture

        return open_capture(self._name, request, choose_interfaces(self._interfaces(), request), deliver)

    def _interfaces(self) -> tuple[Interface, ...]:
        latest = self._latest
        if latest is None or time.time_ns() - latest.taken_at > FRESH:
            latest = self.read_snapshot()
        return latest.interfaces
