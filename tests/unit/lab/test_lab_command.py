from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from pathtap.cli.commands.lab import lab
from pathtap.lab.faults import FAULTS
from pathtap.lab.options import LabOptions
from pathtap.lab.state import LabState, StateDirectory


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


@pytest.fixture
def run_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Stands for /run/pathtap; the faults change nothing, since nobody's rules may be touched here."""
    directory = tmp_path / "pathtap"
    monkeypatch.setattr("pathtap.lab.state.RUN", directory)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("pathtap.lab.breaking._make", lambda *_, **__: ())
    return directory


def test_down_says_what_it_removed_and_that_there_was_nothing(run_directory: Path) -> None:
    directory = StateDirectory("mine")
    directory.path.mkdir(parents=True)
    directory.save(LabState(options=LabOptions(prefix="mine")))
    first, second = (CliRunner().invoke(lab, ["down", "--prefix", "mine"]) for _ in range(2))
    assert (first.exit_code, second.exit_code) == (0, 0)
    assert first.stdout == "Removed the lab mine: 0 namespaces, their processes and files.\n"
    assert second.stdout == "There is no lab mine: nothing was removed.\n"


def test_every_option_of_up_is_described() -> None:
    assert [each.name for each in lab.commands["up"].params if isinstance(each, click.Option) and not each.help] == []


@pytest.mark.parametrize("arguments", [["status"], ["fault", "forward-drop"], ["fault", "forward-drop", "--heal"]])
def test_an_absent_lab_is_named_and_nothing_stays_behind(arguments: list[str], run_directory: Path) -> None:
    result = CliRunner().invoke(lab, [*arguments, "--prefix", "gone"])
    assert result.exit_code == 1
    assert "No lab named gone is up: build it with `pathtap lab up --prefix gone`." in result.stderr
    assert not run_directory.exists()


def test_hints_hold_the_prefix_and_the_collector_of_their_lab(run_directory: Path) -> None:
    directory = StateDirectory("mine")
    directory.path.mkdir(parents=True)
    directory.save(LabState(options=LabOptions(prefix="mine")))
    made = CliRunner().invoke(lab, ["fault", "forward-drop", "--prefix", "mine"])
    assert made.stdout.endswith(f" --collector unix:{run_directory}/mine/collector.sock\n")
    again = CliRunner().invoke(lab, ["fault", "forward-drop", "--prefix", "mine"])
    assert "`pathtap lab fault forward-drop --heal --prefix mine` ends it." in again.stderr
    assert directory.load().faults == ("forward-drop",)


def test_a_lock_that_another_command_made_anew_is_left_to_it(run_directory: Path) -> None:
    directory = StateDirectory("mine")
    with directory.locked():
        lock = run_directory / "mine" / "lock"
        lock.unlink()
        lock.touch()
    assert lock.exists()
