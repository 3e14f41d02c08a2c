"""Every combination of flag, store, writer and situation: a cell that can be had, or the reason why there is none. Pure."""

from dataclasses import dataclass
from enum import Enum
from itertools import product

from pathtap.lab.topology import WEB_NODE_PORT
from pathtap.model.netfilter import Backend, Random
from pathtap.model.snat import SnatVerdict
from translation.scene import (
    EXCLUDED_NETWORK,
    HOST_POD,
    INTERNET_ADDRESS,
    NODE_ADDRESS,
    PEER_ADDRESS,
    POD,
    RANDOMIZE,
    Asked,
    Calico,
    Cell,
    Effect,
    Scene,
)


class Writer(Enum):
    AWS_RETURN = "AWS chain, RETURN form"
    AWS_JUMP = "AWS chains, jump form"
    KUBE_PROXY = "kube-proxy's MASQUERADE"
    CALICO = "Calico with sets"
    EGRESS_CNI = "egress-cni"


class Situation(Enum):
    IN_FORCE = "in force"
    EXCLUDED = "excluded CIDR"
    EXTERNAL = "external SNAT"
    HOST_NETWORK = "hostNetwork"


FLAGS = tuple(Random)
STORES = tuple(Backend)
OF_FLAG = {
    Random.FULLY: SnatVerdict.FULLY_RANDOM,
    Random.RANDOM: SnatVerdict.RANDOM_NOT_FULLY,
    Random.NONE: SnatVerdict.NOT_RANDOM,
}
AS_SET, NOT_AS_SET = 0, 3


@dataclass(frozen=True, slots=True)
class Place:
    """One combination of the product."""

    flag: Random
    store: Backend
    writer: Writer
    situation: Situation

    def __str__(self) -> str:
        return ", ".join(each.value for each in (self.writer, self.situation, self.store, self.flag))


def places() -> tuple[Place, ...]:
    return tuple(
        Place(flag, store, writer, situation)
        for writer, situation, store, flag in product(Writer, Situation, STORES, FLAGS)
    )


def impossible(place: Place) -> str:
    """Why no node has this, in a sentence; "" where one can have it."""
    if place.store is not Backend.NFTABLES:
        return ""
    if place.writer in (Writer.AWS_RETURN, Writer.AWS_JUMP):
        return "The VPC CNI writes its SNAT rule by iptables in every version: with v1.23 its marks alone went to nftables."
    if place.writer is Writer.EGRESS_CNI:
        return "The egress-cni plugin writes its chains by iptables in every version."
    return ""


def cell(place: Place) -> Cell:
    """Where the CNI is set to the flag that is asked about, as ipamd tells; ValueError where `impossible` says why not."""
    if reason := impossible(place):
        raise ValueError(reason)
    makers = {
        Writer.AWS_RETURN: _aws,
        Writer.AWS_JUMP: _aws,
        Writer.KUBE_PROXY: _kube_proxy,
        Writer.CALICO: _calico,
        Writer.EGRESS_CNI: _egress_cni,
    }
    return makers[place.writer](place)


def cells() -> tuple[Cell, ...]:
    """All that can be had."""
    return tuple(cell(place) for place in places() if not impossible(place))


def effect(
    flag: Random,
    store: Backend,
    chain: str,
    exit_code: int = AS_SET,
    verdict: SnatVerdict | None = None,
) -> Effect:
    """A rule of `chain` with `flag` translates."""
    return Effect(verdict=verdict or OF_FLAG[flag], store=store, chain=chain, flag=flag, exit_code=exit_code)


def untranslated(exit_code: int = AS_SET) -> Effect:
    return Effect(verdict=SnatVerdict.NOT_TRANSLATED, exit_code=exit_code)


def base(place: Place, **changes: object) -> Scene:
    """The node as the situation has it, without the writer's own."""
    given: dict[str, object] = {
        "backend": "legacy" if place.store is Backend.LEGACY else "nft",
        "randomize": RANDOMIZE[place.flag],
        "exclude_cidrs": (EXCLUDED_NETWORK,) if place.situation is Situation.EXCLUDED else (),
        "external_snat": place.situation is Situation.EXTERNAL,
    }
    return Scene(**(given | changes))  # type: ignore[arg-type]  # a test's short form


def _asked(place: Place) -> Asked:
    """What leaves the VPC: to the network that is excluded where one is."""
    source = HOST_POD if place.situation is Situation.HOST_NETWORK else POD
    outside = PEER_ADDRESS if place.situation is Situation.EXCLUDED else INTERNET_ADDRESS
    return Asked(source=source, destination=outside, port=443)


def _aws(place: Place) -> Cell:
    form = "return" if place.writer is Writer.AWS_RETURN else "jump"
    keeps = place.situation in (Situation.EXCLUDED, Situation.EXTERNAL)
    # The jump form has a chain for each CIDR that is exempt, here the VPC's, and one more.
    chain = "AWS-SNAT-CHAIN-0" if form == "return" else "AWS-SNAT-CHAIN-1"
    return Cell(
        name=str(place),
        scene=base(place, chains=form),
        asked=_asked(place),
        effect=untranslated() if keeps else effect(place.flag, place.store, chain),
    )


def _others(flag: Random) -> int:
    """Of what the CNI exempts nobody tells what it is set to: the code says whether it is fully random."""
    return AS_SET if flag is Random.FULLY else NOT_AS_SET


def _kube_proxy(place: Place) -> Cell:
    """A node port of the source's own node: its backend is on the other one, or outside in the excluded network."""
    native = place.store is Backend.NFTABLES
    scene = base(
        place,
        kube_proxy="nftables" if native else "iptables",
        chains="native" if native else "return",
        kube_flag=place.flag,
        served_outside=place.situation is Situation.EXCLUDED,
    )
    asked = Asked(source=_asked(place).source, destination=NODE_ADDRESS, port=WEB_NODE_PORT)
    chain = "masquerading" if native else "KUBE-POSTROUTING"
    return Cell(
        name=str(place), scene=scene, asked=asked, effect=effect(place.flag, place.store, chain, _others(place.flag))
    )


def _calico(place: Place) -> Cell:
    """Calico masquerades what leaves its pools, before the CNI does: an IPPool that holds the VPC, so the node's address too.

    In the situation of an excluded CIDR it is excluded in both: an IPPool that is disabled holds it.
    """
    excluded = place.situation is Situation.EXCLUDED
    calico = Calico(store=place.store, flag=place.flag, further_pools=(EXCLUDED_NETWORK,) if excluded else ())
    external = place.situation is Situation.EXTERNAL
    translated = effect(place.flag, place.store, calico.chain, _others(place.flag) if external else AS_SET)
    return Cell(
        name=str(place),
        scene=base(place, calico=calico),
        asked=_asked(place),
        effect=untranslated() if excluded else translated,
    )


def _egress_cni(place: Place) -> Cell:
    """The plugin knows neither excluded CIDRs nor external SNAT, and is not called for pods of the host's network."""
    host = place.situation is Situation.HOST_NETWORK
    return Cell(
        name=str(place),
        scene=base(place, family="ipv6"),
        asked=_asked(place),
        effect=untranslated() if host else effect(place.flag, place.store, "CNI-E4-"),
    )
