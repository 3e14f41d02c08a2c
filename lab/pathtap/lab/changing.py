"""Carries out the changes that faults are made of, and takes them back. Knows every kind of change and no fault by its name."""

import os
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pathtap.lab import conntrack_table
from pathtap.lab.errors import LabError
from pathtap.lab.faults.changes import (
    Change,
    CommandChange,
    EarlierChange,
    ForgottenFlowChange,
    FullConntrackChange,
    InventoryChange,
    ListenerChange,
    ProcessChange,
    SettingsChange,
    SysctlChange,
)
from pathtap.lab.healing import heal
from pathtap.lab.inventory import inventory
from pathtap.lab.kernel import command_inside, inside, write_sysctls
from pathtap.lab.processes import FAULT, LISTENERS, end_role, start_ready
from pathtap.lab.procfs import roles
from pathtap.lab.state import StateDirectory
from pathtap.lab.topology import Cluster

_LISTEN_SECONDS = 5.0
_POLL_SECONDS = 0.01
# As /proc/net/tcp prints the state TCP_LISTEN.
_LISTENING = "0A"


@dataclass(frozen=True, slots=True, kw_only=True)
class Changing:
    """The changes of the fault `fault` in the lab whose files are in `directory`."""

    directory: StateDirectory
    fault: str

    def make(self, change: Change, *, broken: bool) -> tuple[str, ...]:
        """LabError where it cannot be done. What is told by files is `write_documents`' part.

        Of what is taken back the commands whose work somebody had done before; else nothing.
        """
        match change:
            case CommandChange() if not broken:
                return heal(change)
            case CommandChange():
                if change.broken:
                    command_inside(change.namespace, change.broken, stdin=change.broken_input)
            case SysctlChange():
                write_sysctls(change.namespace, {change.path: change.broken if broken else change.healed})
            case ProcessChange():
                self._process(change, broken=broken)
            case FullConntrackChange():
                inside(change.namespace, conntrack_table.fill if broken else conntrack_table.drain)
            case ForgottenFlowChange():
                _forget(change)
            case EarlierChange():
                self._earlier(change, broken=broken)
            case InventoryChange() | SettingsChange() | ListenerChange():
                pass
        return ()

    def _process(self, change: ProcessChange, *, broken: bool) -> None:
        role = FAULT + self.fault
        if not broken:
            end_role(self.directory.prefix, role)
            return
        try:
            start_ready(self.directory, role, ["-m", *change.arguments], namespace=change.namespace)
        except BaseException:
            end_role(self.directory.prefix, role)
            raise

    def _earlier(self, change: EarlierChange, *, broken: bool) -> None:
        if not broken:
            self.make(change.made, broken=False)
            return
        self.make(change.meanwhile, broken=True)
        try:
            self.make(change.made, broken=True)
        finally:
            self.make(change.meanwhile, broken=False)


def _forget(change: ForgottenFlowChange) -> None:
    source, destination = (change.source, change.source_port), (change.destination, change.destination_port)
    inside(change.namespace, lambda: conntrack_table.forget(change.protocol, source, destination))


def write_documents(directory: StateDirectory, cluster: Cluster, changes: Iterable[Change]) -> None:
    """What the lab tells by files, with all `changes` that are in force: inventory, ipamd's settings, what listens.

    Each file is made anew of the cluster, so that any one of several faults can end first.
    """
    document: dict[str, Any] = inventory(cluster)
    settings: dict[str, object] = {}
    closed: list[ListenerChange] = []
    for change in changes:
        match change:
            case InventoryChange():
                document = change.edit(document)
            case SettingsChange():
                settings |= change.values
            case ListenerChange():
                closed.append(change)
            case _:
                pass
    directory.write(directory.inventory, document)
    _write_or_remove(directory, directory.settings, settings)
    _write_or_remove(directory, directory.closed, [(each.namespace, each.port) for each in closed])


def _write_or_remove(directory: StateDirectory, path: Path, content: dict[str, object] | list[tuple[str, int]]) -> None:
    if content:
        directory.write(path, content)
    else:
        path.unlink(missing_ok=True)


def settle_listeners(directory: StateDirectory, changes: Iterable[Change], *, broken: bool) -> None:
    """Has the lab's listeners read their file again, and waits until it is so. LabError where it does not become so."""
    concerned = [change for change in changes if isinstance(change, ListenerChange)]
    if not concerned:
        return
    pid = roles(directory.prefix).get(LISTENERS)
    if pid is None:
        raise LabError(f"The lab {directory.prefix} has no listeners any more: take it down and build it again.")
    os.kill(pid, signal.SIGHUP)
    deadline = time.monotonic() + _LISTEN_SECONDS
    for change in concerned:
        while _listens(change) == broken:
            if time.monotonic() > deadline:
                raise LabError(
                    f"What listens on {change.address}:{change.port} did not follow within {_LISTEN_SECONDS} s."
                )
            time.sleep(_POLL_SECONDS)


def _listens(change: ListenerChange) -> bool:
    table = inside(change.namespace, Path("/proc/thread-self/net/tcp").read_text)
    entries = [line.split() for line in table.splitlines()[1:]]
    return any(entry[1].endswith(f":{change.port:04X}") and entry[3] == _LISTENING for entry in entries)
