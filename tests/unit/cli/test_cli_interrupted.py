"""Ctrl-C before a program is loaded: no traceback, whatever it was importing."""

import subprocess
import sys

import pytest

# Interrupts itself as soon as `module` is looked for.
SCRIPT = """
import os, signal, sys
class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupting())
sys.argv = [{program!r}, "--help"]
{before}
from {package}.__main__ import main
main()
"""


def interrupted(program: str, module: str, before: str = "") -> subprocess.CompletedProcess[str]:
    package = program.replace("-", ".") if "-" in program else f"{program}.cli"
    script = SCRIPT.format(program=program, module=module, package=package, before=before)
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("program", "module"),
    [
        ("pathtap", "pathtap.cli.program"),
        ("pathtap", "click"),
        ("pathtap", "pathtap.v1.trace_pb2"),
        ("pathtap-agent", "click"),
        ("pathtap-agent", "pathtap.agent.config"),
        ("pathtap-collector", "asyncio"),
        ("pathtap-collector", "grpc"),
        ("pathtap-collector", "pathtap.v1.agent_pb2_grpc"),
    ],
)
def test_an_interrupt_while_it_is_loaded_ends_it_quietly(program: str, module: str) -> None:
    ended = interrupted(program, module)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")


def test_who_is_told_to_ignore_interrupts_ignores_them() -> None:
    ended = interrupted("pathtap", "click", "signal.signal(signal.SIGINT, signal.SIG_IGN)")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "Usage: pathtap" in ended.stdout
