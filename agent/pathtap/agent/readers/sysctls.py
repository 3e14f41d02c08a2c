"""Reads the sysctls that decide how the node forwards, of this network namespace. Reads no others."""

from pathlib import Path

from pathtap.agent.readers.netlink import readable

ROOT = Path("/proc/sys")

_PER_INTERFACE = {
    "ipv4": ("rp_filter", "forwarding", "src_valid_mark", "accept_local", "route_localnet", "proxy_arp"),
    "ipv6": ("forwarding", "disable_ipv6", "accept_ra"),
}
# A kernel without a feature lacks its file: such a name is left out. The count and the bucket number belong to the
# conntrack module, be_liberal and loose to its TCP tracker (nf_conntrack_standalone.c).
_SINGLE = (
    "net.ipv4.ip_forward",
    "net.ipv4.ip_early_demux",
    "net.ipv4.tcp_early_demux",
    "net.ipv4.udp_early_demux",
    "net.ipv4.fwmark_reflect",
    "net.ipv4.tcp_fwmark_accept",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.fib_multipath_hash_policy",
    "net.ipv4.vs.conntrack",
    "net.ipv6.fib_multipath_hash_policy",
    "net.bridge.bridge-nf-call-iptables",
    "net.netfilter.nf_conntrack_max",
    "net.netfilter.nf_conntrack_count",
    "net.netfilter.nf_conntrack_tcp_be_liberal",
    "net.netfilter.nf_conntrack_tcp_loose",
)


def fetch(root: Path = ROOT) -> dict[str, str]:
    """The files' text by dotted name; an interface's own dots are kept (`net.ipv4.conf.vlan.eth.1.rp_filter`).

    Raises OSError where `net` cannot be listed or a file that is there cannot be read.
    """
    paths = {name: root.joinpath(*name.split(".")) for name in _SINGLE}
    for family, leaves in _PER_INTERFACE.items():
        conf = root / "net" / family / "conf"
        if family == "ipv6" and not conf.is_dir():
            continue
        for directory in conf.iterdir():
            for leaf in leaves:
                paths[f"net.{family}.conf.{readable(directory.name)}.{leaf}"] = directory / leaf
    return {name: text for name, path in paths.items() if (text := _text(path)) is not None}


def decode(texts: dict[str, str]) -> dict[str, str]:
    """By name in order, with runs of white space made one blank."""
    return {name: " ".join(text.split()) for name, text in sorted(texts.items())}


def _text(path: Path) -> str | None:
    try:
        return path.read_text()
    except FileNotFoundError:
        # Absent in this kernel, or the interface went while it was listed.
        return None
