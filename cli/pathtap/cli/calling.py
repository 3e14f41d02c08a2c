"""How the program is called, in its own texts: `pathtap trace …`, or `kubectl pathtap trace …` as a plugin of kubectl."""

import re

# As kubectl's plugin; the file is kubectl-pathtap.
KUBECTL_NAME = "kubectl pathtap"
_A_COMMAND = re.compile(r"(?<![\w/.-])(?<!kubectl )pathtap (?=(?:trace|explain|check|flows|snat|nodes)\b)")


def as_called(text: str, name: str) -> str:
    """`text` with its commands as one would type them. The lab's stay: it is no part of a cluster."""
    return _A_COMMAND.sub(f"{KUBECTL_NAME} ", text) if name == KUBECTL_NAME else text
