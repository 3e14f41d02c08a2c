"""What every constructor of a finding shares. Knows no code."""

from collections.abc import Sequence

from pathtap.model.trace import Evidence, Finding, Severity

Proof = Sequence[Evidence]


def error(code: str, node: str, text: str, fix: str, proof: Proof) -> Finding:
    return Finding(code=code, severity=Severity.ERROR, node=node, text=text, fix=fix, evidence=tuple(proof))


def warning(code: str, node: str, text: str, fix: str, proof: Proof) -> Finding:
    return Finding(code=code, severity=Severity.WARNING, node=node, text=text, fix=fix, evidence=tuple(proof))
