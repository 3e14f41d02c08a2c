"""Which names a person may have meant by one that nobody has. Pure."""

import difflib
import heapq
import os
from collections.abc import Iterable

# Names that are compared letter by letter, some tens of microseconds each: of more, those that begin most like the one written.
MOST_COMPARED = 500


def nearest(name: str, keys: Iterable[str]) -> str:
    """`; did you mean shop/cart or shop/card?`, comparing whole keys and bare names."""
    names = list(keys)
    by_short = {key.rsplit("/", 1)[-1]: key for key in names}
    close = _close(name, names)
    close += [by_short[short] for short in _close(name.rsplit("/", 1)[-1], list(by_short))]
    close = list(dict.fromkeys(close))[:3]
    return f"; did you mean {' or '.join(close)}?" if close else ""


def _close(name: str, names: list[str]) -> list[str]:
    if len(names) > MOST_COMPARED:
        names = heapq.nlargest(MOST_COMPARED, names, key=lambda each: _shared(name, each))
    return difflib.get_close_matches(name, names, n=3, cutoff=0.5)


def _shared(one: str, other: str) -> int:
    """Letters with which both begin."""
    return len(os.path.commonprefix((one, other)))  # noqa: RUF071 - letters are meant, these are no paths
