"""What `kubectl get nodes,pods,services,endpoints -A -o json` prints of the lab's cluster. Pure; writes no file."""

import uuid
from typing import Any

from pathtap.lab.metadata import ZONE, instance_id
from pathtap.lab.topology import NODE_EXPORTER_PORT, Cluster, Node, Pod, Service

_CREATED = "2026-01-05T09:00:00Z"


def inventory(cluster: Cluster) -> dict[str, Any]:
    """A v1 List. Besides the lab's pods it holds node-exporter on each node's own network, one pod that is pending
    and one that has finished: both are names without a network namespace.
    """
    first = cluster.nodes[0].name
    items = [_node(node) for node in cluster.nodes]
    items += [_running(pod, node) for node in cluster.nodes for pod in node.pods]
    items += [_node_exporter(node) for node in cluster.nodes]
    items.append(_pod("shop", "batch-done", spec={"nodeName": first}, status={"phase": "Succeeded"}))
    items.append(_pod("shop", "pending", spec={}, status={"phase": "Pending"}))
    items += [_service(service) for service in cluster.services]
    items += [_endpoints(cluster, service) for service in cluster.services]
    return {"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": items}


def pod_uid(namespace: str, name: str) -> str:
    return _uid("Pod", namespace, name)


def _uid(*parts: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, "/".join(parts)))


def _metadata(kind: str, name: str, namespace: str = "", labels: dict[str, str] | None = None) -> dict[str, Any]:
    metadata: dict[str, Any] = {"creationTimestamp": _CREATED, "name": name, "resourceVersion": "1"}
    if namespace:
        metadata["namespace"] = namespace
    return metadata | {"labels": labels or {}, "uid": _uid(kind, namespace, name)}


def _node(node: Node) -> dict[str, Any]:
    labels = {"kubernetes.io/hostname": node.name, "topology.kubernetes.io/zone": ZONE}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": _metadata("Node", node.name, labels=labels),
        "spec": {"providerID": f"aws:///{ZONE}/{instance_id(node)}"},
        "status": {
            "addresses": [
                {"type": "InternalIP", "address": str(node.cluster_address)},
                {"type": "Hostname", "address": node.name},
            ],
            "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}],
        },
    }


def _pod(namespace: str, name: str, *, spec: dict[str, Any], status: dict[str, Any]) -> dict[str, Any]:
    metadata = _metadata("Pod", name, namespace, labels={"app": name})
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": status}


def _status(node: Node, address: str) -> dict[str, Any]:
    return {
        "phase": "Running",
        "conditions": [{"type": "Ready", "status": "True"}],
        "hostIP": str(node.cluster_address),
        "podIP": address,
        "podIPs": [{"ip": address}],
        "startTime": _CREATED,
    }


def _containers(name: str, *ports: int) -> list[dict[str, Any]]:
    return [
        {"name": name, "image": f"{name}:latest", "ports": [{"containerPort": p, "protocol": "TCP"} for p in ports]}
    ]


def _running(pod: Pod, node: Node) -> dict[str, Any]:
    spec = {"nodeName": node.name, "containers": _containers(pod.name, *pod.tcp_ports)}
    return _pod(pod.namespace, pod.name, spec=spec, status=_status(node, str(pod.address)))


def _node_exporter(node: Node) -> dict[str, Any]:
    containers = _containers("node-exporter", NODE_EXPORTER_PORT)
    spec = {"nodeName": node.name, "hostNetwork": True, "containers": containers}
    return _pod(
        "kube-system", f"node-exporter-{node.index}", spec=spec, status=_status(node, str(node.cluster_address))
    )


def _service(service: Service) -> dict[str, Any]:
    port: dict[str, Any] = {"protocol": "TCP", "port": service.port, "targetPort": service.target_port}
    exposed: dict[str, Any] = {"type": "ClusterIP"}
    if service.node_port:
        port["nodePort"] = service.node_port
        exposed = {"type": "NodePort", "externalTrafficPolicy": "Cluster"}
    address = str(service.address)
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata("Service", service.name, service.namespace),
        "spec": {
            **exposed,
            "clusterIP": address,
            "clusterIPs": [address],
            "ipFamilies": [f"IPv{service.address.version}"],
            "ports": [port],
            "selector": {"service": service.name},
        },
        "status": {"loadBalancer": {}},
    }


def _endpoints(cluster: Cluster, service: Service) -> dict[str, Any]:
    endpoints: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": _metadata("Endpoints", service.name, service.namespace),
    }
    if service.backends:
        addresses = [_endpoint(cluster, pod) for pod, _ in service.backends]
        endpoints["subsets"] = [{"addresses": addresses, "ports": [{"port": service.target_port, "protocol": "TCP"}]}]
    return endpoints


def _endpoint(cluster: Cluster, pod: Pod) -> dict[str, Any]:
    target = {"kind": "Pod", "namespace": pod.namespace, "name": pod.name, "uid": pod_uid(pod.namespace, pod.name)}
    return {"ip": str(pod.address), "nodeName": cluster.node_of(pod).name, "targetRef": target}
