"""The CNI's second plugin, switched off: `python -m pathtap.lab.kube.egress_cni`, containerd's /opt/cni/bin/egress-cni.

Where its configuration says that it is not enabled, as in every IPv4 cluster, the VPC CNI's egress-cni hands on what the
plugin before it answered (cmd/egress-cni-plugin). The standard library alone: it runs for every pod.
"""

import json
import os
import sys
from collections.abc import Mapping
from typing import Any


def answer(command: str, config: Mapping[str, Any]) -> object:
    """What is to be printed, None for nothing."""
    return config.get("prevResult") if command == "ADD" else None


if __name__ == "__main__":
    text = sys.stdin.read()
    told = answer(os.environ.get("CNI_COMMAND", ""), json.loads(text) if text.strip() else {})
    if told is not None:
        json.dump(told, sys.stdout)
