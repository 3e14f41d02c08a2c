"""The node as its kernel shows it: every command's real work, imported when first asked for. Decides nothing.

Readers, capture and probe bring scapy, pyroute2 and iptc with them, tens of megabytes that an idle agent does without.
"""

import os


class KernelNode:
    """Reads the network namespace that the process runs in."""

    def __init__(self, name: str, boot_id: str) -> None:
        self._name = name
        self._boot_id = boot_id

    def kernel_release(self) -> str:
        """As `uname -r` prints it."""
        return os.uname().release
