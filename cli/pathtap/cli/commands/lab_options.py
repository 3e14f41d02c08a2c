"""The options of `pathtap lab up`, as a person types them. The lab itself says which of them go together."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

Function = TypeVar("Function", bound=Callable[..., Any])

_OPTIONS = (
    click.option("--nodes", type=click.IntRange(2, 200), default=2, show_default=True, help="How many."),
    click.option(
        "--backend",
        type=click.Choice(["nft", "legacy"]),
        default="nft",
        show_default=True,
        help="Which iptables writes the nodes' rules.",
    ),
    click.option(
        "--names",
        type=click.Choice(["eth", "ens"]),
        default="eth",
        show_default=True,
        help="The ENIs: eth0, eth1 or ens5, ens6.",
    ),
    click.option(
        "--chains",
        type=click.Choice(["return", "jump", "native"]),
        help="The AWS chains as of CNI v1.16.2 (return), v1.8 (jump) or v1.23 with nft (native). "
        "return unless told; native with --kube-proxy nftables.",
    ),
    click.option(
        "--kube-proxy",
        type=click.Choice(["iptables", "nftables"]),
        default="iptables",
        show_default=True,
        help="kube-proxy's mode; nftables needs --backend nft.",
    ),
    click.option(
        "--metadata/--no-metadata",
        default=True,
        show_default=True,
        help="Serve IMDSv2 and ipamd's introspection on each node.",
    ),
    click.option(
        "--randomize",
        type=click.Choice(["prng", "hashrandom", "none"]),
        default="prng",
        show_default=True,
        help="AWS_VPC_K8S_CNI_RANDOMIZESNAT: source ports by --random-fully, by --random, or kept.",
    ),
    click.option(
        "--external-snat/--no-external-snat",
        default=False,
        show_default=True,
        help="AWS_VPC_K8S_CNI_EXTERNALSNAT: nodes leave SNAT to others.",
    ),
    click.option(
        "--node-port/--no-node-port",
        default=True,
        show_default=True,
        help="AWS_VPC_CNI_NODE_PORT_SUPPORT: answers for node ports leave by the ENI they came by.",
    ),
    click.option(
        "--exclude-cidr",
        "exclude_cidrs",
        metavar="CIDR",
        multiple=True,
        help="Of AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS. Repeatable; the lab's peer is in 203.0.113.0/24.",
    ),
    click.option(
        "--vpc-cidrs", type=click.IntRange(1, 2), default=1, show_default=True, help="2: the VPC has 100.64.0.0/16 too."
    ),
    click.option(
        "--custom-networking",
        is_flag=True,
        help="AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG: all pods on secondary ENIs in the second VPC CIDR.",
    ),
    click.option("--prefix-mode", is_flag=True, help="ENABLE_PREFIX_DELEGATION: ENIs own /28 prefixes."),
    click.option(
        "--family",
        type=click.Choice(["ipv4", "ipv6"]),
        default="ipv4",
        show_default=True,
        help="Of pods and services. ipv6: pods have their IPv4 from egress-cni.",
    ),
    click.option(
        "--processes/--no-processes",
        default=True,
        show_default=True,
        help="Run a collector, and an agent on each node.",
    ),
    click.option(
        "--kube",
        is_flag=True,
        help="A real Kubernetes in place of the lab's own pods, services, collector and agents. Takes KUBEBUILDER_ASSETS.",
    ),
    click.option(
        "--image",
        "images",
        metavar="FILE",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        multiple=True,
        help="With --kube: an image for every node, as `docker save` writes it. Repeatable.",
    ),
)


def up_options(function: Function) -> Function:
    """All of them, in the order in which --help shows them."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function
