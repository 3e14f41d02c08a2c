"""What a fault changes, as values: each kind carries its own inverse. Pure; `pathtap.lab.breaking` carries them out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any, TypeAlias

from pathtap.model.address import Address


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandChange:
    """Two commands inside a network namespace, each the other's inverse; an empty one does nothing.

    `broken_input` and `healed_input` are what they read from standard input.
    """

    namespace: str
    broken: tuple[str, ...] = ()
    healed: tuple[str, ...] = ()
    broken_input: str = ""
    healed_input: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SysctlChange:
    """`path` below /proc/sys."""

    namespace: str
    path: str
    broken: str
    healed: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessChange:
    """A program that runs while the fault is in force: `python -m arguments`, which prints a byte once it is ready.

    It must end by itself, too: nobody may be there to heal the lab.
    """

    namespace: str
    arguments: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FullConntrackChange:
    """The namespace's connection tracking table holds as many entries as the kernel allows."""

    namespace: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgottenFlowChange:
    """No entry of this flow, before the fault and after it. The tuple is one direction of it, either of the two."""

    namespace: str
    protocol: int
    source: IPv4Address
    source_port: int
    destination: IPv4Address
    destination_port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierChange:
    """`made` comes about while `meanwhile` holds, and outlives it: what is older than the present configuration."""

    meanwhile: CommandChange
    made: ProcessChange


@dataclass(frozen=True, slots=True, kw_only=True)
class InventoryChange:
    """The inventory file says something else: `edit` takes the List of Kubernetes objects and gives another."""

    edit: Callable[[dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsChange:
    """ipamd tells other settings than the lab was built with, on every node, by the names of the CNI's variables."""

    values: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerChange:
    """Nothing listens on TCP `port` of the pod any more."""

    namespace: str
    address: Address
    port: int


Change: TypeAlias = (
    CommandChange
    | SysctlChange
    | ProcessChange
    | FullConntrackChange
    | ForgottenFlowChange
    | EarlierChange
    | InventoryChange
    | SettingsChange
    | ListenerChange
)
