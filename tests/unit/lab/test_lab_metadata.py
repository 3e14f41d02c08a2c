import json
from http import HTTPStatus
from typing import Any

from pathtap.lab.http1 import Request, Response, format_response, parse_request
from pathtap.lab.metadata import instance_metadata, introspection, look_up
from pathtap.lab.options import LabOptions
from pathtap.lab.services import introspection_service, metadata_service
from pathtap.lab.topology import make_cluster

CLUSTER = make_cluster(LabOptions())
NODE = CLUSTER.nodes[0]
TTL = "x-aws-ec2-metadata-token-ttl-seconds"


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def ask(answer: Any, method: str, path: str, **headers: str) -> Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    response = answer(Request(method=method, path=path, headers=named))
    assert isinstance(response, Response)
    return response


def granted(clock: Clock) -> tuple[Any, dict[str, str]]:
    answer = metadata_service(instance_metadata(CLUSTER.options, NODE), clock, lambda: "secret")
    token = answer(Request(method="PUT", path="/latest/api/token", headers={TTL: "60"}))
    assert token == Response(status=HTTPStatus.OK, body="secret")
    return answer, {"x_aws_ec2_metadata_token": "secret"}


def test_without_a_token_nothing_is_told() -> None:
    answer, _ = granted(Clock())
    assert ask(answer, "GET", "/latest/meta-data/mac").status == HTTPStatus.UNAUTHORIZED
    wrong = {"x_aws_ec2_metadata_token": "wrong"}
    assert ask(answer, "GET", "/latest/meta-data/mac", **wrong).status == HTTPStatus.UNAUTHORIZED


def test_with_a_token_an_eni_tells_its_id_and_its_addresses() -> None:
    answer, token = granted(Clock())
    eni = NODE.secondary
    base = f"/latest/meta-data/network/interfaces/macs/{eni.mac}"
    assert ask(answer, "GET", f"{base}/interface-id", **token).body == eni.id
    assert ask(answer, "GET", f"{base}/device-number", **token).body == "1"
    assert ask(answer, "GET", f"{base}/local-ipv4s", **token).body.split() == [str(a) for a in eni.addresses]
    listing = ask(answer, "GET", "/latest/meta-data/network/interfaces/macs/", **token).body
    assert set(listing.split()) == {f"{eni.mac}/" for eni in NODE.enis}


def test_keys_that_do_not_apply_are_absent() -> None:
    answer, token = granted(Clock())
    path = f"/latest/meta-data/network/interfaces/macs/{NODE.primary.mac}/ipv4-prefix"
    assert ask(answer, "GET", path, **token).status == HTTPStatus.NOT_FOUND
    assert ask(answer, "GET", "/latest/meta-dataX", **token).status == HTTPStatus.NOT_FOUND


def test_a_token_expires() -> None:
    clock = Clock()
    answer, token = granted(clock)
    clock.now += 59
    assert ask(answer, "GET", "/latest/meta-data/mac", **token).body == NODE.primary.mac
    clock.now += 1
    assert ask(answer, "GET", "/latest/meta-data/mac", **token).status == HTTPStatus.UNAUTHORIZED


def test_a_token_for_no_time_or_for_too_long_is_refused() -> None:
    answer, _ = granted(Clock())
    for seconds in ("", "0", "21601", "-1", "soon"):
        request = Request(method="PUT", path="/latest/api/token", headers={TTL: seconds})
        assert answer(request).status == HTTPStatus.BAD_REQUEST


def test_a_directory_lists_what_is_directly_below() -> None:
    paths = {"a": "1", "b/c": "2", "b/d/e": "3"}
    assert look_up(paths, "") == "a\nb/"
    assert look_up(paths, "b/") == "c\nd/"
    assert look_up(paths, "b/c") == "2"
    assert look_up(paths, "x") is None


def test_ipamd_tells_every_pods_address_under_its_eni() -> None:
    answer = introspection_service(introspection(CLUSTER, NODE))
    store = json.loads(ask(answer, "GET", "/v1/enis").body)["0"]
    assert store["AssignedIPs"] == 3
    assert store["TotalIPs"] == 7
    cidr = store["ENIs"][NODE.secondary.id]["AvailableIPv4Cidrs"]["192.168.1.116/32"]
    allocation = cidr["IPAddresses"]["192.168.1.116"]
    assert allocation["IPAMMetadata"]["k8sPodName"] == "search"
    assert allocation["IPAMKey"]["networkName"] == "aws-cni"
    assert store["ENIs"][NODE.primary.id]["IsPrimary"] is True
    assert str(NODE.primary.address) + "/32" not in store["ENIs"][NODE.primary.id]["AvailableIPv4Cidrs"]


def test_ipamd_tells_its_settings_and_knows_no_pods_endpoint() -> None:
    answer = introspection_service(introspection(CLUSTER, NODE))
    settings = json.loads(ask(answer, "GET", "/v1/networkutils-env-settings").body)
    assert settings["AWS_VPC_K8S_CNI_RANDOMIZESNAT"] == 2
    assert settings["AWS_VPC_K8S_CNI_CONNMARK"] == 128
    assert ask(answer, "GET", "/v1/pods").status == HTTPStatus.NOT_FOUND


def test_prefixes_are_told_as_prefixes() -> None:
    cluster = make_cluster(LabOptions(prefix_mode=True))
    node = cluster.nodes[0]
    paths = instance_metadata(cluster.options, node)
    base = f"network/interfaces/macs/{node.secondary.mac}"
    assert paths[f"{base}/ipv4-prefix"].split() == ["192.168.1.112/28", "192.168.1.208/28"]
    assert paths[f"{base}/local-ipv4s"] == str(node.secondary.address)
    store = introspection(cluster, node)["/v1/enis"]["0"]
    assert (store["TotalIPs"], store["AssignedIPs"]) == (64, 3)
    cidr = store["ENIs"][node.secondary.id]["AvailableIPv4Cidrs"]["192.168.1.112/28"]
    assert cidr["IsPrefix"] is True
    # Go's net.IPMask of ff ff ff f0.
    assert cidr["Cidr"] == {"IP": "192.168.1.112", "Mask": "////8A=="}
    assert list(cidr["IPAddresses"]) == ["192.168.1.116"]


def test_custom_networking_is_told_by_subnet_and_by_setting() -> None:
    cluster = make_cluster(LabOptions(custom_networking=True))
    node = cluster.nodes[0]
    paths = instance_metadata(cluster.options, node)
    first, second = (f"network/interfaces/macs/{eni.mac}" for eni in node.enis)
    assert paths[f"{first}/vpc-ipv4-cidr-blocks"].split() == ["192.168.0.0/16", "100.64.0.0/16"]
    assert paths[f"{second}/subnet-ipv4-cidr-block"] == "100.64.1.0/24"
    assert paths[f"{first}/subnet-id"] != paths[f"{second}/subnet-id"]
    told = introspection(cluster, node)
    assert told["/v1/enis"]["0"]["ENIs"][node.primary.id]["AvailableIPv4Cidrs"] == {}
    assert told["/v1/ipamd-env-settings"]["AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG"] is True


def test_settings_follow_the_options_and_what_overrides_them() -> None:
    options = LabOptions(node_port=False, external_snat=True, exclude_cidrs=("203.0.113.0/24",))
    path = "/v1/networkutils-env-settings"
    told = introspection(make_cluster(options), NODE)[path]
    assert told["AWS_VPC_CNI_NODE_PORT_SUPPORT"] is False
    assert told["AWS_VPC_K8S_CNI_EXTERNALSNAT"] is True
    assert told["AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS"] == ["203.0.113.0/24"]
    overridden = introspection(CLUSTER, NODE, {"AWS_VPC_K8S_CNI_EXTERNALSNAT": True})[path]
    assert overridden["AWS_VPC_K8S_CNI_EXTERNALSNAT"] is True
    assert overridden["AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS"] is None


def test_a_request_is_read_and_nonsense_is_not() -> None:
    request = parse_request(b"GET /x HTTP/1.1\r\nX-Token:  abc \r\n\r\n")
    assert request == Request(method="GET", path="/x", headers={"x-token": "abc"})
    assert parse_request(b"\x00\xff hello\r\n\r\n") is None
    assert parse_request(b"GET /x SPDY/3\r\n\r\n") is None


def test_a_response_says_its_length_in_bytes() -> None:
    assert format_response(Response(status=HTTPStatus.OK, body="é")) == (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\nConnection: close\r\n\r\n\xc3\xa9"
    )
