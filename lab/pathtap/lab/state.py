"""What a lab keeps on disk below /run/pathtap, and the lock that lets one command at a time change a lab.

Knows paths and their contents; starts and ends nothing.
"""

import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TextIO

from pathtap.lab.errors import LabError
from pathtap.lab.options import LabOptions, check_prefix

RUN = Path("/run/pathtap")
# The command line falls back to this address, so that the default lab is found without any option.
DEFAULT_SOCKET = RUN / "collector.sock"
_LOCK_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LabState:
    """The options say what the lab is; `faults` are the names of those in force, in the order of their making."""

    options: LabOptions
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StateDirectory:
    """Where the lab `prefix` keeps its files. LabError where that is no prefix."""

    prefix: str

    def __post_init__(self) -> None:
        check_prefix(self.prefix)

    @property
    def path(self) -> Path:
        return RUN / self.prefix

    @property
    def socket(self) -> Path:
        return DEFAULT_SOCKET if self.prefix == LabOptions().prefix else self.path / "collector.sock"

    @property
    def inventory(self) -> Path:
        return self.path / "inventory.json"

    @property
    def settings(self) -> Path:
        """Where settings of the CNI stand that ipamd is to tell in place of its own; normally there is no such file."""
        return self.path / "settings.json"

    def overridden_settings(self) -> dict[str, object]:
        """Environment variable → value as ipamd prints it, for every node of the lab."""
        try:
            found: dict[str, object] = json.loads(self.settings.read_text())
        except FileNotFoundError:
            return {}
        return found

    @property
    def closed(self) -> Path:
        """What is not to listen: pairs of a network namespace and a TCP port; normally there is no such file."""
        return self.path / "closed.json"

    def closed_listeners(self) -> frozenset[tuple[str, int]]:
        try:
            found = json.loads(self.closed.read_text())
        except FileNotFoundError:
            return frozenset()
        return frozenset((namespace, port) for namespace, port in found)

    def cni_config(self, node: str) -> Path:
        """The directory that would be the node's /etc/cni/net.d."""
        return self.path / "cni" / node

    @property
    def kube(self) -> Path:
        """Of a real Kubernetes; there where the lab has one."""
        return self.path / "kube"

    def kube_node(self, node: str) -> Path:
        """What a node of it shares with the machine: its kubeconfigs, its logs, which pod has which address."""
        return self.kube / "nodes" / node

    def log(self, process: str) -> Path:
        return self.path / f"{process}.log"

    def exists(self) -> bool:
        return self._file.exists()

    @property
    def _file(self) -> Path:
        return self.path / "state.json"

    def save(self, state: LabState) -> None:
        self.write(self._file, asdict(state))

    def write(self, path: Path, content: object) -> None:
        """`content` as JSON, whole or not at all."""
        part = path.with_suffix(".part")
        part.write_text(json.dumps(content, indent=1) + "\n")
        part.replace(path)

    def load(self) -> LabState:
        """LabError where no lab of this prefix is, or where what it left is not readable."""
        try:
            found = json.loads(self._file.read_text())
            return LabState(options=LabOptions(**found["options"]), faults=tuple(found["faults"]))
        except FileNotFoundError:
            raise LabError(
                f"No lab named {self.prefix} is up: build it with `{command_line('up', self.prefix)}`."
            ) from None
        except (OSError, ValueError, TypeError, KeyError) as error:
            down = command_line("down", self.prefix)
            raise LabError(f"{self._file} cannot be read ({error}): remove the lab with `{down}`.") from error

    def set_faults(self, faults: tuple[str, ...]) -> None:
        self.save(replace(self.load(), faults=faults))

    def remove(self) -> None:
        # The default lab's socket is everybody's default address: without a lab it is another collector's.
        if self.exists():
            self.socket.unlink(missing_ok=True)
        shutil.rmtree(self.path, ignore_errors=True)
        with suppress(OSError):
            RUN.rmdir()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the lab for one command; the kernel lets go when that command dies, however it dies.

        Where there is no lab afterwards, the lock file does not stay behind.
        """
        deadline = time.monotonic() + _LOCK_SECONDS
        while (lock := self._try_lock()) is None:
            if time.monotonic() > deadline:
                raise LabError(f"Another command is at work on the lab {self.prefix}: wait for it, or end it.")
            time.sleep(0.05)
        with lock:
            try:
                yield
            finally:
                self._drop(lock)

    def _drop(self, lock: TextIO) -> None:
        # After `down` another command may have made the directory and its lock anew: those are not ours to remove.
        if self.exists() or not self._is_lock(lock):
            return
        self._lock_file.unlink(missing_ok=True)
        for directory in (self.path, RUN):
            with suppress(OSError):
                directory.rmdir()

    @property
    def _lock_file(self) -> Path:
        return self.path / "lock"

    def _is_lock(self, lock: TextIO) -> bool:
        """Whether what was opened is still the file of that name."""
        try:
            return os.fstat(lock.fileno()).st_ino == self._lock_file.stat().st_ino
        except FileNotFoundError:
            return False

    def _try_lock(self) -> TextIO | None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = self._lock_file.open("w")
        except FileNotFoundError:
            return None
        with suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # `down` removes the file that it holds: what was opened may be gone by now.
            if self._is_lock(lock):
                return lock
        lock.close()
        return None


def command_line(verb: str, prefix: str) -> str:
    """What a person types to do `verb` to this lab."""
    option = "" if prefix == LabOptions().prefix else f" --prefix {prefix}"
    return f"pathtap lab {verb}{option}"
