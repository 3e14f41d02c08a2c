"""What a person may choose about a lab; refuses values that cannot be built and knows nothing of how they are."""

import re
from dataclasses import dataclass
from typing import Literal, get_args

from pathtap.lab.errors import LabError

Backend = Literal["nft", "legacy"]
InterfaceNames = Literal["eth", "ens"]
ChainForm = Literal["return", "jump"]
Randomize = Literal["prng", "hashrandom", "none"]

# No hyphen: every namespace is PREFIX-something, so that one lab's prefix is never the beginning of another's.
_PREFIX = re.compile(r"[a-z][a-z0-9]{0,15}")
MOST_NODES = 200


def check_prefix(prefix: str) -> None:
    if not _PREFIX.fullmatch(prefix):
        raise LabError(f"The prefix {prefix!r} must be 1 to 16 lower-case letters and digits, a letter first.")


@dataclass(frozen=True, slots=True, kw_only=True)
class LabOptions:
    """`names` eth means eth0 and eth1, ens means ens5 and ens6. `chains` is the form of the AWS chains: `return` as of
    CNI v1.16.2, `jump` as of v1.8. `randomize` and `external_snat` are the CNI's AWS_VPC_K8S_CNI_RANDOMIZESNAT and
    _EXTERNALSNAT. Raises LabError where a value is none of these.
    """

    prefix: str = "lab"
    nodes: int = 2
    backend: Backend = "nft"
    names: InterfaceNames = "eth"
    chains: ChainForm = "return"
    metadata: bool = True
    external_snat: bool = False
    randomize: Randomize = "prng"

    def __post_init__(self) -> None:
        check_prefix(self.prefix)
        if not 2 <= self.nodes <= MOST_NODES:
            raise LabError(f"A lab has 2 to {MOST_NODES} nodes, not {self.nodes}.")
        choices = {"backend": Backend, "names": InterfaceNames, "chains": ChainForm, "randomize": Randomize}
        for name, literal in choices.items():
            value, allowed = getattr(self, name), get_args(literal)
            if value not in allowed:
                raise LabError(f"{name} is one of {', '.join(allowed)}, not {value!r}.")
