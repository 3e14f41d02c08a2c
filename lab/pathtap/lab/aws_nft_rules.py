"""The VPC CNI's own nftables table as text for `nft -f`. Pure; runs nothing.

Source: amazon-vpc-cni-k8s v1.23 pkg/networkutils/nftables_connmark.go. SNAT and mangle stay with iptables-nft.
"""

from pathtap.lab.cluster import vpc_networks
from pathtap.lab.options import LabOptions


def aws_table(options: LabOptions) -> str:
    """Table `ip aws-cni`, which marks what goes outside; empty where the CNI writes none."""
    if options.chains != "native" or options.external_snat:
        return ""
    # Each CIDR is inserted before those that are there.
    exempt = reversed((*vpc_networks(options), *options.excluded_networks))
    returns = "".join(f"    counter ip daddr {network} return\n" for network in exempt)
    return f"""table ip aws-cni {{
  chain nat-prerouting {{
    type nat hook prerouting priority -90; policy accept;
    fib daddr type local return
    iifname "eni*" counter jump snat-mark
    counter meta mark set ct mark & 0x80
  }}
  chain snat-mark {{
{returns}    counter ct mark set ct mark | 0x80
  }}
}}
"""
