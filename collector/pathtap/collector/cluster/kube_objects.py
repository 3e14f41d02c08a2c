"""Decodes what the Kubernetes API prints (core/v1) into an inventory. Reads no file; guesses at nothing that is malformed."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from pathtap.collector.cluster.api_object import (
    ApiObject,
    InventoryError,
    Path,
    addresses_of,
    listed,
    mapping,
    mappings,
    port_number,
    protocol_of,
    seconds_of,
)
from pathtap.collector.cluster.endpoints import backends_by_service, endpoints_of, slice_of
from pathtap.collector.cluster.inventory import Inventory
from pathtap.model.inventory import Node, Pod, Service, ServicePort

# The label that the Deployment controller gives a pod, and appends to the name of its ReplicaSet (pod_template_hash).
HASH_LABEL = "pod-template-hash"


def decode(document: object) -> Inventory:
    """The inventory of a decoded `kubectl get nodes,pods,services,endpoints -A -o json`, or of `…,endpointslices`.

    Raises InventoryError for a document that is no list of API objects. Kinds it does not need are passed over.
    """
    if not isinstance(document, Mapping) or not isinstance(document.get("items"), list):
        raise InventoryError((), "this is no list of Kubernetes objects: it has no `items`")
    objects = [ApiObject(item, ("items", at)) for at, item in enumerate(document["items"])]
    slices = [slice_of(each) for each in objects if each.kind == "EndpointSlice"]
    # What is in a slice is in an Endpoints object too, unless that is cut off after 1,000 addresses.
    sliced = {each.service for each in slices}
    older = [endpoints_of(each) for each in objects if each.kind == "Endpoints" and each.key not in sliced]
    backends = backends_by_service((*slices, *older))
    pods = [pod_of(each) for each in objects if each.kind == "Pod"]
    nodes = [node_of(each) for each in objects if each.kind == "Node"]
    services = [service_of(each) for each in objects if each.kind == "Service"]
    return Inventory(
        pods={pod.key: pod for pod in pods},
        nodes={node.name: node for node in nodes},
        services={each.key: replace(each, backends=backends.get(each.key, ())) for each in services},
    )


def pod_of(item: ApiObject) -> Pod:
    spec, status = item.part("spec"), item.part("status")
    path = (*item.path, "status")
    several = (entry.get("ip") for entry in mappings(status.get("podIPs"), (*path, "podIPs")))
    return Pod(
        namespace=item.namespace,
        name=item.name,
        uid=str(item.metadata.get("uid", "")),
        node=str(spec.get("nodeName") or ""),
        phase=str(status.get("phase") or "Unknown"),
        addresses=addresses_of((status.get("podIP"), *several), path),
        host_network=spec.get("hostNetwork") is True,
        deleting=bool(item.metadata.get("deletionTimestamp")),
        ready=_is_ready(status, path),
        started_at=seconds_of(status.get("startTime") or item.metadata.get("creationTimestamp"), path),
        workloads=tuple(_workloads(item)),
    )


def _is_ready(status: Mapping[str, object], path: Path) -> bool | None:
    conditions = mappings(status.get("conditions"), (*path, "conditions"))
    return next((each.get("status") == "True" for each in conditions if each.get("type") == "Ready"), None)


def _workloads(item: ApiObject) -> Iterator[str]:
    """What made the pod, `kind/name`: the controller among its owners, and the Deployment whose ReplicaSet that is.

    The Deployment is known by the ReplicaSet's name, which is its own and the hash that the pod has for a label
    (kubernetes, pkg/controller/deployment/sync.go).
    """
    path = (*item.path, "metadata")
    owners = mappings(item.metadata.get("ownerReferences"), (*path, "ownerReferences"))
    owner = next((each for each in owners if each.get("controller") is True), None)
    if owner is None:
        return
    kind, name = str(owner.get("kind") or ""), str(owner.get("name") or "")
    yield f"{kind.lower()}/{name}"
    suffix = f"-{mapping(item.metadata.get('labels'), (*path, 'labels')).get(HASH_LABEL, '')}"
    if kind == "ReplicaSet" and suffix != "-" and name.endswith(suffix):
        yield f"deployment/{name.removesuffix(suffix)}"


def node_of(item: ApiObject) -> Node:
    """Its own addresses first, then those that the Internet knows it by."""
    path = (*item.path, "status", "addresses")
    listed = list(mappings(item.part("status").get("addresses"), path))
    texts = [
        entry.get("address") for kind in ("InternalIP", "ExternalIP") for entry in listed if entry.get("type") == kind
    ]
    return Node(name=item.name, addresses=addresses_of(texts, path))


def service_of(item: ApiObject) -> Service:
    """Without its backends, which are objects of their own."""
    spec, path = item.part("spec"), (*item.path, "spec")
    several = listed(spec.get("clusterIPs"), (*path, "clusterIPs"))
    ports = (*path, "ports")
    return Service(
        namespace=item.namespace,
        name=item.name,
        cluster_addresses=addresses_of((spec.get("clusterIP"), *several), path),
        ports=tuple(
            ServicePort(
                name=str(port.get("name") or ""),
                protocol=protocol_of(port.get("protocol"), ports),
                port=port_number(port.get("port"), ports),
                node_port=port_number(port.get("nodePort") or 0, ports),
            )
            for port in mappings(spec.get("ports"), ports)
        ),
    )
