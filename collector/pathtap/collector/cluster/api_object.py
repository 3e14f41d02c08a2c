"""One object as the Kubernetes API prints it: each field is checked as it is read, and what is malformed is named by its path.

Knows how the API writes addresses, ports and lists; knows no kind.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from ipaddress import ip_address
from typing import Any, TypeAlias

from pathtap.model.address import Address, Protocol

Path: TypeAlias = tuple[str | int, ...]
# IANA numbers; SCTP is one that pathtap names but does not trace.
PROTOCOLS = {"TCP": int(Protocol.TCP), "UDP": int(Protocol.UDP), "SCTP": 132}


class InventoryError(ValueError):
    """An item that is not what the API prints. `path` leads to it: ("items", 3, "metadata", "name")."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(reason)
        self.path = path
        self.reason = reason


class ApiObject:
    """One API object: its kind and metadata are sound, its fields are checked as they are read."""

    def __init__(self, item: object, path: Path, kind: str = "") -> None:
        """`kind` is that of the list it was in: there the API leaves it out of the items."""
        if not isinstance(item, Mapping) or not isinstance(item.get("kind") or kind or None, str):
            raise InventoryError(path, "an object without a `kind`")
        self.kind: str = item.get("kind") or kind
        self.path = path
        self._item = item
        metadata = item.get("metadata")
        if not isinstance(metadata, Mapping) or not isinstance(metadata.get("name"), str):
            raise InventoryError(path, f"a {self.kind} without metadata.name")
        self.metadata: Mapping[str, Any] = metadata
        self.name: str = metadata["name"]

    @property
    def namespace(self) -> str:
        namespace = self.metadata.get("namespace")
        if not isinstance(namespace, str):
            raise InventoryError((*self.path, "metadata"), f"{self.kind} {self.name} has no namespace")
        return namespace

    @property
    def key(self) -> str:
        """`namespace/name`, or the name of what is in no namespace."""
        return f"{self.namespace}/{self.name}" if "namespace" in self.metadata else self.name

    def text(self, name: str) -> str:
        """A field of the object's own; empty where there is none."""
        return str(self._item.get(name) or "")

    def part(self, name: str) -> Mapping[str, Any]:
        """`spec` or `status`; empty where there is none."""
        return mapping(self._item.get(name), (*self.path, name))

    def list_of(self, name: str) -> Iterator[Mapping[str, Any]]:
        return mappings(self._item.get(name), (*self.path, name))


def mapping(value: object, path: Path) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InventoryError(path, f"`{path[-1]}` is no object")
    return value


def listed(value: object, path: Path) -> Sequence[object]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise InventoryError(path, f"`{path[-1]}` is no list")
    return value


def mappings(value: object, path: Path) -> Iterator[Mapping[str, Any]]:
    for at, item in enumerate(listed(value, path)):
        if not isinstance(item, Mapping):
            raise InventoryError((*path, at), f"an entry of `{path[-1]}` is no object")
        yield item


def port_number(value: object, path: Path) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 65_535:
        raise InventoryError(path, f"{value!r} is no port number")
    return value


def protocol_of(name: object, path: Path) -> int:
    known = PROTOCOLS.get(str(name or "TCP"))
    if known is None:
        raise InventoryError(path, f"{name!r} is no protocol of a service port")
    return known


def address_of(text: object, path: Path) -> Address:
    try:
        return ip_address(str(text))
    except ValueError:
        raise InventoryError(path, f"{text!r} is no IP address") from None


def seconds_of(text: object, path: Path) -> int:
    """Of a time as the API writes it (RFC 3339), since 1970; 0 where there is none."""
    if not text:
        return 0
    try:
        # YAML reads an unquoted time as one.
        time = text if isinstance(text, datetime) else datetime.fromisoformat(str(text))
        return int(time.timestamp())
    except (ValueError, OverflowError):
        raise InventoryError(path, f"{text!r} is no time") from None


def addresses_of(texts: Iterable[object], path: Path) -> tuple[Address, ...]:
    """Each once, in their order; `None` is what a headless service has."""
    return tuple(dict.fromkeys(address_of(text, path) for text in texts if text not in (None, "", "None")))
