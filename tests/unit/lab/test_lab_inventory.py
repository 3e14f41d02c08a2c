from typing import Any

from pathtap.lab.inventory import inventory
from pathtap.lab.options import LabOptions
from pathtap.lab.topology import make_cluster

CLUSTER = make_cluster(LabOptions())
LIST = inventory(CLUSTER)


def items(kind: str) -> dict[str, Any]:
    found = {}
    for item in LIST["items"]:
        if item["kind"] == kind:
            metadata = item["metadata"]
            found["/".join(filter(None, (metadata.get("namespace"), metadata["name"])))] = item
    return found


def test_it_is_a_list_of_the_four_kinds() -> None:
    assert (LIST["apiVersion"], LIST["kind"]) == ("v1", "List")
    assert {item["kind"] for item in LIST["items"]} == {"Node", "Pod", "Service", "Endpoints"}


def test_every_object_has_an_identity_of_its_own() -> None:
    uids = [item["metadata"]["uid"] for item in LIST["items"]]
    assert len(set(uids)) == len(uids)


def test_a_running_pod_has_its_address_and_its_node() -> None:
    search = items("Pod")["shop/search"]
    assert search["status"]["podIP"] == "192.168.1.116"
    assert search["status"]["podIPs"] == [{"ip": "192.168.1.116"}]
    assert search["spec"]["nodeName"] == "ip-192-168-1-29"
    assert "hostNetwork" not in search["spec"]


def test_a_host_network_pod_has_its_nodes_address() -> None:
    exporter = items("Pod")["kube-system/node-exporter-2"]
    assert exporter["spec"]["hostNetwork"] is True
    assert exporter["status"]["podIP"] == exporter["status"]["hostIP"] == "192.168.2.29"


def test_pods_that_do_not_run_have_no_address() -> None:
    pods = items("Pod")
    assert pods["shop/pending"]["status"] == {"phase": "Pending"}
    assert pods["shop/batch-done"]["status"] == {"phase": "Succeeded"}


def test_endpoints_point_to_the_pods_and_a_hollow_service_has_none() -> None:
    endpoints = items("Endpoints")
    (subset,) = endpoints["shop/web"]["subsets"]
    pods = items("Pod")
    assert [address["targetRef"]["uid"] for address in subset["addresses"]] == [
        pods[key]["metadata"]["uid"] for key in ("shop/web", "shop/orders")
    ]
    assert subset["ports"] == [{"port": 8080, "protocol": "TCP"}]
    assert "subsets" not in endpoints["shop/hollow"]
    assert items("Service")["shop/web"]["spec"]["clusterIP"] == "10.100.0.20"


def test_a_service_of_a_node_port_says_so_and_others_do_not() -> None:
    services = items("Service")
    web = services["shop/web"]["spec"]
    assert (web["type"], web["externalTrafficPolicy"], web["ports"][0]["nodePort"]) == ("NodePort", "Cluster", 30080)
    assert services["shop/redis"]["spec"]["type"] == "ClusterIP"
    assert "nodePort" not in services["shop/redis"]["spec"]["ports"][0]
