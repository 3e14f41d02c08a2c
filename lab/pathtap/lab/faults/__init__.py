"""Named ways to break a lab: what each changes, how that is undone, which trace shows it. Pure; changes nothing.

One module each for ip rules, routes, links and neighbours, filters, NAT and marks, the ports of SNAT, Services, connections.
"""

from pathtap.lab.faults import (
    connections,
    filtering,
    links,
    policy_routing,
    randomness,
    routes,
    services,
    translation,
)
from pathtap.lab.faults.changes import Change, CommandChange, SysctlChange
from pathtap.lab.faults.fault import Fault, Trace

__all__ = ["FAULTS", "Change", "CommandChange", "Fault", "SysctlChange", "Trace"]

FAULTS: tuple[Fault, ...] = (
    *policy_routing.FAULTS,
    *routes.FAULTS,
    *links.FAULTS,
    *filtering.FAULTS,
    *translation.FAULTS,
    *randomness.FAULTS,
    *services.FAULTS,
    *connections.FAULTS,
)
