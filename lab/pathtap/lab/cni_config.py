"""The CNI configuration of a node, as aws-node writes it for the container runtime. Pure; `pathtap.lab.build` writes the file.

Shape: the list of plugins of amazon-vpc-cni-k8s v1.13 and later (cmd/aws-vpc-cni/main.go), where settings are texts.
"""

from typing import Any

from pathtap.lab.cluster import EGRESS_NETWORK, Node
from pathtap.lab.options import LabOptions
from pathtap.lab.topology import MTU

FILE = "10-aws.conflist"
_LOG_LEVEL = "DEBUG"
_IPV4_EGRESS = {"ranges": str(EGRESS_NETWORK), "routes": "0.0.0.0/0", "dataDir": "/run/cni/v6pd/egress-v4-ipam"}
_IPV6_EGRESS = {"ranges": "fd00::ac:00/118", "routes": "::/0", "dataDir": "/run/cni/v4pd/egress-v6-ipam"}


def cni_config(options: LabOptions, node: Node) -> dict[str, Any]:
    """The egress-cni plugin is there always, and enabled where the cluster is one of IPv6: ENABLE_V6_EGRESS is off."""
    return {
        "cniVersion": "0.4.0",
        "name": "aws-cni",
        "disableCheck": True,
        "plugins": [
            {
                "name": "aws-cni",
                "type": "aws-cni",
                "vethPrefix": "eni",
                "mtu": str(MTU),
                "podSGEnforcingMode": "strict",
                "pluginLogFile": "/var/log/aws-routed-eni/plugin.log",
                "pluginLogLevel": _LOG_LEVEL,
            },
            _egress(options, node),
            {"type": "portmap", "capabilities": {"portMappings": True}, "snat": True},
        ],
    }


def _egress(options: LabOptions, node: Node) -> dict[str, Any]:
    """The plugin for the IP version that the cluster's pods do not have."""
    version, told = ("v4", _IPV4_EGRESS) if options.ipv6 else ("v6", _IPV6_EGRESS)
    return {
        "name": "egress-cni",
        "type": "egress-cni",
        "mtu": str(MTU),
        "enabled": "true" if options.ipv6 else "false",
        "randomizeSNAT": options.randomize,
        # The node's address of that version; in an IPv4 lab it has none.
        "nodeIP": str(node.address) if options.ipv6 else "",
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": told["ranges"]}]],
            "routes": [{"dst": told["routes"]}],
            "dataDir": told["dataDir"],
        },
        "pluginLogFile": f"/var/log/aws-routed-eni/egress-{version}-plugin.log",
        "pluginLogLevel": _LOG_LEVEL,
    }
