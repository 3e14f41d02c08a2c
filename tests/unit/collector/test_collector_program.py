"""The command `pathtap-collector`: what it says where it cannot start."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from pathtap.collector.program import command

HOSTILE = "a\x1b[31m\u202e"
PRINTED = "a\\x1b[31m\\u202e"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--listen", "127.0.0.1:1", "--insecure", "--inventory"],
        ["--listen", "127.0.0.1:1", "--insecure", "--kubeconfig"],
        ["--listen", "127.0.0.1:1", "--inventory", "FILE", "--tls-cert", "/nowhere", "--tls-key"],
    ],
)
def test_an_error_is_printable_whatever_it_quotes(arguments: list[str], tmp_path: Path) -> None:
    inventory = tmp_path / "inventory.json"
    inventory.write_text('{"items": []}')
    given = [str(inventory) if each == "FILE" else each for each in arguments]
    # On a terminal: click takes colours, and nothing else, out of what goes elsewhere.
    result = CliRunner().invoke(command, [*given, str(tmp_path / HOSTILE)], color=True)
    assert result.exit_code == 1
    assert PRINTED in result.output
    assert "\x1b" not in result.output
