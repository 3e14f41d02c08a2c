"""Every way to name the two ends of a trace, and what each wrong one is answered with."""

from ipaddress import ip_address

import pytest
from small_cluster import (
    CART,
    HOST_1,
    HOST_2,
    INTERNET,
    NODE_1,
    NODE_2,
    ORDERS,
    REDIS,
    SERVICE,
    WEB,
    cluster,
    cluster_items,
    endpoints_item,
    inventory_of,
    node_item,
    pod_item,
    service_item,
)

from pathtap.collector.cluster.inventory import Inventory
from pathtap.collector.cluster.resolve import (
    NotTraceable,
    Question,
    Request,
    UnknownName,
    UnusableRequest,
    owner_of,
    resolve,
    resolve_source,
)
from pathtap.model.address import Socket
from pathtap.model.trace import Target

DNS = {"name": "dns", "protocol": "UDP", "port": 53}
TWO_PORTS = ({"name": "http", "port": 80}, {"name": "admin", "port": 81, "nodePort": 30081})


def wider() -> Inventory:
    """The cluster, and what is difficult."""
    return inventory_of(
        *cluster_items(),
        pod_item("staging/redis", NODE_2, "192.168.2.99"),
        pod_item("shop/pending", NODE_1, phase="Pending"),
        pod_item("shop/unscheduled", "", "192.168.1.77", phase="Pending"),
        pod_item("shop/done", NODE_1, CART, phase="Succeeded"),
        pod_item(f"kube-system/proxy-{NODE_1}.ec2.internal", NODE_1, HOST_1, host_network=True),
        pod_item("six/both", NODE_1, "192.168.1.60", "2001:db8:1::60"),
        pod_item("six/only", NODE_2, "2001:db8:2::61"),
        pod_item("six/first", NODE_2, "2001:db8:2::62", "192.168.2.62"),
        node_item("node-six", "2001:db8:3::1"),
        node_item("node-both", "192.168.3.29", "2001:db8:3::2"),
        node_item("node-lost"),
        service_item("kube-system/dns", "10.100.0.53", DNS),
        endpoints_item("kube-system/dns", DNS, ORDERS),
        service_item("shop/two", "10.100.0.40", *TWO_PORTS),
        endpoints_item("shop/two", {"name": "admin", "port": 9081}, REDIS),
        service_item("shop/headless", "", {"port": 80}),
        service_item("staging/web", "10.100.0.41", {"name": "http", "port": 80}),
        service_item("six/web", "2001:db8:f::1", {"name": "http", "port": 80}),
    )


def ask(
    source: str, destination: str, port: int = 0, protocol: int = 0, namespace: str = "", live: bool = False
) -> Question:
    request = Request(
        source=source, destination=destination, namespace=namespace, protocol=protocol, port=port, live=live
    )
    return resolve(request, wider())


POD_CART = Target(kind="pod", name="shop/cart", node=NODE_1, socket=Socket(ip_address(CART), 0))


@pytest.mark.parametrize(
    ("text", "namespace"),
    [("shop/cart", ""), ("cart", ""), ("cart", "shop"), ("pod/cart", ""), ("pod/cart", "shop"), ("pod/shop/cart", "x")],
)
def test_a_pod_as_source(text: str, namespace: str) -> None:
    question = ask(text, "shop/redis", namespace=namespace)
    assert question.source == POD_CART
    assert question.source_has_namespace


def test_a_node_and_what_shares_its_network_as_source() -> None:
    for text in (f"node/{NODE_1}", "kube-system/exporter-1"):
        question = ask(text, "shop/redis")
        assert question.source.socket == Socket(ip_address(HOST_1), 0)
        assert question.source.node == NODE_1
        assert not question.source_has_namespace


def test_an_address_as_source_needs_live() -> None:
    with pytest.raises(UnusableRequest, match="--live"):
        ask(CART, "shop/redis")
    assert ask(CART, "shop/redis", live=True).source == POD_CART
    assert ask(HOST_1, "shop/redis", live=True).source.name == NODE_1
    outside = ask(INTERNET, "shop/redis", live=True).source
    assert (outside.kind, outside.name, outside.node) == ("address", "", "")


@pytest.mark.parametrize("text", ["svc/shop/web", "service/web", "svc/nothing"])
@pytest.mark.parametrize("live", [True, False])
def test_a_service_is_no_source(text: str, live: bool) -> None:
    with pytest.raises(UnusableRequest, match="cannot be a source"):
        ask(text, "shop/redis", live=live)


def test_a_services_address_is_no_source_either() -> None:
    with pytest.raises(UnusableRequest, match="shop/web"):
        ask(SERVICE, "shop/redis", live=True)


@pytest.mark.parametrize(
    ("text", "namespace"),
    [("shop/redis", ""), ("redis", "shop"), ("pod/redis", "shop"), ("pod/shop/redis", ""), (REDIS, "")],
)
def test_a_pod_as_destination(text: str, namespace: str) -> None:
    destination = ask("shop/cart", text, 6379, namespace=namespace).destination
    assert destination == Target(kind="pod", name="shop/redis", node=NODE_2, socket=Socket(ip_address(REDIS), 6379))


@pytest.mark.parametrize("text", [f"node/{NODE_2}", HOST_2])
def test_a_node_as_destination(text: str) -> None:
    destination = ask("shop/cart", text, 9100).destination
    assert destination == Target(kind="node", name=NODE_2, node=NODE_2, socket=Socket(ip_address(HOST_2), 9100))


def test_a_host_network_pod_as_destination_has_its_nodes_address() -> None:
    destination = ask("shop/cart", "kube-system/exporter-2", 9100).destination
    assert (destination.kind, destination.host_network, destination.socket.address) == ("pod", True, ip_address(HOST_2))


@pytest.mark.parametrize("text", [INTERNET, "192.168.77.77", "2001:db8:9::8"])
def test_an_address_that_is_nobodys_as_destination(text: str) -> None:
    source = "six/both" if ":" in text else "shop/cart"
    destination = ask(source, text, 443).destination
    assert destination == Target(kind="address", name="", node="", socket=Socket(ip_address(text), 443))


@pytest.mark.parametrize(
    ("text", "namespace"), [("svc/shop/web", ""), ("svc/web", "shop"), ("service/shop/web", ""), (SERVICE, "")]
)
def test_a_service_with_one_port_needs_none_to_be_said(text: str, namespace: str) -> None:
    question = ask("shop/cart", text, namespace=namespace)
    assert question.destination == Target(
        kind="service", name="shop/web", node="", socket=Socket(ip_address(SERVICE), 80)
    )
    assert question.protocol == 6
    assert [backend.address for backend in question.backends] == [ip_address(WEB), ip_address(ORDERS)]
    assert ask("shop/cart", text, 80, namespace=namespace) == question


def test_a_service_with_several_ports() -> None:
    with pytest.raises(UnusableRequest, match=r"shop/two wants its port said by --port; it offers 80/tcp, 81/tcp"):
        ask("shop/cart", "svc/shop/two")
    question = ask("shop/cart", "svc/shop/two", 81)
    assert [(backend.address, backend.port) for backend in question.backends] == [(ip_address(REDIS), 9081)]
    assert ask("shop/cart", "svc/shop/two", 80).backends == ()
    with pytest.raises(UnusableRequest, match="offers 80/tcp, 81/tcp"):
        ask("shop/cart", "svc/shop/two", 82)


def test_a_service_of_another_protocol() -> None:
    question = ask("shop/cart", "svc/kube-system/dns", 53, protocol=17)
    assert (question.protocol, question.destination.socket.port, len(question.backends)) == (17, 53, 1)
    for port in (0, 53):
        with pytest.raises(UnusableRequest, match=r"by --port and --protocol; it offers 53/udp"):
            ask("shop/cart", "svc/kube-system/dns", port)


def test_an_echo_to_a_service_is_asked_for_by_name() -> None:
    question = ask("shop/cart", "svc/shop/web", protocol=1)
    assert (question.protocol, question.destination.socket.port, question.backends) == (1, 0, ())


def test_a_headless_service_has_no_address() -> None:
    with pytest.raises(NotTraceable, match="no IPv4 cluster address"):
        ask("shop/cart", "svc/shop/headless", 80)


def test_a_node_port_may_lead_to_any_backend_of_its_service() -> None:
    question = ask("shop/cart", f"node/{NODE_2}", 30081)
    assert [(backend.address, backend.port) for backend in question.backends] == [(ip_address(REDIS), 9081)]
    assert ask("shop/cart", f"node/{NODE_2}", 30081, protocol=17).backends == ()


@pytest.mark.parametrize("text", ["api.example.org", "redis.shop.svc.cluster.local"])
def test_a_dns_name(text: str) -> None:
    with pytest.raises(UnusableRequest, match="DNS name"):
        ask("shop/cart", text, 80)


def test_a_pods_name_may_have_dots() -> None:
    name = f"proxy-{NODE_1}.ec2.internal"
    assert ask(name, "shop/redis").source.name == f"kube-system/{name}"
    assert ask("shop/cart", name).destination.name == f"kube-system/{name}"


# The protocol.


@pytest.mark.parametrize(("port", "protocol", "meant"), [(0, 0, 1), (80, 0, 6), (80, 6, 6), (80, 17, 17), (0, 1, 1)])
def test_the_protocol_is_tcp_where_a_port_is_given_else_icmp(port: int, protocol: int, meant: int) -> None:
    assert ask("shop/cart", "shop/redis", port, protocol).protocol == meant


@pytest.mark.parametrize(("port", "protocol", "meant"), [(0, 0, 58), (0, 1, 58), (80, 0, 6), (80, 17, 17)])
def test_over_ipv6_icmp_is_icmpv6(port: int, protocol: int, meant: int) -> None:
    question = ask("six/both", "six/only", port, protocol)
    assert (question.protocol, question.source.socket.address.version) == (meant, 6)


@pytest.mark.parametrize("protocol", [6, 17])
def test_tcp_and_udp_need_a_port_unless_traffic_is_only_watched(protocol: int) -> None:
    with pytest.raises(UnusableRequest, match="--port"):
        ask("shop/cart", "shop/redis", protocol=protocol)
    assert ask("shop/cart", "shop/redis", protocol=protocol, live=True).destination.socket.port == 0


@pytest.mark.parametrize(
    ("port", "protocol", "said"),
    [
        (80, 1, "ICMP has no ports"),
        (70_000, 6, "70000 is no port"),
        (0, 132, "protocol 132 cannot be traced"),
        (0, 58, "icmpv6 cannot be traced"),
    ],
)
def test_requests_that_no_command_line_makes(port: int, protocol: int, said: str) -> None:
    with pytest.raises(UnusableRequest, match=said):
        ask("shop/cart", "shop/redis", port, protocol)


# Families.


@pytest.mark.parametrize(
    ("source", "destination", "version"),
    [
        ("six/both", "six/both", 4),
        ("six/both", "six/first", 4),
        ("six/first", "six/both", 6),
        ("six/both", "six/only", 6),
        ("six/both", "shop/cart", 4),
        ("six/both", "2001:db8:9::8", 6),
        ("six/first", INTERNET, 4),
        ("six/both", "node/node-six", 6),
        ("node/node-both", "six/only", 6),
        ("shop/cart", "node/node-both", 4),
        ("six/only", "node/node-both", 6),
        ("six/both", "svc/six/web", 6),
        ("six/first", "svc/shop/web", 4),
    ],
)
def test_both_ends_speak_one_family(source: str, destination: str, version: int) -> None:
    port = 80 if destination.startswith("svc/") else 443
    question = ask(source, destination, port)
    assert {question.source.socket.address.version, question.destination.socket.address.version} == {version}


@pytest.mark.parametrize(
    ("source", "destination", "said"),
    [
        ("shop/cart", "six/only", "six/only has no IPv4 address"),
        ("six/only", "shop/cart", "shop/cart has no IPv6 address"),
        ("shop/cart", "node/node-six", "node-six has no IPv4 address"),
        ("shop/cart", "2001:db8:9::8", "shop/cart has no IPv6 address to reach 2001:db8:9::8"),
        ("six/only", "svc/shop/web", "no IPv6 cluster address"),
    ],
)
def test_ends_that_share_no_family(source: str, destination: str, said: str) -> None:
    with pytest.raises(NotTraceable, match=said):
        ask(source, destination, 80)


# What is refused.


@pytest.mark.parametrize(
    ("source", "destination", "namespace", "said"),
    [
        ("shop/crat", "shop/redis", "", "no pod shop/crat; did you mean shop/cart"),
        ("crat", "shop/redis", "shop", "no pod shop/crat; did you mean shop/cart"),
        ("shop/cart", "shop/rediss", "", "no pod shop/rediss; did you mean shop/redis"),
        ("shop/cart", "pod/serach", "", "did you mean shop/search"),
        ("node/ip-192-168-1-92", "shop/redis", "", f"no node ip-192-168-1-92; did you mean {NODE_1}"),
        ("shop/cart", "svc/shop/wbe", "", "no service shop/wbe; did you mean shop/web"),
        ("shop/cart", "svc/wbe", "shop", "no service shop/wbe"),
        ("cart", "shop/redis", "staging", "no pod staging/cart; did you mean shop/cart"),
        ("zzzzzz", "shop/redis", "", "no pod zzzzzz$"),
        ("a/b/c", "shop/redis", "", "no pod a/b/c"),
        ("node/", "shop/redis", "", "no pod node/"),
        ("", "shop/redis", "", "no pod"),
    ],
)
def test_unknown_names_and_the_nearest(source: str, destination: str, namespace: str, said: str) -> None:
    with pytest.raises(UnknownName, match=said):
        ask(source, destination, namespace=namespace)


@pytest.mark.parametrize(
    ("source", "destination", "said"),
    [
        ("redis", "shop/cart", "several pods: shop/redis, staging/redis; say which, or use -n"),
        ("shop/cart", "redis", "several pods: shop/redis, staging/redis"),
        ("shop/cart", "pod/redis", "several pods"),
        ("shop/cart", "svc/web", "several services: shop/web, six/web, staging/web"),
    ],
)
def test_a_name_in_several_namespaces(source: str, destination: str, said: str) -> None:
    with pytest.raises(UnusableRequest, match=said):
        ask(source, destination)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("shop/pending", "no address yet: it is Pending"),
        ("shop/unscheduled", "no address yet"),
        ("shop/done", "has finished \\(Succeeded\\)"),
        ("node/node-lost", "no address in the inventory"),
    ],
)
def test_ends_that_cannot_be_traced_now(name: str, said: str) -> None:
    with pytest.raises(NotTraceable, match=said):
        ask(name, "shop/redis")
    with pytest.raises(NotTraceable, match=said):
        ask("shop/cart", name)


def test_the_owner_of_an_address() -> None:
    inventory = cluster()
    kinds = {text: owner_of(ip_address(text), 7, inventory).kind for text in (CART, HOST_1, SERVICE, INTERNET)}
    assert kinds == {CART: "pod", HOST_1: "node", SERVICE: "service", INTERNET: "address"}
    assert owner_of(ip_address(CART), 7, inventory).socket == Socket(ip_address(CART), 7)


def test_the_source_of_flows_is_found_the_same_way() -> None:
    assert resolve_source("cart", "shop", cluster(), live=False) == POD_CART


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.9.10", "::1"])
def test_what_goes_by_lo_is_no_way_to_trace(address: str) -> None:
    with pytest.raises(UnusableRequest, match=f"{address} goes by lo"):
        resolve(Request(source="shop/cart", destination=address, port=80), cluster())
