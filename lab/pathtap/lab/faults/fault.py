"""A fault as a value: what it breaks, the trace that shows it, the findings that name it. Pure; changes nothing."""

from collections.abc import Callable
from dataclasses import dataclass

from pathtap.lab.aws_rules import has_mark_rule
from pathtap.lab.faults.changes import Change
from pathtap.lab.options import LabOptions
from pathtap.lab.topology import Cluster

Changes = Callable[[Cluster], tuple[Change, ...]]


def _always(_options: LabOptions) -> str:
    return ""


def needs_mark_rule(options: LabOptions) -> str:
    """For `Fault.impossible`: where nothing asks for the mark, the CNI neither restores it nor has a rule for it."""
    return "" if has_mark_rule(options) else "A lab without SNAT and without node ports has no ip rule 1024."


def needs_primary_pods(options: LabOptions) -> str:
    """For `Fault.impossible`: custom networking leaves the primary ENI to the node."""
    return "With custom networking no pod is on a primary ENI." if options.custom_networking else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """The words of the trace that shows a fault. Without `port` it is a ping, of `size` bytes where that is not 0."""

    source: str
    destination: str
    port: int = 0
    protocol: str = ""
    size: int = 0
    live: bool = False

    def __str__(self) -> str:
        protocol = f" --protocol {self.protocol}" if self.protocol else ""
        port = f" --port {self.port}" if self.port else ""
        size = f" --size {self.size}" if self.size else ""
        live = " --live" if self.live else ""
        return f"pathtap trace {self.source} to {self.destination}{protocol}{port}{size}{live}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """`breaks` is one line for a person.

    `traced_as` are the codes of findings that `trace` names it by, `checked_as` those of `pathtap check`; empty where no
    configuration tells. `proved_as` is the verdict of `pathtap snat` on its trace's source and destination where that is what it
    breaks, else empty. `impossible` says in a sentence why a lab of these options cannot have it, "" where it can.
    """

    name: str
    breaks: str
    trace: Trace
    changes: Changes
    traced_as: tuple[str, ...]
    checked_as: tuple[str, ...] = ()
    impossible: Callable[[LabOptions], str] = _always
    proved_as: str = ""

    def refusal(self, options: LabOptions) -> str:
        """Why a lab of these options cannot have it, "" where it can. They are written for IPv4 labs, and their own pods."""
        if options.ipv6:
            return f"The fault {self.name} is written for IPv4 labs: build one of the family ipv4 for it."
        if options.kube:
            return f"The fault {self.name} breaks pods that the lab has made itself: build one without --kube for it."
        return self.impossible(options)

    @property
    def shown_by(self) -> str:
        return str(self.trace)

    @property
    def found_as(self) -> str:
        """`CODE, CODE; check: CODE`, the codes of `trace` first."""
        check = f"; check: {', '.join(self.checked_as)}" if self.checked_as else ""
        return f"{', '.join(self.traced_as)}{check}"
