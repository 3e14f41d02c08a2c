"""Cells beside the matrix: what is set and what is in effect part, or two writers would translate. Pure."""

from dataclasses import replace
from ipaddress import IPv4Network

from pathtap.lab.cluster import INTERNET
from pathtap.lab.options import Backend as Program
from pathtap.model.netfilter import Backend, Random
from pathtap.model.snat import SnatVerdict
from translation.matrix import AS_SET, NOT_AS_SET, effect
from translation.scene import (
    EXCLUDED_NETWORK,
    HOST_POD,
    INTERNET_ADDRESS,
    PEER_ADDRESS,
    POD,
    RANDOMIZE,
    Asked,
    Calico,
    Cell,
    Effect,
    Scene,
)

_OUTSIDE = Asked(source=POD, destination=INTERNET_ADDRESS, port=443)
_AWS = "AWS-SNAT-CHAIN-0"
_STORES: dict[Program, Backend] = {"legacy": Backend.LEGACY, "nft": Backend.NFT}
# NF_IP_PRI_NAT_SRC, where iptables' nat POSTROUTING is.
_SAME_PRIORITY = 100
# The cart's and the web's, as an IPPool for pods alone has them; the node's address is not in it.
_PODS = ("192.168.1.32/28",)


def further_cells() -> tuple[Cell, ...]:
    of_both = (
        cell
        for program in _STORES
        for cell in (*_flags_that_part(program), *_egress(program), *_calico_and_aws(program), *_pools(program))
    )
    return (*of_both, *_orders_unread())


def _flags_that_part(program: Program) -> tuple[Cell, ...]:
    """What the CNI is set to, and the flag that its rule really has."""
    not_in_effect = SnatVerdict.NOT_IN_EFFECT
    parting = (
        (Random.FULLY, Random.NONE, not_in_effect),
        # networkutils falls back to --random where iptables does not know --random-fully.
        (Random.FULLY, Random.RANDOM, not_in_effect),
        (Random.RANDOM, Random.NONE, SnatVerdict.NOT_RANDOM),
        (Random.RANDOM, Random.FULLY, SnatVerdict.FULLY_RANDOM),
        (Random.NONE, Random.FULLY, SnatVerdict.FULLY_RANDOM),
        (Random.NONE, Random.RANDOM, SnatVerdict.RANDOM_NOT_FULLY),
    )
    return tuple(
        Cell(
            name=f"set to {wanted.value}, rule with {real.value}, {_STORES[program].value}",
            scene=Scene(backend=program, randomize=RANDOMIZE[wanted], snat_flag=real),
            asked=_OUTSIDE,
            effect=effect(real, _STORES[program], _AWS, NOT_AS_SET, verdict),
        )
        for wanted, real, verdict in parting
    )


def _egress(program: Program) -> tuple[Cell, ...]:
    """The pod was begun while the plugin was set otherwise, whose chain stays as it was."""
    return (
        Cell(
            name=f"egress-cni set to fully, its chain with none, {_STORES[program].value}",
            scene=Scene(backend=program, family="ipv6", snat_flag=Random.NONE),
            asked=_OUTSIDE,
            effect=effect(Random.NONE, _STORES[program], "CNI-E4-", NOT_AS_SET, SnatVerdict.NOT_IN_EFFECT),
        ),
    )


def _calico_and_aws(program: Program) -> tuple[Cell, ...]:
    """Calico's rule comes first, and the CNI's behind it has another flag."""
    stores = (_STORES[program], *((Backend.NFTABLES,) if program == "nft" else ()))
    parting = (
        (Random.FULLY, Random.NONE, SnatVerdict.NOT_IN_EFFECT, NOT_AS_SET),
        (Random.FULLY, Random.RANDOM, SnatVerdict.NOT_IN_EFFECT, NOT_AS_SET),
        (Random.NONE, Random.FULLY, SnatVerdict.FULLY_RANDOM, NOT_AS_SET),
        (Random.RANDOM, Random.NONE, SnatVerdict.NOT_RANDOM, NOT_AS_SET),
    )
    return tuple(
        Cell(
            name=f"CNI with {behind.value} behind Calico with {first.value}, {store.value}",
            scene=Scene(backend=program, randomize=RANDOMIZE[behind], calico=calico),
            asked=_OUTSIDE,
            effect=effect(first, store, calico.chain, code, verdict),
        )
        for store in stores
        for behind, first, verdict, code in parting
        for calico in (Calico(store=store, flag=first),)
    )


def _pools(program: Program) -> tuple[Cell, ...]:
    """Which of the two translates, where their exemptions part."""
    store = _STORES[program]
    calico = Calico(store=store, flag=Random.NONE)
    first = Calico(store=store, flag=Random.FULLY)
    to_peer = replace(_OUTSIDE, destination=PEER_ADDRESS)
    excluded = Scene(backend=program, exclude_cidrs=(EXCLUDED_NETWORK,))
    aws = effect(Random.FULLY, store, _AWS)
    outside = replace(calico, further_pools=(str(IPv4Network(INTERNET.network)),))
    cells: tuple[tuple[str, Scene, Asked, Effect], ...] = (
        ("excluded by Calico alone", Scene(backend=program, calico=outside), _OUTSIDE, aws),
        (
            "excluded by the CNI alone, Calico with none",
            replace(excluded, calico=calico),
            to_peer,
            effect(Random.NONE, store, calico.chain, NOT_AS_SET),
        ),
        (
            "excluded by the CNI alone, Calico with fully",
            replace(excluded, calico=first),
            to_peer,
            effect(Random.FULLY, store, calico.chain, AS_SET),
        ),
        (
            "pools without the node's address, hostNetwork",
            Scene(backend=program, calico=replace(calico, pools=_PODS)),
            replace(_OUTSIDE, source=HOST_POD),
            aws,
        ),
    )
    return tuple(
        Cell(name=f"{name}, {store.value}", scene=scene, asked=asked, effect=effected)
        for name, scene, asked, effected in cells
    )


def _orders_unread() -> tuple[Cell, ...]:
    """Two chains of one hook have one priority: the kernel's order is that of their registration, the latest first, and nobody
    can read it. Here Calico's is the later one.
    """
    parting = (
        (Random.FULLY, Random.NONE, SnatVerdict.NOT_IN_EFFECT, NOT_AS_SET),
        (Random.FULLY, Random.FULLY, SnatVerdict.FULLY_RANDOM, AS_SET),
        (Random.NONE, Random.FULLY, SnatVerdict.FULLY_RANDOM, NOT_AS_SET),
        (Random.NONE, Random.NONE, SnatVerdict.NOT_RANDOM, AS_SET),
    )
    return tuple(
        Cell(
            name=f"CNI with {behind.value} beside Calico with {first.value} at one priority",
            scene=Scene(randomize=RANDOMIZE[behind], calico=calico),
            asked=_OUTSIDE,
            effect=replace(effect(first, Backend.NFTABLES, calico.chain, code, verdict), order_read=False),
        )
        for behind, first, verdict, code in parting
        for calico in (Calico(store=Backend.NFTABLES, flag=first, priority=_SAME_PRIORITY),)
    )
