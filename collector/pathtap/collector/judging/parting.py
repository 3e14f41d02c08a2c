"""Where what was expected and what was observed part, in a sentence. Pure; judges neither.

Compares node by node by which interface the packet was to leave and left. What lies between the nodes nobody watches.
"""

from itertools import zip_longest

from pathtap.model.trace import Action, Hop, Path

ENDED = (Action.DROPPED, Action.REJECTED)
STAYED = (*ENDED, Action.DELIVERED)


def parting(seen: Path, expected: Path) -> str:
    """Empty where they do not part, or nothing was expected; else without its full stop."""
    for here, there in zip_longest(seen.hops, expected.hops):
        if there is None:
            return ""
        if here is None:
            # What the VPC was to drop between the nodes is not expected on the next one.
            return f"the configuration leads it on to {there.node}, where it was not seen"
        if here.node != there.node:
            return f"the configuration leads it to {there.node}, and it was seen on {here.node}"
        if here.egress != there.egress:
            return _at(here, there)
    return ""


def _at(here: Hop, there: Hop) -> str:
    if any(step.action in ENDED for step in there.steps) and not here.egress:
        return ""
    if not there.egress and not any(step.action in STAYED for step in there.steps):
        # What the configuration would do could not be told.
        return ""
    if not there.egress:
        return f"the configuration lets it go no further than {here.node}, and it was seen leaving by {here.egress}"
    if not here.egress:
        return f"the configuration has it leave {here.node} by {there.egress}, where it was not seen"
    return f"the configuration has it leave {here.node} by {there.egress}, and it was seen leaving by {here.egress}"
