"""Pods, nodes and services as the cluster's API describes them."""

from dataclasses import dataclass

from pathtap.model.address import Address


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """`phase` is the API's: Pending, Running, Succeeded, Failed, Unknown. `deleting` once it has a deletionTimestamp.

    `ready` is None where its condition is not said. `started_at` is seconds since 1970: when a kubelet took it up, or else when
    it was made; 0 unknown. `workloads` are what made it, `kind/name` of its own namespace: `deployment/cart`, `daemonset/proxy`.
    """

    namespace: str
    name: str
    uid: str
    node: str
    phase: str
    addresses: tuple[Address, ...] = ()
    host_network: bool = False
    deleting: bool = False
    ready: bool | None = None
    started_at: int = 0
    workloads: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    name: str
    addresses: tuple[Address, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicePort:
    name: str
    protocol: int
    port: int
    node_port: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """One ready endpoint of one service port."""

    port_name: str
    protocol: int
    address: Address
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """`cluster_addresses` is empty for a headless service."""

    namespace: str
    name: str
    cluster_addresses: tuple[Address, ...] = ()
    ports: tuple[ServicePort, ...] = ()
    backends: tuple[Backend, ...] = ()

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"
