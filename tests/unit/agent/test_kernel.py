"""What an idle agent does without."""

import subprocess
import sys

HEAVY = ("scapy", "pyroute2", "iptc")


def test_kernel_libraries_are_not_imported_before_they_are_needed() -> None:
    code = "import sys, pathtap.agent.program, pathtap.agent.daemon, pathtap.agent.kernel; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert "pathtap.agent.kernel" in loaded
    assert not [name for name in loaded if name.split(".")[0] in HEAVY]
