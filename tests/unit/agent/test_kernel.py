"""What an idle agent does without, and what its worker does until it is asked."""

import subprocess
import sys

HEAVY = {"scapy", "pyroute2", "iptc", "numpy"}


def loaded_with(*modules: str) -> list[str]:
    code = f"import sys, {', '.join(modules)}; print(*sys.modules)"
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()


def roots(names: list[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


def test_the_agent_holds_no_library_of_the_kernel_and_nothing_of_its_workers() -> None:
    loaded = loaded_with(
        "pathtap.agent.__main__", "pathtap.agent.program", "pathtap.agent.daemon", "pathtap.agent.launch"
    )
    assert "pathtap.agent.daemon" in loaded
    assert roots(loaded) & HEAVY == set()
    own = {
        "pathtap.agent.kernel",
        "pathtap.agent.workbench",
        "pathtap.agent.spool",
        "pathtap.wire",
        "pathtap.model.node",
    }
    assert own & set(loaded) == set()


def test_a_worker_loads_what_a_command_needs_with_that_command() -> None:
    loaded = loaded_with("pathtap.agent.worker_process")
    assert "pathtap.agent.kernel" in loaded
    assert roots(loaded) & {*HEAVY, "grpc", "click"} == set()
