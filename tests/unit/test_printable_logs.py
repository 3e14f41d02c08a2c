"""Logs are read on terminals: what agents, collectors and clients are called, or an error holds, reaches none of them raw."""

import io
import logging
import unicodedata

import pytest

from pathtap.model.printable import PrintableFormatter

HOSTILE = "a\x1b[2J\x9b31m\x1b]52;c;eA==\x07\r\n12:00 INFO all is well\u202e\u2028b"


@pytest.fixture
def written() -> tuple[logging.Logger, io.StringIO]:
    stream, log = io.StringIO(), logging.Logger("test")
    handler = logging.StreamHandler(stream)
    handler.setFormatter(PrintableFormatter("%(levelname)s %(message)s"))
    log.addHandler(handler)
    return log, stream


def clean(text: str) -> bool:
    return not any(unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp") for char in text.replace("\n", ""))


def test_a_message_is_one_line_whatever_it_holds(written: tuple[logging.Logger, io.StringIO]) -> None:
    log, stream = written
    log.warning("agent of %s connected", HOSTILE)
    text = stream.getvalue()
    assert text.startswith("WARNING agent of a\\x1b[2J\\x9b31m")
    assert text.count("\n") == 1
    assert clean(text)


def test_a_traceback_keeps_its_lines(written: tuple[logging.Logger, io.StringIO]) -> None:
    log, stream = written
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        log.exception("failed: %s", HOSTILE)
    text = stream.getvalue()
    assert "\nTraceback (most recent call last):\n" in text
    assert "ValueError: a\\x1b[2J" in text
    assert clean(text)
