"""What a node's metadata service and its ipamd say, as values. Pure; `pathtap.lab.serve` puts them on the wire.

Shapes: the instance metadata categories of EC2, and amazon-vpc-cni-k8s pkg/ipamd/introspect.go of v1.20 and later.
"""

from collections.abc import Mapping
from ipaddress import IPv4Address
from typing import Any

from pathtap.lab.options import LabOptions
from pathtap.lab.topology import VPC, Cluster, Eni, Node

IMDS_ADDRESS = IPv4Address("169.254.169.254")
IMDS_PORT = 80
INTROSPECTION_PORT = 61679
REGION = "us-west-2"
ZONE = "us-west-2a"
_VPC_ID = "vpc-0c1d2e3f405162738"
_SECURITY_GROUP = "sg-0a9b8c7d6e5f40312"
_OWNER = "111122223333"
_ASSIGNED_AT = "2026-01-05T09:00:00.000000000Z"
_NEVER = "0001-01-01T00:00:00Z"
_RANDOMIZE = {"none": 0, "hashrandom": 1, "prng": 2}


def instance_id(node: Node) -> str:
    return f"i-0{node.primary.id.removeprefix('eni-0')}"


def subnet_id(node: Node) -> str:
    return f"subnet-0{node.primary.id.removeprefix('eni-0')[::-1]}"


def instance_metadata(node: Node) -> dict[str, str]:
    """Path below `latest/meta-data/` → text. A directory's listing follows from the paths below it."""
    paths = {
        "hostname": node.name,
        "instance-id": instance_id(node),
        "instance-type": "m5.large",
        "local-hostname": node.name,
        "local-ipv4": str(node.address),
        "mac": node.primary.mac,
        "placement/availability-zone": ZONE,
        "placement/region": REGION,
    }
    for eni in node.enis:
        paths |= {f"network/interfaces/macs/{eni.mac}/{key}": value for key, value in _interface(node, eni).items()}
    return paths


def _interface(node: Node, eni: Eni) -> dict[str, str]:
    return {
        "device-number": str(eni.device),
        "interface-id": eni.id,
        "local-hostname": f"ip-{str(eni.address).replace('.', '-')}",
        "local-ipv4s": "\n".join(map(str, eni.addresses)),
        "mac": eni.mac,
        "owner-id": _OWNER,
        "security-group-ids": _SECURITY_GROUP,
        "subnet-id": subnet_id(node),
        "subnet-ipv4-cidr-block": str(eni.subnet),
        "vpc-id": _VPC_ID,
        "vpc-ipv4-cidr-block": str(VPC),
        "vpc-ipv4-cidr-blocks": str(VPC),
    }


def look_up(paths: Mapping[str, str], path: str) -> str | None:
    """A key's text, a directory's listing (its own directories end in a slash), or None where there is neither."""
    path = path.rstrip("/")
    if path in paths:
        return paths[path]
    start = f"{path}/" if path else ""
    below = [key.removeprefix(start) for key in paths if key.startswith(start)]
    names = {head + slash for head, slash, _ in (key.partition("/") for key in below)}
    return "\n".join(sorted(names)) if names else None


def introspection(cluster: Cluster, node: Node) -> dict[str, Any]:
    """Path → JSON, of what ipamd answers on its introspection port."""
    return {
        "/": {"AvailableCommands": ["/v1/enis", "/v1/networkutils-env-settings"]},
        "/v1/enis": {"0": _data_store(node)},
        "/v1/networkutils-env-settings": _settings(cluster.options),
    }


def _data_store(node: Node) -> dict[str, Any]:
    """The addresses for pods; an ENI's own is not among them."""
    return {
        "TotalIPs": sum(len(eni.addresses) - 1 for eni in node.enis),
        "AssignedIPs": len(node.pods),
        "ENIs": {eni.id: _eni(node, eni) for eni in node.enis},
    }


def _eni(node: Node, eni: Eni) -> dict[str, Any]:
    return {
        "ID": eni.id,
        "IsPrimary": eni.device == 0,
        "IsTrunk": False,
        "IsEFA": False,
        "DeviceNumber": eni.device,
        "AvailableIPv4Cidrs": {f"{ip}/32": _cidr(node, ip) for ip in (*eni.pod_addresses, *eni.warm)},
        "IPv6Cidrs": {},
        "IsExcludedForPodIPs": False,
        "RouteTableID": 254 if eni.device == 0 else eni.table,
        "SubnetID": subnet_id(node),
    }


def _cidr(node: Node, address: IPv4Address) -> dict[str, Any]:
    pod = next((pod for pod in node.pods if pod.address == address), None)
    key = {"networkName": "aws-cni" if pod else "", "containerID": "", "ifName": ""}
    about = {"k8sPodNamespace": pod.namespace, "k8sPodName": pod.name, "interfacesCount": 1} if pod else {}
    allocation = {
        "Address": str(address),
        "IPAMKey": key,
        "IPAMMetadata": about,
        "AssignedTime": _ASSIGNED_AT if pod else _NEVER,
        "UnassignedTime": _NEVER,
    }
    return {
        # Go's net.IPMask in JSON: base64 of ff ff ff ff.
        "Cidr": {"IP": str(address), "Mask": "/////w=="},
        "IPAddresses": {str(address): allocation} if pod else {},
        "IsPrefix": False,
        "AddressFamily": "",
    }


def _settings(options: LabOptions) -> dict[str, Any]:
    return {
        "AWS_VPC_CNI_NODE_PORT_SUPPORT": True,
        "AWS_VPC_ENI_MTU": 9001,
        "AWS_VPC_K8S_CNI_CONNMARK": 128,
        "AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS": None,
        "AWS_VPC_K8S_CNI_EXTERNALSNAT": options.external_snat,
        "AWS_VPC_K8S_CNI_RANDOMIZESNAT": _RANDOMIZE[options.randomize],
        "AWS_VPC_K8S_CNI_VETHPREFIX": "eni",
    }
