"""The inventory as a file: reads it, says which line is wrong, and reads it again when it has changed."""

import json
import logging
from dataclasses import replace
from pathlib import Path

import yaml

from pathtap.collector.cluster.api_object import InventoryError
from pathtap.collector.cluster.inventory import Inventory, Staleness
from pathtap.collector.cluster.kube_objects import decode

log = logging.getLogger(__name__)


class InventoryFileError(Exception):
    """A sentence that names the file, the line and the reason."""


def read(path: Path) -> Inventory:
    """Reads JSON or YAML. Raises InventoryFileError."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InventoryFileError(f"cannot read the inventory {path}: {_reason(error)}") from error
    document = _parse(path, text)
    try:
        return decode(document)
    except InventoryError as error:
        raise InventoryFileError(f"{path}, line {_line_of(text, error.path)}: {error.reason}") from error


class InventoryFile:
    """Gives the present inventory. Of a file that became unreadable the last good one stays, as stale; the log says so."""

    def __init__(self, path: Path) -> None:
        self._path = path
        # The stamp first: what is written while it is read is read again.
        self._stamp = self._stat()
        self._written_at = self._stamp[0] if self._stamp else 0
        self._inventory = read(path)

    def current(self) -> Inventory:
        stamp = self._stat()
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self._inventory = read(self._path)
                self._written_at = stamp[0] if stamp else 0
                log.info(
                    "read the inventory again: %s pods, %s nodes", len(self._inventory.pods), len(self._inventory.nodes)
                )
            except InventoryFileError as error:
                stale = Staleness(since=self._written_at, why=str(error))
                self._inventory = replace(self._inventory, stale=stale)
                log.warning("%s; the former inventory stays in use", error)
        return self._inventory

    def _stat(self) -> tuple[int, int, int] | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino


def _parse(path: Path, text: str) -> object:
    try:
        if text.lstrip().startswith(("{", "[")):
            return json.loads(text)
        return yaml.safe_load(text)
    except json.JSONDecodeError as error:
        raise InventoryFileError(f"{path}, line {error.lineno}: {error.msg}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        raise InventoryFileError(f"{path}, line {line}: {getattr(error, 'problem', None) or error}") from error
    except (ValueError, RecursionError) as error:
        # A date that is none (YAML reads dates), or braces without end.
        raise InventoryFileError(f"{path}: {error}") from error


def _line_of(text: str, path: tuple[str | int, ...]) -> int:
    """The line where `path` begins, found by YAML's own marks (JSON is YAML); the nearest parent where it is absent."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError:
        return 1
    line = 1
    for step in path:
        if isinstance(node, yaml.MappingNode):
            node = next((value for key, value in node.value if key.value == step), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int):
            node = node.value[step]
        else:
            break
        if node is None:
            break
        line = node.start_mark.line + 1
    return line


def _reason(error: OSError | UnicodeDecodeError) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else "it is not UTF-8 text"
