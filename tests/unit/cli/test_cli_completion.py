from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from click.testing import Result

from pathtap.lab.options import LabOptions
from pathtap.lab.state import LabState, StateDirectory

Run = Callable[..., Result]


@pytest.fixture
def offered(run: Run, served: Any) -> Callable[..., list[str]]:
    """What bash would offer for the words so far, the last of them incomplete."""
    served.collector.names = ("shop/cart", "shop/redis", "node/ip-192-168-1-29", "svc/shop/web")

    def complete(*words: str, address: str = served.address) -> list[str]:
        result = run(
            _PATHTAP_COMPLETE="bash_complete",
            COMP_WORDS=" ".join(["pathtap", "--collector", address, *words]),
            COMP_CWORD=str(len(words) + 2),
        )
        assert result.stderr == ""
        return [line.partition(",")[2] for line in result.stdout.splitlines() if line]

    return complete


def test_source_then_to_then_destination(offered: Callable[..., list[str]]) -> None:
    assert offered("trace", "shop/") == ["shop/cart", "shop/redis"]
    assert offered("trace", "s") == ["shop/cart", "shop/redis"]
    assert offered("trace", "shop/cart", "t") == ["to"]
    assert offered("trace", "shop/cart", "to", "s") == ["shop/cart", "shop/redis", "svc/shop/web"]
    assert offered("trace", "shop/cart", "to", "shop/redis", "s") == []
    assert offered("flows", "node/") == ["node/ip-192-168-1-29"]


def test_bare_names_are_those_of_the_namespace_that_was_given(offered: Callable[..., list[str]], served: Any) -> None:
    offered("-n", "shop", "trace", "ca")
    assert (served.collector.asked[-1].prefix, served.collector.asked[-1].namespace) == ("ca", "shop")


def test_commands_are_completed(offered: Callable[..., list[str]]) -> None:
    assert offered("tr") == ["trace"]
    assert offered("la") == ["lab"]


def test_a_name_with_a_control_character_is_not_offered(offered: Callable[..., list[str]], served: Any) -> None:
    served.collector.names = ("shop/a\x1b[2J", "shop/b c", "shop/d")
    assert offered("trace", "shop/") == ["shop/d"]


def test_whatever_goes_wrong_nothing_is_said(offered: Callable[..., list[str]], served: Any) -> None:
    assert offered("trace", "shop/", address="unix:/nowhere.sock") == []
    assert offered("trace", "shop/", address="no-address") == []
    served.collector.status = (grpc.StatusCode.INTERNAL, "broken")
    assert offered("trace", "shop/") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_a_script_for_the_same_variable(shell: str, run: Run) -> None:
    result = run("completion", shell)
    assert result.exit_code == 0
    assert f"_PATHTAP_COMPLETE={shell}_complete" in result.stdout


def test_another_shell_is_a_usage_error(run: Run) -> None:
    assert run("completion", "cmd").exit_code == 2


def test_faults_and_the_places_of_a_lab_are_completed(
    offered: Callable[..., list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pathtap.lab.state.RUN", tmp_path)
    assert offered("lab", "fault", "no-fw") == ["no-fwmark-rule"]
    assert offered("lab", "exec", "shop/") == []
    directory = StateDirectory("mine")
    directory.path.mkdir()
    directory.save(LabState(options=LabOptions(prefix="mine")))
    assert offered("lab", "exec", "--prefix", "mine", "shop/c") == ["shop/cart"]
    assert offered("lab", "exec", "--prefix", "mine", "in") == ["internet"]
    assert offered("lab", "exec", "--prefix", "../x", "shop/c") == []
