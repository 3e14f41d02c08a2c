"""What would stop a packet beyond the place where it really stopped: in the conditional."""

from dataclasses import replace

from pathtap.model.trace import Finding

# What the sentences of `stops` and `ways` say that the packet does, or is done to it; what they say of the node stays true.
CONDITIONAL = (
    ("drops the packet", "would also drop the packet"),
    ("refuses the packet", "would also refuse the packet"),
    ("takes the packet", "would also take the packet"),
    ("again and again: two routers send it", "again and again, too: two routers would send it"),
    ("the packet comes to", "the packet would come to"),
    (" leaves by ", " would also leave by "),
)


def would_also(finding: Finding) -> Finding:
    text = finding.text
    for indicative, conditional in CONDITIONAL:
        text = text.replace(indicative, conditional, 1)
    return replace(finding, text=text)
