"""The node as its kernel shows it: every command's real work, imported when first asked for. Decides nothing.

Readers, capture and probe bring pyroute2, scapy and iptc with them, tens of megabytes and tenths of a second each.
"""

import time
from collections.abc import Callable
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from pathtap.agent.captures import Capture
from pathtap.agent.delivery import Deliver
from pathtap.agent.shares import Shares
from pathtap.model.node import NodeSnapshot
from pathtap.model.request import (
    CaptureRequest,
    ConnectionsReport,
    LookupReport,
    LookupRequest,
    OpenConnections,
    ProbeReport,
    ProbeRequest,
    ReadSnapshot,
)
from pathtap.model.survey import SurveyReport, SurveyRequest

if TYPE_CHECKING:
    from pathtap.agent.snapshot import SnapshotReader


class KernelNode:
    """Reads the network namespace that the process runs in. `cni_config` is as in Settings."""

    def __init__(self, name: str, boot_id: str, cni_config: Path | None = None) -> None:
        self._name = name
        self._boot_id = boot_id
        self._cni_config = cni_config
        self._shares = Shares()

    @staticmethod
    def prepare() -> None:
        """Imports what a trace asks for next while it waits for its first answer. Scapy and numpy take tenths of a second."""
        for name in ("snapshot", "capture", "probe", "lookup"):
            import_module(f"pathtap.agent.{name}")
        import_module("pathtap.agent.scapy_parts").prepare()

    def read_snapshot(self, request: ReadSnapshot) -> NodeSnapshot:
        return self._reader.read(time.time_ns(), request.interiors)

    def look_up(self, request: LookupRequest) -> LookupReport:
        from pathtap.agent.lookup import look_up

        return look_up(self._name, request)

    def send_probe(self, request: ProbeRequest) -> tuple[ProbeReport, ...]:
        from pathtap.agent.probe import send_probe

        return send_probe(request, time.time_ns)

    def open_connections(self, request: OpenConnections, over: Callable[[], bool]) -> ConnectionsReport:
        """Raises ValueError for more than may be opened, CommandError where too much is asked for at once."""
        from pathtap.agent.connections import open_connections

        with self._shares.seat():
            return open_connections(self._name, request, self._shares, over)

    def survey(self, request: SurveyRequest, over: Callable[[], bool]) -> SurveyReport:
        """Raises CommandError where too much is asked for at once."""
        from pathtap.agent.survey import survey

        with self._shares.seat():
            return survey(self._name, request, over)

    def open_capture(self, request: CaptureRequest, deliver: Deliver) -> Capture:
        """On every ENI and the veths of the request's pods. Raises ValueError where no filter can be made of it."""
        from pathtap.agent.capture import choose_interfaces, open_capture

        interfaces = self._reader.interfaces(time.time_ns())
        return open_capture(self._name, request, choose_interfaces(interfaces, request), deliver)

    @cached_property
    def _reader(self) -> "SnapshotReader":
        from pathtap.agent.snapshot import SnapshotReader

        return SnapshotReader(self._name, self._boot_id, self._cni_config)
