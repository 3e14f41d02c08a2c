"""Which packets the nodes are asked for."""

from ipaddress import ip_address

from small_cluster import HOST_2, NODE_1, NODE_2, ORDERS, SEARCH

from pathtap.collector.cluster.resolve import Question
from pathtap.collector.plan import capture_request
from pathtap.model.address import Socket
from pathtap.model.inventory import Backend
from pathtap.model.trace import Target

PORT = 30080


def question(*backends: Backend) -> Question:
    source = Target(kind="pod", name="shop/search", node=NODE_1, socket=Socket(ip_address(SEARCH), 0))
    node = Target(kind="node", name=NODE_2, node=NODE_2, socket=Socket(ip_address(HOST_2), PORT))
    return Question(source=source, destination=node, protocol=6, live=False, backends=backends)


def test_behind_a_node_port_the_packet_is_looked_for_as_the_nodes_own() -> None:
    backend = Backend(port_name="", protocol=6, address=ip_address(ORDERS), port=8080)
    asked = capture_request("1", question(backend), None)
    assert ip_address(HOST_2) in asked.near
    assert set(asked.far) == {ip_address(HOST_2), ip_address(ORDERS)}
    assert set(asked.ports) == {PORT, 8080}


def test_of_a_nodes_other_ports_nothing_more_is_asked() -> None:
    asked = capture_request("1", question(), None)
    assert asked.near == (ip_address(SEARCH),)
    assert asked.far == (ip_address(HOST_2),)
