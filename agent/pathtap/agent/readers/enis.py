"""What an ENI is said to be by those who know: the shape that IMDS and ipamd answers are decoded into. Does no I/O."""

from dataclasses import dataclass

from pathtap.model.address import Network


@dataclass(frozen=True, slots=True, kw_only=True)
class Eni:
    """One ENI of this node.

    `mac` is empty where ipamd alone told of it. `addresses` are those that the VPC delivers to it, as /32, /128 or
    delegated prefix. `table` is its route table, where ipamd says so (RouteTableID, v1.20 and later).
    """

    id: str
    device_number: int
    mac: str = ""
    primary: bool = False
    addresses: tuple[Network, ...] = ()
    table: int | None = None


class UnexpectedAnswerError(ValueError):
    """A metadata service answered with something that is not its protocol; the message is a sentence."""


def merge(from_imds: tuple[Eni, ...], from_ipamd: tuple[Eni, ...]) -> tuple[Eni, ...]:
    """One record for each id: IMDS knows the MAC and the ENI's own address, ipamd the table and the newest addresses."""
    ipamd = {eni.id: eni for eni in from_ipamd}
    imds = {eni.id: eni for eni in from_imds}
    return tuple(_merged(imds.get(key), ipamd.get(key)) for key in dict.fromkeys([*imds, *ipamd]))


def _merged(imds: Eni | None, ipamd: Eni | None) -> Eni:
    if imds is None or ipamd is None:
        known = imds or ipamd
        assert known is not None  # noqa: S101 - a key comes from one of the two
        return known
    return Eni(
        id=imds.id,
        device_number=imds.device_number,
        mac=imds.mac,
        primary=imds.primary,
        addresses=tuple(dict.fromkeys([*imds.addresses, *ipamd.addresses])),
        table=ipamd.table,
    )
