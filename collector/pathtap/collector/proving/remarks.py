"""Sentences beside the verdict, which is on ports alone: that nobody answered. Pure; they change no verdict."""

from collections.abc import Iterator

from pathtap.model.snat import Opened


def remarks(opened: Opened | None) -> Iterator[str]:
    """`opened` is None where nothing was sent."""
    if opened is not None and not opened.answered and not opened.refused and opened.total > opened.failed:
        yield f"None of the {opened.total - opened.failed} was answered: `pathtap trace` shows where they end."
