import pytest
from click.testing import CliRunner

from pathtap.cli.commands.lab import lab
from pathtap.lab.faults import FAULTS


@pytest.mark.parametrize(
    "arguments",
    [["up"], ["down"], ["status"], ["exec", "cart", "--", "true"], ["fault", "forward-drop"]],
    ids=lambda arguments: arguments[0],
)
def test_without_root_it_is_one_sentence(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    result = CliRunner().invoke(lab, [*arguments])
    assert result.exit_code == 1
    assert result.stderr == "Error: The lab makes network namespaces, which takes root: run it with sudo.\n"


def test_the_faults_are_listed_with_what_they_break_and_their_trace() -> None:
    result = CliRunner().invoke(lab, ["fault", "--list"])
    assert result.exit_code == 0
    for fault in FAULTS:
        assert f"{fault.name}\n    {fault.breaks}\n    {fault.shown_by}\n" in result.stdout


def test_a_prefix_that_cannot_be_one_is_refused() -> None:
    for command in ("down", "status", "up"):
        result = CliRunner().invoke(lab, [command, "--prefix", "../x"])
        assert result.exit_code == 1
        assert "The prefix '../x' must be" in result.stderr
