"""What a node's metadata service and its ipamd say, as values. Pure; `pathtap.lab.serve` puts them on the wire.

Shapes: the instance metadata categories of EC2, and amazon-vpc-cni-k8s pkg/ipamd/introspect.go of v1.20 and later.
"""

import base64
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Network
from typing import Any

from pathtap.lab.options import LabOptions
from pathtap.lab.topology import MTU, VPC_IPV6, Cluster, Eni, Node, Pod, vpc_networks
from pathtap.model.address import Network

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


def subnet_id(node: Node, eni: Eni) -> str:
    """The ENIs of a node share its subnet, unless custom networking gives the secondary one another."""
    first = node.primary if eni.subnet == node.primary.subnet else eni
    return f"subnet-0{first.id.removeprefix('eni-0')[::-1]}"


def instance_metadata(options: LabOptions, node: Node) -> dict[str, str]:
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
        paths |= {
            f"network/interfaces/macs/{eni.mac}/{key}": value for key, value in _interface(options, node, eni).items()
        }
    return paths


def _interface(options: LabOptions, node: Node, eni: Eni) -> dict[str, str]:
    # With prefixes no pod's address is the ENI's own; without, the key ipv4-prefix does not exist.
    own = (eni.address,) if eni.prefixes else eni.addresses
    prefixes = {"ipv4-prefix": "\n".join(map(str, eni.prefixes))} if eni.prefixes else {}
    networks = vpc_networks(options)
    return (
        prefixes
        | _interface_ipv6(eni)
        | {
            "device-number": str(eni.device),
            "interface-id": eni.id,
            "local-hostname": f"ip-{str(eni.address).replace('.', '-')}",
            "local-ipv4s": "\n".join(map(str, own)),
            "mac": eni.mac,
            "owner-id": _OWNER,
            "security-group-ids": _SECURITY_GROUP,
            "subnet-id": subnet_id(node, eni),
            "subnet-ipv4-cidr-block": str(eni.subnet),
            "vpc-id": _VPC_ID,
            "vpc-ipv4-cidr-block": str(networks[0]),
            "vpc-ipv4-cidr-blocks": "\n".join(map(str, networks)),
        }
    )


def _interface_ipv6(eni: Eni) -> dict[str, str]:
    if eni.ipv6 is None:
        return {}
    prefixes = {"ipv6-prefix": "\n".join(map(str, eni.ipv6.prefixes))} if eni.ipv6.prefixes else {}
    return prefixes | {
        "ipv6s": str(eni.ipv6.address),
        "subnet-ipv6-cidr-blocks": str(eni.ipv6.subnet),
        "vpc-ipv6-cidr-blocks": str(VPC_IPV6),
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


def introspection(cluster: Cluster, node: Node, overrides: Mapping[str, object] | None = None) -> dict[str, Any]:
    """Path → JSON, of what ipamd answers on its introspection port. `overrides` stand in place of the CNI's settings."""
    documents = {
        "/v1/enis": {"0": _data_store(node)},
        "/v1/ipamd-env-settings": _ipamd_settings(cluster.options),
        "/v1/networkutils-env-settings": _network_settings(cluster.options) | dict(overrides or {}),
    }
    return {"/": {"AvailableCommands": sorted(documents)}} | documents


def _data_store(node: Node) -> dict[str, Any]:
    """The addresses for pods; an ENI's own is not among them."""
    return {
        "TotalIPs": sum(network.num_addresses for eni in node.enis for network in _delegated(eni)),
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
        "AvailableIPv4Cidrs": {str(network): _cidr(node, network) for network in eni.delegated},
        "IPv6Cidrs": {str(network): _cidr(node, network) for network in _delegated_ipv6(eni)},
        "IsExcludedForPodIPs": False,
        "RouteTableID": 254 if eni.device == 0 else eni.table,
        "SubnetID": subnet_id(node, eni),
    }


def _delegated_ipv6(eni: Eni) -> tuple[IPv6Network, ...]:
    return eni.ipv6.prefixes if eni.ipv6 else ()


def _delegated(eni: Eni) -> tuple[Network, ...]:
    return (*eni.delegated, *_delegated_ipv6(eni))


def _cidr(node: Node, network: Network) -> dict[str, Any]:
    """One address, or a prefix with those of its addresses that pods have."""
    used = {str(pod.address): _allocation(pod) for pod in node.pods if pod.address in network}
    return {
        # Go's net.IPMask in JSON.
        "Cidr": {"IP": str(network.network_address), "Mask": base64.b64encode(network.netmask.packed).decode()},
        "IPAddresses": used,
        "IsPrefix": network.prefixlen < network.max_prefixlen,
        "AddressFamily": "",
    }


def _allocation(pod: Pod) -> dict[str, Any]:
    return {
        "Address": str(pod.address),
        # ipamd blanks the other two since v1.23.
        "IPAMKey": {"networkName": "aws-cni", "containerID": "", "ifName": ""},
        "IPAMMetadata": {"k8sPodNamespace": pod.namespace, "k8sPodName": pod.name, "interfacesCount": 1},
        "AssignedTime": _ASSIGNED_AT,
        "UnassignedTime": _NEVER,
    }


def _network_settings(options: LabOptions) -> dict[str, Any]:
    """pkg/networkutils/network.go, GetConfigForDebug: a list that is not set is null."""
    return {
        "AWS_EXTERNAL_SERVICE_CIDRS": None,
        "AWS_VPC_CNI_NODE_PORT_SUPPORT": options.node_port,
        "AWS_VPC_ENI_MTU": MTU,
        "AWS_VPC_K8S_CNI_CONNMARK": 128,
        "AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS": list(options.exclude_cidrs) or None,
        "AWS_VPC_K8S_CNI_EXTERNALSNAT": options.external_snat,
        "AWS_VPC_K8S_CNI_RANDOMIZESNAT": _RANDOMIZE[options.randomize],
        "AWS_VPC_K8S_CNI_VETHPREFIX": "eni",
    }


def _ipamd_settings(options: LabOptions) -> dict[str, Any]:
    """pkg/ipamd/ipamd.go, GetConfigForDebug; numbers that are not set are 0."""
    return {
        "AWS_MANAGE_ENIS_NON_SCHEDULABLE": False,
        "AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG": options.custom_networking,
        "ENABLE_SUBNET_DISCOVERY": True,
        "WARM_ENI_TARGET": 1,
        "WARM_IP_TARGET": 0,
    }
