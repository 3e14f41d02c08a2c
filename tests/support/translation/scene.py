"""A node's rules and settings as values, what is asked of it, and what must come of that. Pure."""

from dataclasses import dataclass
from ipaddress import IPv4Address

from pathtap.lab.cluster import INTERNET, PEER, VPC
from pathtap.lab.options import Backend as Program
from pathtap.lab.options import ChainForm, Family, KubeProxy, LabOptions, Randomize
from pathtap.model.netfilter import Backend, Random
from pathtap.model.snat import SnatVerdict

RANDOMIZE: dict[Random, Randomize] = {Random.FULLY: "prng", Random.RANDOM: "hashrandom", Random.NONE: "none"}
POD, HOST_POD = "shop/cart", "kube-system/node-exporter-1"
INTERNET_ADDRESS, PEER_ADDRESS = INTERNET.address, PEER.address
NODE_ADDRESS = IPv4Address("192.168.1.29")
EXCLUDED_NETWORK = str(PEER.network)
# Calico's hooks run before those of iptables, whose NAT of sources has the priority 100.
_BEFORE_IPTABLES = 99


@dataclass(frozen=True, slots=True, kw_only=True)
class Calico:
    """`pools` are the IPPools with natOutgoing; those and `further_pools` are not translated towards.

    `priority` is that of its hook where `store` is native.
    """

    store: Backend
    flag: Random
    pools: tuple[str, ...] = (str(VPC),)
    further_pools: tuple[str, ...] = ()
    priority: int = _BEFORE_IPTABLES

    @property
    def chain(self) -> str:
        return "nat-cali-nat-outgoing" if self.store is Backend.NFTABLES else "cali-nat-outgoing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Node 1 of a lab. The first seven are the lab's options; `randomize` is what the CNI is set to.

    `snat_flag` is the flag of its rules where that is another than was asked for; `kube_flag` that of kube-proxy's. With
    `served_outside` the node port leads to the peer, else to the pod of the other node.
    """

    backend: Program = "nft"
    family: Family = "ipv4"
    chains: ChainForm = "return"
    randomize: Randomize = "prng"
    external_snat: bool = False
    exclude_cidrs: tuple[str, ...] = ()
    kube_proxy: KubeProxy = "iptables"
    snat_flag: Random | None = None
    kube_flag: Random = Random.FULLY
    calico: Calico | None = None
    served_outside: bool = False

    @property
    def is_native(self) -> bool:
        """Whether a table of nftables' own is part of it."""
        return self.kube_proxy == "nftables" or (self.calico is not None and self.calico.store is Backend.NFTABLES)

    def options(self, prefix: str) -> LabOptions:
        return LabOptions(
            prefix=prefix,
            backend=self.backend,
            family=self.family,
            chains=self.chains,
            randomize=self.randomize,
            external_snat=self.external_snat,
            exclude_cidrs=self.exclude_cidrs,
            kube_proxy=self.kube_proxy,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """TCP, always."""

    source: str
    destination: IPv4Address
    port: int

    @property
    def words(self) -> tuple[str, ...]:
        return self.source, "to", str(self.destination), "--port", str(self.port)


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What must come out. `store`, `chain` (its beginning) and `flag` are the first rule's; None and empty where none translates.

    Where the order of two chains cannot be read, `order_read` is False: the kernel's first rule is then one of several for us.
    `kept` is whether ports are kept, None where nothing is translated.
    """

    verdict: SnatVerdict
    exit_code: int
    store: Backend | None = None
    chain: str = ""
    flag: Random | None = None
    order_read: bool = True

    @property
    def kept(self) -> bool | None:
        return None if self.flag is None else self.flag is Random.NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    name: str
    scene: Scene
    asked: Asked
    effect: Effect
