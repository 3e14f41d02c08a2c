"""Who stands behind a service: EndpointSlices (discovery.k8s.io v1 and v1beta1) and, of servers without them, Endpoints (v1).

Pure. Knows no services, only their names.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pathtap.collector.cluster.api_object import (
    ApiObject,
    Path,
    address_of,
    listed,
    mapping,
    mappings,
    port_number,
    protocol_of,
)
from pathtap.model.address import Address
from pathtap.model.inventory import Backend

SERVICE_LABEL = "kubernetes.io/service-name"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """One object's. `key` is its own `namespace/name`, `service` the key of whom it is for: empty where it is for none.

    `serving` are those that still serve while they end: where no endpoint of a service is ready, kube-proxy takes them
    (ProxyTerminatingEndpoints, since Kubernetes 1.26).
    """

    key: str
    service: str
    ready: tuple[Backend, ...] = ()
    serving: tuple[Backend, ...] = ()


def backends_by_service(several: Iterable[Endpoints]) -> dict[str, tuple[Backend, ...]]:
    gathered: dict[str, list[Endpoints]] = {}
    for each in several:
        gathered.setdefault(each.service, []).append(each)
    return {service: backends_of(objects) for service, objects in gathered.items()}


def backends_of(objects: Iterable[Endpoints]) -> tuple[Backend, ...]:
    """Of one service's objects, in the order of their names. While slices are rearranged an endpoint may be in two of them."""
    ordered = sorted(objects, key=lambda each: each.key)
    ready = dict.fromkeys(backend for each in ordered for backend in each.ready)
    return tuple(ready or dict.fromkeys(backend for each in ordered for backend in each.serving))


def slice_of(item: ApiObject) -> Endpoints:
    """An EndpointSlice of either version. Of those with names for addresses (FQDN) kube-proxy makes nothing, nor does this."""
    labels = mapping(item.metadata.get("labels"), (*item.path, "metadata", "labels"))
    name = labels.get(SERVICE_LABEL)
    service = f"{item.namespace}/{name}" if name else ""
    if item.text("addressType") not in ("IPv4", "IPv6"):
        return Endpoints(key=item.key, service=service)
    ports = list(item.list_of("ports"))
    ready: list[Backend] = []
    serving: list[Backend] = []
    path = (*item.path, "endpoints")
    for endpoint in item.list_of("endpoints"):
        addresses = [address_of(text, path) for text in listed(endpoint.get("addresses"), (*path, "addresses"))]
        conditions = mapping(endpoint.get("conditions"), (*path, "conditions"))
        # A condition that is not said counts as true of `ready`, as false of `terminating` (discovery/v1, EndpointConditions).
        if conditions.get("ready") is not False:
            ready += _backends(addresses, ports, item.path)
        elif conditions.get("serving") is True and conditions.get("terminating") is True:
            serving += _backends(addresses, ports, item.path)
    return Endpoints(key=item.key, service=service, ready=tuple(ready), serving=tuple(serving))


def endpoints_of(item: ApiObject) -> Endpoints:
    """An Endpoints object: ready addresses alone; without subsets it has none."""
    path = (*item.path, "subsets")
    ready: list[Backend] = []
    for subset in item.list_of("subsets"):
        ports = list(mappings(subset.get("ports"), (*path, "ports")))
        entries = mappings(subset.get("addresses"), (*path, "addresses"))
        ready += _backends([address_of(entry.get("ip"), path) for entry in entries], ports, path)
    return Endpoints(key=item.key, service=item.key, ready=tuple(ready))


def _backends(addresses: Iterable[Address], ports: Iterable[Mapping[str, Any]], path: Path) -> Iterator[Backend]:
    """A slice's port without a number means every port of a headless service, which nobody translates to."""
    numbered = [port for port in ports if port.get("port") is not None]
    return (
        Backend(
            port_name=str(port.get("name") or ""),
            protocol=protocol_of(port.get("protocol"), path),
            address=address,
            port=port_number(port["port"], path),
        )
        for address in addresses
        for port in numbered
    )
