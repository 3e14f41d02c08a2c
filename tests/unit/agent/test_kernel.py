"""What an idle agent does without, and what it reads no more often than it must."""

import subprocess
import sys
import time
from unittest import mock

from pathtap.agent.kernel import FRESH, KernelNode
from pathtap.model.node import Interface, NodeSnapshot, Role

HEAVY = ("scapy", "pyroute2", "iptc")


def test_kernel_libraries_are_not_imported_before_they_are_needed() -> None:
    code = "import sys, pathtap.agent.__main__, pathtap.agent.daemon, pathtap.agent.kernel; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert "pathtap.agent.kernel" in loaded
    assert not [name for name in loaded if name.split(".")[0] in HEAVY]


def test_the_interfaces_of_a_fresh_snapshot_serve_to_arm() -> None:
    eth0 = Interface(index=2, name="eth0", role=Role.PRIMARY_ENI, mac="", mtu=1500, up=True)
    node = KernelNode("node-a", "b007")
    reads: list[int] = []

    def read() -> NodeSnapshot:
        reads.append(time.time_ns())
        node._latest = NodeSnapshot(node="node-a", boot_id="b007", taken_at=reads[-1], interfaces=(eth0,))
        return node._latest

    with mock.patch.object(KernelNode, "read_snapshot", side_effect=read):
        assert node._interfaces() == (eth0,)
        assert node._interfaces() == (eth0,)
        assert len(reads) == 1
        node._latest = NodeSnapshot(node="node-a", boot_id="b007", taken_at=reads[0] - 2 * FRESH)
        assert node._interfaces() == (eth0,)
    assert len(reads) == 2
